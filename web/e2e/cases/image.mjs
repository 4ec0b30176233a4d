/** The picture that a video begins from, on an API whose model takes one. No worker has that model, so nothing is rendered. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cardOf, submit, untilStatus } from '../browser.mjs';
import { ROOT } from '../fleet.mjs';
import { until } from '../until.mjs';

const FILE = join(ROOT, 'crates/hunyuan/tests/fixtures/v1_5_i2v/base/picture.png');

/** What a drag or the clipboard carries: one file, made in the page. */
const carrying = (page, bytes) =>
  page.evaluateHandle(([base64, type]) => {
    const carried = new DataTransfer();
    carried.items.add(new File([Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))], 'cat.png', { type }));
    return carried;
  }, [bytes.toString('base64'), 'image/png']);

export const cases = {
  'a picture is chosen, dropped or pasted, previewed, removed and submitted': async ({ browser, fleet }) => {
    const url = await fleet.startApiWithPictures();
    const page = await browser.open(url);
    const group = page.getByRole('group', { name: 'First frame' });
    const preview = group.getByRole('img');
    const shows = () => until('the preview shows it', () => preview.evaluate((it) => it.naturalWidth > 0));
    const remove = async () => {
      await group.getByRole('button', { name: 'Remove' }).click();
      await preview.waitFor({ state: 'detached' });
    };
    const bytes = await readFile(FILE);

    await group.locator('input[type=file]').setInputFiles(FILE);
    await shows();
    await remove();
    await group.dispatchEvent('drop', { dataTransfer: await carrying(page, bytes) });
    await shows();
    await remove();
    // What only claims to be a picture is refused, and the reason is shown.
    await group.dispatchEvent('drop', { dataTransfer: await carrying(page, Buffer.from('not a picture')) });
    await group.getByRole('alert').waitFor();
    await page.evaluate((clipboardData) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true })), await carrying(page, bytes));
    await shows();
    assert.equal(await group.getByRole('alert').count(), 0);
    await browser.shot(page, 'first-frame');

    const prompt = 'the picture comes to life';
    await submit(page, prompt);
    await untilStatus(page, prompt, 'queued');
    const { job_id, request } = await fleet.jobOf(prompt);
    assert.equal(await preview.getAttribute('src'), `/api/images/${request.image.id}/thumbnail`);
    // Later cases must not find it.
    assert.equal((await fetch(`${fleet.url}/api/jobs/${job_id}`, { method: 'DELETE' })).status, 204);
    await cardOf(page, prompt).waitFor({ state: 'detached' });
  },
};
