/** Charts show every hour, use round scales and keep gaps. */
import { describe, expect, it } from 'vitest';
import type { PointView } from '../../api/schema';
import { runs, slots, ticks } from './series';

const point = (at: string) => ({ at, completed: 1 }) as PointView;

describe('slots', () => {
  const now = Date.parse('2026-01-02T10:30:00Z');

  it('are all hours up to this one, with the points where they belong', () => {
    const all = slots({ bucket_s: 3600, points: [point('2026-01-02T08:00:00Z')] }, 4, now);
    expect(all.map((slot) => new Date(slot.atMs).toISOString().slice(11, 16))).toEqual(['07:00', '08:00', '09:00', '10:00']);
    expect(all.map((slot) => slot.point !== null)).toEqual([false, true, false, false]);
  });

  it('keep a point from a clock that is ahead', () => {
    const all = slots({ bucket_s: 3600, points: [point('2026-01-02T11:00:00Z')] }, 2, now);
    expect(all.at(-1)?.point).not.toBeNull();
  });

  it('are days when requested', () => {
    expect(slots({ bucket_s: 86_400, points: [] }, 24 * 30, now)).toHaveLength(30);
  });
});

it.each([
  [0, [0, 1]],
  [3, [0, 1, 2, 3]],
  [4, [0, 1, 2, 3, 4]],
  [37, [0, 10, 20, 30, 40]],
  [0.0031, [0, 0.001, 0.002, 0.003, 0.004]],
])('ticks of %d', (most, expected) => expect(ticks(most)).toEqual(expected));

it('ticks of counts are whole numbers', () => {
  expect(ticks(1, true)).toEqual([0, 1]);
  expect(ticks(3, true)).toEqual([0, 1, 2, 3]);
  expect(ticks(9, true)).toEqual([0, 5, 10]);
});

it('runs stop at gaps', () => {
  expect(runs([null, 1, 2, null, 3])).toEqual([
    { from: 1, values: [1, 2] },
    { from: 4, values: [3] },
  ]);
});
