/** Turns the API's points into chart data: every hour or day of the range, and a scale with round numbers. */
import type { PointView, SeriesView } from '../../api/schema';

/** One hour or day; the point is null if nothing happened in it. */
export interface Slot {
  atMs: number;
  point: PointView | null;
}

/** Every hour or day of the last `hours` hours, oldest first. */
export function slots({ bucket_s, points }: SeriesView, hours: number, nowMs: number): Slot[] {
  const size = bucket_s * 1000;
  const byStart = new Map(points.map((point) => [Math.floor(Date.parse(point.at) / size), point]));
  // The database clock may be slightly ahead.
  const newest = Math.max(Math.floor(nowMs / size), ...byStart.keys());
  const amount = Math.max(Math.ceil((hours * 3600) / bucket_s), 1);
  return Array.from({ length: amount }, (_, index) => {
    const bucket = newest - amount + 1 + index;
    return { atMs: bucket * size, point: byStart.get(bucket) ?? null };
  });
}

const TICKS = 4;
const STEPS = [1, 2, 2.5, 5, 10];

/** Round numbers from 0 to at least `most`, few enough to read. */
export function ticks(most: number, isWhole = false): number[] {
  if (!(most > 0)) return [0, 1];
  const rough = isWhole ? Math.max(most / TICKS, 1) : most / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * (STEPS.find((each) => each * power >= rough * 0.999 && !(isWhole && (each * power) % 1)) ?? 10);
  const amount = Math.ceil(most / step - 1e-9);
  return Array.from({ length: amount + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/** Runs of consecutive values, so that lines stop at gaps. */
export function runs(values: (number | null)[]): { from: number; values: number[] }[] {
  const found: { from: number; values: number[] }[] = [];
  for (const [index, value] of values.entries()) {
    if (value === null) continue;
    const last = found.at(-1);
    if (last && last.from + last.values.length === index) last.values.push(value);
    else found.push({ from: index, values: [value] });
  }
  return found;
}
