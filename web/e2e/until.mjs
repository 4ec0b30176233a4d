/** Waits for a condition: no fixed sleeps, one generous deadline. */

export const PATIENCE_MS = 1000 * Number(process.env.E2E_PATIENCE_S ?? 120);
const POLL_MS = 100;

/** Returns the first truthy result of `look`. An error in `look` ends the wait. */
export async function until(what, look, patienceMs = PATIENCE_MS) {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const result = await look();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`waited ${patienceMs / 1000} s in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
