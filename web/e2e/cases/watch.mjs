/** A prompt becomes a video that plays, in two tabs, and can be cancelled, deleted and retried. */
import assert from 'node:assert/strict';
import { cardOf, choose, chooseTier, setAdvanced, submit, untilStatus } from '../browser.mjs';
import { until } from '../until.mjs';

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1).replaceAll('_', ' ');

/** A long run, so that something can happen in its middle. */
const LONG_STEPS = '100';

export const cases = {
  'a prompt is analysed while typing, submitted by keyboard, and its video plays': async ({ browser, fleet }) => {
    const page = await browser.open(fleet.url);
    const prompt = 'a large red ball moves quickly to the right on the snow';
    const field = page.getByRole('textbox', { name: /^Prompt/ });
    await field.fill(prompt);
    const analysis = page.getByTestId('analysis');
    await analysis.waitFor();
    const answer = await fleet.get(`/api/optimization/analyze?prompt=${encodeURIComponent(prompt)}`);
    await analysis.getByText(capital(answer.analysis.complexity), { exact: true }).waitFor();
    await analysis.getByText(String(answer.analysis.infer_steps), { exact: true }).waitFor();
    const marked = await page.locator('mark.factor-motion').allTextContents();
    const motion = answer.analysis.factors.find(({ factor }) => factor === 'motion');
    assert.ok(marked.length > 0 && marked.every((word) => motion.words.includes(word)), `marked ${marked}, of ${motion.words}`);

    await field.press('Control+Enter');
    await untilStatus(page, prompt, 'completed');
    const video = cardOf(page, prompt).locator('video');
    // It finished while the page was open, so it starts automatically.
    const first = await until('the video has data and plays', () => video.evaluate((it) => it.readyState === 4 && it.currentTime > 0 && it.currentTime));
    await until('time advances', () => video.evaluate((it, before) => it.currentTime !== before, first));
    assert.equal(await video.evaluate((it) => it.videoWidth), 64);
    await cardOf(page, prompt).getByRole('button', { name: 'Pause' }).click();
    await until('it pauses', () => video.evaluate((it) => it.paused));
  },

  'the badge shows what the API returns': async ({ browser, fleet }) => {
    const page = await browser.open(fleet.url);
    const prompt = 'a large red ball moves quickly to the right on the snow';
    // The same prompt again, in another tier: now its embeddings are cached.
    await chooseTier(page, 'Preview');
    await submit(page, prompt);
    const job = await until('the second job is done', async () => {
      const { jobs } = await fleet.get(`/api/jobs?tier=preview&status=completed`);
      return jobs.find((each) => each.request.prompt === prompt);
    });
    const { optimization } = job;
    assert.equal(optimization.cache_match, 'identical');
    const card = page.locator(`[data-job="${job.job_id}"]`);
    await card.locator('[data-status="completed"]').waitFor();
    const badge = await card.getByTestId('badge').locator('li').allTextContents();
    const steps = optimization.steps_skipped ? `${optimization.final_steps} steps, ${optimization.steps_skipped} skipped` : `${optimization.final_steps} steps`;
    for (const text of ['Cache hit', capital(optimization.complexity), 'Preview', steps]) {
      assert.ok(badge.includes(text), `${text} in ${badge.join(' | ')}`);
    }
    assert.ok(badge.some((text) => text.includes('est.')), badge.join(' | '));
    assert.ok(badge.some((text) => text.startsWith('$')), badge.join(' | '));
    const stats = await fleet.get('/api/stats');
    await page.getByTestId('stat-completed').getByText(String(stats.completed), { exact: true }).waitFor();
    await page.getByTestId('stat-avg-steps').getByText('Adaptive').waitFor();
  },

  'a running video is cancelled, then retried': async ({ browser, fleet }) => {
    const page = await browser.open(fleet.url);
    const prompt = 'a medium blue square spins on the road';
    await setAdvanced(page, 'Steps', LONG_STEPS);
    await submit(page, prompt);
    const card = cardOf(page, prompt);
    await card.getByText(/^Step \d+ of 100$/).waitFor();
    await card.getByRole('button', { name: 'Cancel' }).click();
    await untilStatus(page, prompt, 'cancelled');
    assert.equal((await fleet.jobOf('blue square spins')).status, 'cancelled');
    await card.getByRole('button', { name: 'Retry' }).click();
    await untilStatus(page, prompt, 'running');
    // Deleting a running video also cancels it.
    await card.getByRole('button', { name: 'Delete' }).click();
    await card.waitFor({ state: 'detached' });
    await until('its worker is free', async () => (await fleet.get('/api/workers')).workers.every((worker) => worker.running === 0));
  },

  'two tabs show the same; a deleted video is restored': async ({ browser, fleet }) => {
    const one = await browser.open(fleet.url);
    const other = await one.context().newPage();
    await other.goto('/');
    await other.getByText('Live', { exact: true }).waitFor();
    const prompt = 'a small green triangle stays on the sand';
    await submit(one, prompt);
    await untilStatus(other, prompt, 'completed');
    await cardOf(one, prompt).getByRole('button', { name: 'Delete' }).click();
    // Hovering keeps the toast open.
    const undo = one.getByRole('button', { name: 'Undo' });
    await undo.hover();
    await cardOf(other, prompt).waitFor({ state: 'detached' });
    await undo.click();
    await untilStatus(one, prompt, 'completed');
    await untilStatus(other, prompt, 'completed');
  },

  'several prompts, filters, search, remix and the details of one': async ({ browser, fleet }) => {
    const page = await browser.open(fleet.url);
    await choose(page, 'Prompts', 'One per line');
    await page.getByRole('textbox', { name: /^Prompts/ }).fill('a pink star grows at night\n\na cyan star shrinks at night');
    await page.getByRole('button', { name: 'Generate 2 videos' }).click();
    await untilStatus(page, 'a pink star grows at night', 'completed');
    await untilStatus(page, 'a cyan star shrinks at night', 'completed');

    await page.getByRole('textbox', { name: 'Search prompts' }).fill('PINK star');
    await cardOf(page, 'a cyan star shrinks at night').waitFor({ state: 'detached' });
    await cardOf(page, 'a pink star grows at night').waitFor();
    await choose(page, 'Status', 'In progress');
    await page.getByText('No videos match').waitFor();
    await page.getByRole('button', { name: 'Clear search' }).click();
    await choose(page, 'Status', 'All');

    const card = cardOf(page, 'a pink star grows at night');
    await card.getByRole('button', { name: /^Remix/ }).click();
    const job = await fleet.jobOf('pink star');
    assert.equal(await page.getByRole('textbox', { name: /^Prompt/ }).inputValue(), job.request.prompt);
    assert.equal(await page.getByRole('textbox', { name: 'Seed' }).inputValue(), String(job.request.seed));

    await card.getByRole('button', { name: job.request.prompt }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('Where the time went').waitFor();
    await browser.shot(page, 'details');
    await page.waitForURL((url) => url.searchParams.get('job') === job.job_id);
    await until('it plays in the dialog', () => dialog.locator('video').evaluate((it) => it.readyState === 4 && it.currentTime > 0));
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    // The browser reports a changed URL shortly after the page has changed it.
    await page.waitForURL((url) => !url.searchParams.has('job'));

    // The draft is still there after a reload.
    await page.reload();
    assert.equal(await page.getByRole('textbox', { name: /^Prompt/ }).inputValue(), job.request.prompt);
  },
};
