/** Screenshots for review, and a long list that scrolls without rendering every card. */
import assert from 'node:assert/strict';
import { choose } from '../browser.mjs';
import { until } from '../until.mjs';

const MANY = 400;

export const cases = {
  'pictures': async ({ browser, fleet }) => {
    const looks = { desktop: {}, dark: { colorScheme: 'dark' }, phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } };
    for (const [name, options] of Object.entries(looks)) {
      const page = await browser.open(fleet.url, options);
      await choose(page, 'Status', 'Done');
      await page.getByRole('textbox', { name: /^Prompt/ }).fill('A large red ball rolls quickly across the snow at sunset, slow camera pan, cinematic lighting');
      await page.getByTestId('analysis').waitFor();
      await page.locator('[data-status="completed"]').first().waitFor();
      await browser.shot(page, name);
      await page.getByRole('link', { name: 'Dashboard' }).click();
      await page.getByText('By complexity').waitFor();
      await browser.shot(page, `dashboard-${name}`, { fullPage: true });
    }
  },

  'hundreds of videos: few cards exist, the end is reached by scrolling': async ({ browser, fleet }) => {
    const requests = Array.from({ length: MANY }, (_, index) => ({ prompt: `a small ball number ${index} rolls` }));
    // Not rendered: this case is about the list only.
    await fleet.worker.kill('SIGTERM');
    const answer = await fetch(`${fleet.url}/api/generate/batch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ requests }),
    });
    assert.equal(answer.status, 202);
    const page = await browser.open(fleet.url);
    await page.getByRole('textbox', { name: 'Search prompts' }).fill('a small ball number');
    const cards = page.getByRole('article');
    await cards.first().waitFor();
    const first = 'a small ball number 0 rolls';
    await until('the oldest of them is reached', async () => {
      assert.ok((await cards.count()) < 40, 'only cards near the window exist');
      await page.mouse.move(900, 500);
      await page.mouse.wheel(0, 6000);
      return page.getByRole('article', { name: first, exact: true }).isVisible();
    });
    await page.evaluate(() => window.scrollTo(0, 0));
    await until('and the newest again', () => page.evaluate(() => document.querySelector('article')?.getAttribute('aria-posinset') === '1'));
  },
};
