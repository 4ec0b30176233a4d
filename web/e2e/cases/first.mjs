/** The first visit: examples instead of an empty list, and a word that the model does not know. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { until } from '../until.mjs';

const list = new URL('../../src/features/gallery/clips.json', import.meta.url);

export const cases = {
  'a newcomer sees clips of this model, and a click fills in the prompt': async ({ browser, fleet }) => {
    const { clips, weights } = JSON.parse(await readFile(list, 'utf8'));
    const { models } = await fleet.get('/api/models');
    assert.equal(models[0].weights_fingerprint, weights, 'the clips were made by the model in the repository: run scripts/pictures');
    for (const [name, options] of Object.entries({ desktop: {}, phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } })) {
      const page = await browser.open(fleet.url, options);
      const tiles = page.getByRole('region', { name: 'Examples' }).getByRole('button', { name: clips[1].prompt });
      await tiles.scrollIntoViewIfNeeded();
      const video = page.locator('video').nth(1);
      await until('the clip plays', () => video.evaluate((it) => it.readyState >= 2 && it.currentTime > 0));
      await browser.shot(page, `first-visit-${name}`, { fullPage: true });
      await page.getByRole('button', { name: 'Pause', exact: true }).click();
      await until('all clips rest', () => page.locator('video').evaluateAll((all) => all.every((it) => it.paused)));
      await tiles.click();
      assert.equal(await page.getByRole('textbox', { name: /^Prompt/ }).inputValue(), clips[1].prompt);
      assert.equal(await page.getByRole('textbox', { name: 'Seed' }).inputValue(), String(clips[1].seed));
    }
  },

  'words that the model has not learnt are named before anything is rendered': async ({ browser, fleet }) => {
    const page = await browser.open(fleet.url);
    const field = page.getByRole('textbox', { name: /^Prompt/ });
    const notice = page.getByTestId('unknown-words');
    await field.fill('a dragon moves over the snow');
    await notice.getByText('This model has not learnt “dragon” and will leave it out.').waitFor();
    await browser.shot(page, 'unknown-words');
    await field.fill('a large red ball moves to the right on the snow');
    await notice.waitFor({ state: 'detached' });
  },
};
