/** The words of a factor are marked as whole words, and nothing else is. */
import { expect, it } from 'vitest';
import { highlight } from './factors';

const factor = (name: string, ...words: string[]) => ({ factor: name, score: 1, words });
const marked = (text: string, ...factors: ReturnType<typeof factor>[]) =>
  highlight(text, factors).filter((part) => part.factor).map((part) => `${part.factor}:${part.text}`);

it('marks whole words everywhere, ignoring case', () => {
  expect(marked('Cars race; the scar and cars.', factor('motion', 'cars', 'race'))).toEqual(['motion:Cars', 'motion:race', 'motion:cars']);
});

it('prefers the longer of two that overlap', () => {
  expect(marked('slow camera pan', factor('camera', 'camera pan'), factor('motion', 'pan'))).toEqual(['camera:camera pan']);
});

it('finds words in languages without spaces', () => {
  expect(marked('一只猫在奔跑', factor('motion', '奔跑'))).toEqual(['motion:奔跑']);
});

it('returns the text unchanged', () => {
  const text = 'İstanbul at night, 24 lights';
  expect(highlight(text, [factor('lighting', 'night')]).map((part) => part.text).join('')).toBe(text);
  expect(highlight('', [])).toEqual([]);
});
