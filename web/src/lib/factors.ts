/** The factors of the prompt analysis, and where the words that count stand in a prompt. */
import type { FactorScore } from '../api/schema';

/** What the factors are called. */
export const factorNames: Record<string, string> = {
  motion: 'Motion',
  scene: 'Scene',
  camera: 'Camera',
  lighting: 'Lighting',
  quality: 'Quality',
  length: 'Length',
  subjects: 'Subjects',
};

/** A stretch of the text; with a factor when it counts. */
export interface Stretch {
  text: string;
  factor: string | null;
}

const isWordPart = (char: string | undefined) => char !== undefined && /[\p{L}\p{N}]/u.test(char);
/** Chinese, Japanese and Korean put no spaces between words, so a word there has no edges to look for. */
const isSpaceless = (word: string) => /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u.test(word);

/** Cuts the text where the factors' words begin and end. Longer words win over shorter ones inside them. */
export function highlight(text: string, factors: FactorScore[]): Stretch[] {
  const owner = new Array<string | null>(text.length).fill(null);
  const wanted = factors
    .flatMap(({ factor, words }) => words.map((word) => ({ factor, word: word.toLowerCase() })))
    .filter(({ word }) => word)
    .sort((a, b) => b.word.length - a.word.length);
  const lower = text.toLowerCase();
  // A few letters grow when lowered (İ); then places no longer agree and nothing is marked rather than the wrong thing.
  if (lower.length !== text.length) return [{ text, factor: null }];
  for (const { factor, word } of wanted) {
    for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + 1)) {
      const end = at + word.length;
      const isWhole = isSpaceless(word) || (!isWordPart(lower[at - 1]) && !isWordPart(lower[end]));
      if (isWhole && owner.slice(at, end).every((taken) => taken === null)) owner.fill(factor, at, end);
    }
  }
  return stretches(text, owner);
}

function stretches(text: string, owner: (string | null)[]): Stretch[] {
  const result: Stretch[] = [];
  for (let at = 0; at < text.length; at++) {
    const factor = owner[at] ?? null;
    const last = result.at(-1);
    if (last && last.factor === factor) last.text += text[at];
    else result.push({ text: text[at] ?? '', factor });
  }
  return result;
}
