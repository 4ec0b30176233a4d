/** Access control, content security policy and accessibility. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cardOf, submit, untilStatus } from '../browser.mjs';
import { until } from '../until.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const LEVELS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** Fails on anything that axe calls serious or critical. */
async function assertAccessible(page, what) {
  // Wait for animations to end: a colour in the middle of a fade has the wrong contrast.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((each) => Number.isFinite(each.effect?.getComputedTiming().endTime)).map((each) => each.finished)));
  await page.evaluate(axe);
  const { violations } = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: tags }), LEVELS);
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const found = serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`);
  assert.deepEqual(found, [], what);
}

export const cases = {
  'the content policy is strict and the page keeps to it': async ({ browser, fleet }) => {
    const answer = await fetch(fleet.url);
    const policy = answer.headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'self'/);
    assert.match(policy, /object-src 'none'/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/);
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    const html = await answer.text();
    assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/i);
    const page = await browser.open(fleet.url);
    // The policy is enforced: a script added to the page does not run.
    const ran = await page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'globalThis.wasRun = true';
      document.body.append(script);
      return globalThis.wasRun === true;
    });
    assert.equal(ran, false);
    await until('the violation is reported', () => browser.take(/^the console: content policy/));
    browser.take(/Content Security Policy/);
  },

  'axe finds nothing serious, light and dark, desktop and phone': async ({ browser, fleet }) => {
    const desktop = await browser.open(fleet.url);
    await desktop.getByRole('textbox', { name: /^Prompt/ }).fill('a red ball rolls quickly across the snow, slow camera pan, cinematic lighting, two birds');
    await desktop.getByTestId('analysis').waitFor();
    await desktop.locator('summary', { hasText: 'Advanced' }).click();
    await assertAccessible(desktop, 'create, light');
    await desktop.getByRole('button', { name: 'Switch to dark theme' }).click();
    await assertAccessible(desktop, 'create, dark');
    await desktop.getByRole('article').first().getByRole('heading').getByRole('button').click();
    await desktop.getByRole('dialog').getByText('Seed', { exact: true }).waitFor();
    await assertAccessible(desktop, 'details, dark');
    await desktop.keyboard.press('Escape');
    await desktop.getByRole('link', { name: 'Dashboard' }).click();
    await desktop.getByRole('heading', { name: 'Workers' }).waitFor();
    await desktop.getByText('By complexity').waitFor();
    await assertAccessible(desktop, 'dashboard, dark');
    await desktop.getByRole('button', { name: 'Switch to light theme' }).click();
    await assertAccessible(desktop, 'dashboard, light');
    await desktop.getByRole('link', { name: 'Usage' }).click();
    await desktop.getByRole('region', { name: 'Saved' }).waitFor();
    await assertAccessible(desktop, 'usage, light');
    await desktop.getByRole('link', { name: 'Webhooks' }).click();
    await desktop.getByRole('heading', { name: 'Deliveries' }).waitFor();
    await assertAccessible(desktop, 'webhooks, light');

    const phone = await browser.open(fleet.url, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
    await phone.getByRole('article').first().waitFor();
    await assertAccessible(phone, 'create, phone');
    await assertNoSideways(phone);
    await phone.getByRole('link', { name: 'Dashboard' }).click();
    await phone.getByText('By complexity').waitFor();
    await assertNoSideways(phone);
    await phone.getByRole('link', { name: 'Usage' }).click();
    await phone.getByRole('region', { name: 'Saved' }).waitFor();
    await assertNoSideways(phone);
    await phone.getByRole('link', { name: 'Webhooks' }).click();
    await phone.getByRole('heading', { name: 'Deliveries' }).waitFor();
    await assertNoSideways(phone);
  },

  'everything can be reached and done by keyboard': async ({ browser, fleet }) => {
    const page = await browser.open(fleet.url);
    await page.getByRole('article').first().waitFor();
    await page.locator('body').press('Tab');
    assert.equal(await focusText(page), 'Skip to content');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement?.id), 'main');

    const seen = new Set();
    await until('Tab reaches the first card', async () => {
      await page.keyboard.press('Tab');
      const { name, isVisible } = await page.evaluate(() => {
        const it = document.activeElement;
        const box = it.closest('label')?.getBoundingClientRect() ?? it.getBoundingClientRect();
        return { name: it.tagName + (it.getAttribute('type') ?? ''), isVisible: box.width > 0 && box.height > 0 };
      });
      assert.ok(isVisible, `${name} has focus but is not visible`);
      seen.add(name);
      return name === 'ARTICLE';
    });
    for (const name of ['TEXTAREA', 'INPUTradio', 'INPUTrange', 'SUMMARY', 'BUTTONsubmit', 'SELECT']) assert.ok(seen.has(name), `${name} in ${[...seen]}`);

    await page.keyboard.press('ArrowDown');
    await until('the second card has focus', () => page.evaluate(() => document.activeElement?.getAttribute('aria-posinset') === '2'));
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await until('focus is back at the card', () => page.evaluate(() => document.activeElement?.getAttribute('aria-posinset') === '2'));
  },

  'with keys on: sign in, see only what is yours, sign out': async ({ browser, fleet }) => {
    const url = await fleet.startApiWithKeys();
    const key = await fleet.issueKey('studio');
    const context = await browser.context(url);
    const page = await context.newPage();
    await page.goto('/');
    const field = page.getByLabel('API key');
    await field.fill('hf_wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('This key is unknown or revoked.').waitFor();
    await assertAccessible(page, 'sign-in');
    await browser.shot(page, 'sign-in');
    await field.fill(key);
    await field.press('Enter');
    await page.getByText('Live', { exact: true }).waitFor();
    // The fleet's other videos belong to another tenant.
    await page.getByRole('region', { name: 'Examples' }).waitFor();
    const prompt = 'a large yellow ball falls at night';
    await submit(page, prompt);
    await untilStatus(page, prompt, 'completed');
    const video = cardOf(page, prompt).locator('video');
    await until('the cookie lets the video through', () => video.evaluate((it) => it.readyState === 4));
    assert.equal(await page.evaluate(() => document.cookie + JSON.stringify(localStorage)).then((text) => text.includes(key)), false);
    assert.equal((await (await fetch(`${url}/api/jobs`)).json()).status, 401);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: /^Sign in/ }).waitFor();

    // An admin limits that key.
    await field.fill(await fleet.issueKey('operators', '--role', 'admin', '--label', 'desk'));
    await field.press('Enter');
    await page.getByRole('link', { name: 'Usage' }).click();
    const row = page.getByRole('region', { name: 'API keys and quotas' }).getByRole('listitem').filter({ hasText: 'studio' });
    await row.getByText('No limit').waitFor();
    await row.getByRole('button', { name: /^Change quota of/ }).click();
    await row.getByLabel('GPU seconds per day').fill('90');
    await row.getByLabel('US dollars per day').fill('2');
    await assertAccessible(page, 'quota');
    await row.getByRole('button', { name: 'Save' }).click();
    await row.getByText('90 GPU seconds and $2.00 per day').waitFor();
    const quota = await fetch(`${url}/api/quota`, { headers: { authorization: `Bearer ${key}` } }).then((answer) => answer.json());
    assert.deepEqual(quota.quota, { gpu_seconds_per_day: 90, usd_per_day: 2 });
    await context.close();
  },
};

const focusText = (page) => page.evaluate(() => document.activeElement?.textContent);

/** The page does not scroll sideways on a phone. */
async function assertNoSideways(page) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(over, 0, `${over} pixels too wide`);
}
