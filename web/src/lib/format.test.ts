/** Numbers are formatted for reading. */
import { describe, expect, it } from 'vitest';
import { ago, bytes, duration, durationRange, usd } from './format';

describe('duration', () => {
  it.each([
    [0.04, '0.04 s'],
    [0.8, '0.8 s'],
    [1.98, '2 s'],
    [9.97, '10 s'],
    [59.7, '1 min'],
    [270, '4.5 min'],
    [594, '9.9 min'],
    [4800, '1 h 20 min'],
    [7199, '2 h'],
    [Number.NaN, '–'],
  ])('%d s is "%s"', (seconds, text) => expect(duration(seconds)).toBe(text));

  it('shows a shared unit once in a range', () => {
    expect(durationRange(2, 5)).toBe('2–5 s');
    expect(durationRange(30, 90)).toBe('30 s – 1.5 min');
    expect(durationRange(3, 3.01)).toBe('3 s');
  });
});

describe('usd', () => {
  it.each([
    [0, '$0'],
    [0.00034, '$0.00034'],
    [0.05, '$0.050'],
    [0.224, '$0.22'],
    [12.5, '$12.50'],
    [-0.5, '-$0.50'],
    [1240.2, '$1,240'],
    [1e-9, '<$0.00001'],
  ])('%d is "%s"', (value, text) => expect(usd(value)).toBe(text));
});

it('sizes and ages have one unit', () => {
  expect(bytes(999)).toBe('999 B');
  expect(bytes(4_210_000)).toBe('4.2 MB');
  const now = Date.parse('2026-01-02T00:00:00Z');
  expect(ago('2026-01-01T23:59:30Z', now)).toBe('just now');
  expect(ago('2026-01-01T21:00:00Z', now)).toBe('3 h ago');
  expect(ago('2026-01-02T00:01:00Z', now)).toBe('just now');
});
