/** Ranges of UTC days, and usage by day as chart data. */
import type { UsageRowView, UsageView } from '../../api/schema';
import type { Slot } from '../stats/series';

const DAY_MS = 86_400_000;

/** `2026-11-28`. */
export const dayOf = (atMs: number): string => new Date(atMs).toISOString().slice(0, 10);

/** The last `days` days, today included. */
export const lastDays = (days: number, nowMs: number): { from: string; to: string } => ({ from: dayOf(nowMs - (days - 1) * DAY_MS), to: dayOf(nowMs) });

/** One slot for each day of the range. */
export function daySlots({ from, to }: Pick<UsageView, 'from' | 'to'>): Slot[] {
  const [first, last] = [Date.parse(from), Date.parse(to)];
  const amount = Math.max(Math.round((last - first) / DAY_MS) + 1, 1);
  return Array.from({ length: amount }, (_, index) => ({ atMs: first + index * DAY_MS, point: null }));
}

/** Rows by the start of their day. */
export const byDay = (rows: UsageRowView[]): Map<number, UsageRowView> => new Map(rows.map((row) => [Date.parse(row.period ?? ''), row]));

/** GPU seconds that all optimisations saved together. */
export const savedS = ({ saved }: Pick<UsageRowView, 'saved'>): number =>
  saved.adaptive_steps.gpu_seconds + saved.step_cache.gpu_seconds + saved.embedding_cache.gpu_seconds + saved.drafts.gpu_seconds;
