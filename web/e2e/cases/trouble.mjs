/** What the page does when something is wrong with the form, the API or a worker. */
import assert from 'node:assert/strict';
import { cardOf, setAdvanced, submit, untilStatus } from '../browser.mjs';
import { until } from '../until.mjs';

/** Enough for a hundred steps on a busy machine, run twice. */
const LONG_MS = 240_000;

export const cases = {
  'errors are shown at their fields, from the page and from the API': async ({ browser, fleet }) => {
    const page = await browser.open(fleet.url);
    const prompt = page.getByRole('textbox', { name: /^Prompt/ });
    await page.getByRole('button', { name: 'Generate' }).click();
    await page.getByText('Describe what the video should show.').waitFor();
    assert.equal(await prompt.getAttribute('aria-invalid'), 'true');
    await until('the field has focus', () => prompt.evaluate((it) => it === document.activeElement));

    await prompt.fill('a red ball on the snow');
    await setAdvanced(page, 'Steps', '900');
    await page.getByRole('button', { name: 'Generate' }).click();
    const steps = page.getByRole('textbox', { name: 'Steps', exact: true });
    assert.equal(await steps.getAttribute('aria-invalid'), 'true');
    const note = await steps.getAttribute('aria-describedby');
    assert.match(await page.locator(`[id="${note}"]`).innerText(), /from 1 to 100/);
    await steps.fill('');

    // The API's own error, for something that the page cannot check.
    await page.route('**/api/generate', async (route) => {
      const body = { ...route.request().postDataJSON(), infer_steps: 999 };
      await route.continue({ postData: JSON.stringify(body) });
    });
    await page.getByRole('button', { name: 'Generate' }).click();
    await until('the error is shown at the field', async () => (await steps.getAttribute('aria-invalid')) === 'true');
    const { jobs } = await fleet.get('/api/jobs?q=red%20ball%20on%20the%20snow');
    assert.deepEqual(jobs, []);
  },

  'the API stops and returns: the page says so and reconnects automatically': async ({ browser, fleet }) => {
    const page = await browser.open(fleet.url);
    await fleet.api.kill('SIGTERM');
    await page.getByText('The fleet is not responding').waitFor();
    await page.getByText('Reconnecting…').waitFor();
    await browser.shot(page, 'unreachable');
    await fleet.startApi();
    await page.getByText('Live', { exact: true }).waitFor();
    await page.getByText('The fleet is not responding').waitFor({ state: 'detached' });
    // The page is really live: new changes appear.
    const job = await fleet.submit({ prompt: 'a medium orange ball rises in the sea' });
    await page.locator(`[data-job="${job.job_id}"] [data-status="completed"]`).waitFor();
  },

  'a worker is killed while the page watches; the video is finished elsewhere': async ({ browser, fleet }) => {
    const page = await browser.open(fleet.url);
    const prompt = 'a large purple star bounces on the grass';
    await setAdvanced(page, 'Steps', '100');
    await submit(page, prompt);
    const card = cardOf(page, prompt);
    await card.getByText(/^Step [1-9]\d* of 100$/).waitFor();
    const [{ worker_id: killed }] = (await fleet.get('/api/workers')).workers;
    await fleet.worker.kill('SIGKILL');
    assert.notEqual((await fleet.jobOf('purple star bounces')).status, 'completed');
    await fleet.startWorker('worker-2');
    await untilStatus(page, prompt, 'completed', LONG_MS);
    assert.notEqual((await fleet.jobOf('purple star bounces')).worker_id, killed);
    const video = card.locator('video');
    await until('its video plays', () => video.evaluate((it) => it.readyState === 4 && it.currentTime > 0));
  },
};
