/** Waiting for something to be so: no sleeps of a guessed length, one generous deadline. */

export const PATIENCE_MS = 1000 * Number(process.env.E2E_PATIENCE_S ?? 120);
const LOOK_AGAIN_MS = 100;

/** Answers the first truthy answer of `look`. An error of `look` ends the wait. */
export async function until(what, look, patienceMs = PATIENCE_MS) {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const answer = await look();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${patienceMs / 1000} s, but not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}
