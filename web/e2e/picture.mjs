/** Takes the picture of the page for the documents: `node e2e/picture.mjs URL FILE`, on a fleet that has finished videos. */
import { Browser, choose } from './browser.mjs';

const [url, file] = process.argv.slice(2);
const PROMPT = 'A large cat walks to the right on the grass';

const browser = await Browser.launch();
try {
  const page = await browser.open(url);
  await choose(page, 'Status', 'Done');
  await page.getByRole('textbox', { name: /^Prompt/ }).fill(PROMPT);
  await page.getByTestId('analysis').waitFor();
  await page.locator('[data-status="completed"]').first().waitFor();
  await page.screenshot({ path: file });
  browser.assertClean();
} finally {
  await browser.closeAll();
  await browser.chromium.close();
}
