/**
 * The page in a real browser on a real fleet. `npm run e2e` starts Postgres, RabbitMQ and Redis, then this.
 *
 * Cases run one after another on one fleet, in the order of the files below; each opens its own pages. A failed case
 * leaves screenshots of its pages in e2e/screenshots. Arguments are words: only cases whose names contain one are run,
 * after the first four: two need a fleet without videos, and the other cases use the videos of the next two.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Browser } from './browser.mjs';
import { cases as access } from './cases/access.mjs';
import { cases as first } from './cases/first.mjs';
import { cases as image } from './cases/image.mjs';
import { cases as looks } from './cases/looks.mjs';
import { cases as trouble } from './cases/trouble.mjs';
import { cases as watch } from './cases/watch.mjs';
import { Fleet, ROOT } from './fleet.mjs';

const CASE_MAX_MS = 400_000;
const words = process.argv.slice(2);
const FIRST = 4;
const isWanted = ([name], index) => words.length === 0 || index < FIRST || words.some((word) => name.includes(word));
const all = Object.entries({ ...first, ...watch, ...image, ...access, ...trouble, ...looks }).filter(isWanted);

const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

/** Runs a case; throws if it takes far too long. */
async function limited(run) {
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${CASE_MAX_MS / 1000} s`)), CASE_MAX_MS);
  });
  try {
    await Promise.race([run, late]);
  } finally {
    clearTimeout(timer);
  }
}

if (!existsSync(join(ROOT, 'web/dist/index.html'))) throw new Error('the page is not built: run scripts/build-web');
const began = Date.now();
let fleet;
let browser;
let failed = 0;
try {
  [fleet, browser] = await Promise.all([Fleet.start(), Browser.launch()]);
  console.log(`fleet and browser started in ${seconds(began)}`);
  for (const [name, run] of all) {
    const since = Date.now();
    try {
      await limited(run({ fleet, browser }));
      browser.assertClean();
      console.log(`ok    ${name} (${seconds(since)})`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name} (${seconds(since)})\n${error.stack}\n`);
      await browser.shotAll(`failed-${failed}`);
      browser.take(/./);
      // Later cases would wait for a worker or an API that the failed case has stopped.
      if (!fleet.api.isRunning || !fleet.worker.isRunning) break;
    } finally {
      await browser.closeAll();
    }
  }
  if (failed > 0) console.log(fleet.tails());
} finally {
  await browser?.chromium.close();
  await fleet?.stop();
}
console.log(`${all.length - failed} of ${all.length} cases passed in ${seconds(began)}`);
process.exitCode = failed > 0 ? 1 : 0;
