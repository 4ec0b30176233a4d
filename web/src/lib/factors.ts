/** The factors of the prompt analysis, and where their words occur in a prompt. */
import type { FactorScore } from '../api/schema';

/** Display names of the factors. */
export const factorNames: Record<string, string> = {
  motion: 'Motion',
  scene: 'Scene',
  camera: 'Camera',
  lighting: 'Lighting',
  quality: 'Quality',
  length: 'Length',
  subjects: 'Subjects',
};

/** A piece of the text, with a factor if it contributes to one. */
export interface Stretch {
  text: string;
  factor: string | null;
}

const isWordPart = (char: string | undefined) => char !== undefined && /[\p{L}\p{N}]/u.test(char);
/** Chinese and Japanese do not separate words with spaces, so there are no word boundaries to check. */
const isSpaceless = (word: string) => /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u.test(word);

/** Splits the text at the factors' words. Where words overlap, the longer one wins. */
export function highlight(text: string, factors: FactorScore[]): Stretch[] {
  const owner = new Array<string | null>(text.length).fill(null);
  const wanted = factors
    .flatMap(({ factor, words }) => words.map((word) => ({ factor, word: word.toLowerCase() })))
    .filter(({ word }) => word)
    .sort((a, b) => b.word.length - a.word.length);
  const lower = text.toLowerCase();
  // A few letters get longer in lower case (İ). Offsets would then be wrong, so nothing is marked.
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
