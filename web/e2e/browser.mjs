/**
 * Chromium with pages that record problems: a request to another origin, a content policy violation or a script error.
 * `assertClean` fails a test that ends with one.
 */
import assert from 'node:assert/strict';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { ROOT } from './fleet.mjs';
import { PATIENCE_MS } from './until.mjs';

const SHOTS = new URL('screenshots/', import.meta.url).pathname;
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Chromium, unpacked for this checkout or installed on the system. */
function executable() {
  const folders = [join(ROOT, '.tools/bin'), ...(process.env.PATH ?? '').split(':')];
  const found = folders.map((folder) => join(folder, 'chromium')).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new Error('chromium is missing: run `scripts/fleet setup --tests`');
  return found;
}

export class Browser {
  #complaints = [];

  static async launch() {
    const it = new Browser();
    it.chromium = await chromium.launch({ executablePath: executable(), headless: true, args: FLAGS });
    mkdirSync(SHOTS, { recursive: true });
    return it;
  }

  /** A separate context with its own cookies, storage and theme. */
  async context(url, options = {}) {
    const context = await this.chromium.newContext({ baseURL: url, viewport: { width: 1440, height: 900 }, ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    await context.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => console.error(`content policy: ${event.violatedDirective} ${event.blockedURI}`));
    });
    context.on('request', (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol.startsWith('http') && origin !== url) this.#complaints.push(`a request left the origin: ${request.url()}`);
    });
    context.on('weberror', (error) => this.#complaints.push(`an error in a script: ${error.error().stack}`));
    context.on('console', (message) => {
      const text = message.text();
      // The page shows refused and failed requests itself; the browser also logs each one.
      if (message.type() === 'error' && !text.startsWith('Failed to load resource')) this.#complaints.push(`the console: ${text}`);
    });
    return context;
  }

  /** Opens the start page and waits until it is live. */
  async open(url, options) {
    const page = await (await this.context(url, options)).newPage();
    await page.goto('/');
    await page.getByText('Live', { exact: true }).waitFor();
    return page;
  }

  /** Removes complaints that a case expects; returns how many there were. */
  take(pattern) {
    const before = this.#complaints.length;
    this.#complaints = this.#complaints.filter((complaint) => !pattern.test(complaint));
    return before - this.#complaints.length;
  }

  assertClean() {
    const complaints = this.#complaints;
    this.#complaints = [];
    assert.deepEqual(complaints, []);
  }

  async shot(page, name, options) {
    await page.screenshot({ path: join(SHOTS, `${name}.png`), ...options });
  }

  /** Takes a screenshot of every open page, for the report of a failure. */
  async shotAll(name) {
    const pages = this.chromium.contexts().flatMap((context) => context.pages());
    await Promise.all(pages.map((page, index) => this.shot(page, `${name}-${index + 1}`).catch(() => undefined)));
  }

  async closeAll() {
    await Promise.all(this.chromium.contexts().map((context) => context.close()));
  }
}

/** The card of the job with this prompt. */
export const cardOf = (page, prompt) => page.getByRole('article', { name: prompt, exact: true });

/** Waits until the card's job is in this state. */
export const untilStatus = (page, prompt, status, timeout = PATIENCE_MS) => cardOf(page, prompt).locator(`[data-status="${status}"]`).waitFor({ timeout });

/** Sets a field under Advanced. */
export async function setAdvanced(page, label, value) {
  const field = page.getByRole('textbox', { name: label, exact: true });
  if (!(await field.isVisible())) await page.locator('summary', { hasText: 'Advanced' }).click();
  await field.fill(value);
}

/** Selects a value of a segmented control. */
export const choose = (page, group, value) => page.getByRole('group', { name: group }).getByText(value, { exact: true }).click();

export const chooseTier = (page, tier) => choose(page, 'Quality', tier);

/** Enters a prompt and submits it. */
export async function submit(page, prompt) {
  await page.getByRole('textbox', { name: /^Prompt/ }).fill(prompt);
  await page.getByRole('button', { name: 'Generate' }).click();
}
