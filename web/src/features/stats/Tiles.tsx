/** Key figures in large digits. */
import type { ReactNode } from 'react';
import { count, duration, percent, trim, usd } from '../../lib/format';
import { Chip } from '../../ui/Chip';
import { Skeleton } from '../../ui/Skeleton';
import type { Slot } from './series';
import { useStats, useWorkers } from './StatsBar';

function Tile({ label, value, note }: { label: string; value: ReactNode; note?: ReactNode }) {
  return (
    <div className="card p-4">
      <dt className="text-sm text-muted">{label}</dt>
      <dd className="num mt-1 text-xl font-semibold tracking-tight">{value}</dd>
      {note && <dd className="hint num mt-0.5">{note}</dd>}
    </div>
  );
}

/** Completions in the last two hours or days (the second still running), and their average wait. */
function lately(slots: Slot[]) {
  const points = slots.slice(-2).flatMap(({ point }) => (point ? [point] : []));
  const done = points.reduce((total, point) => total + point.completed, 0);
  const waited = points.reduce((total, point) => total + point.avg_wait_s * point.completed, 0);
  return { done, waitS: done > 0 ? waited / done : null };
}

export function Tiles({ slots }: { slots: Slot[] }) {
  const stats = useStats().data;
  const running = useWorkers().data?.pages[0]?.running ?? 0;
  if (!stats) return <Skeleton className="h-24" />;
  const { optimization, savings, cache_stats: cache } = stats;
  const { waitS } = lately(slots);
  const baseline = savings.gpu_seconds + savings.saved_s;
  return (
    <dl className="grid grid-cols-2 gap-3 sm:grid-cols-3 lg:grid-cols-6">
      <Tile label="Done" value={count(stats.completed)} note={`${count(stats.failed)} failed, ${count(stats.cancelled)} cancelled`} />
      <Tile label="In progress" value={count(stats.in_progress)} note={`${count(running)} rendering, ${count(Math.max(stats.in_progress - running, 0))} waiting`} />
      <Tile label="Wait time" value={waitS === null ? '–' : duration(waitS)} note="recent average, until a worker starts it" />
      <Tile
        label="Cache hit rate"
        value={optimization.cache_enabled ? percent(optimization.cache_hit_rate) : 'off'}
        note={optimization.cache_enabled ? `${count(optimization.cache_hits)} of ${count(stats.completed)}; ${count(cache.total_keys)} cached` : undefined}
      />
      <Tile
        label="Average steps"
        value={
          <span className="flex items-center gap-2">
            {stats.completed > 0 ? trim(optimization.avg_steps, 1) : '–'}
            {optimization.adaptive_enabled && <Chip tone="accent">Adaptive</Chip>}
          </span>
        }
        note={`${trim(optimization.avg_steps_skipped, 1)} of them skipped`}
      />
      <Tile
        label="Saved"
        value={usd(savings.saved_usd)}
        note={baseline > 0 ? `${percent((100 * savings.saved_s) / baseline)} of GPU time; ${usd(savings.cost_per_video_usd)} per video` : 'compared with fixed steps and no caches'}
      />
    </dl>
  );
}
