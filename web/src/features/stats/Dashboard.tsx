/** The dashboard: key figures, charts over time, health, workers and groups. */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { getSeries, type SeriesQuery } from '../../api/getSeries';
import type { PointView } from '../../api/schema';
import { count, duration, percent, trim, usd } from '../../lib/format';
import { keys } from '../../lib/keys';
import { useNow } from '../../lib/useNow';
import { Notice } from '../../ui/Notice';
import { Segmented } from '../../ui/Segmented';
import { Chart, type Line } from './Chart';
import { Groups } from './Groups';
import { Health } from './Health';
import { type Slot, slots } from './series';
import { Tiles } from './Tiles';
import { Workers } from './Workers';

type Range = 'day' | 'week' | 'month' | 'year';

const ranges: Record<Range, SeriesQuery & { label: string }> = {
  day: { hours: 24, bucket: 'hour', label: '24 hours' },
  week: { hours: 24 * 7, bucket: 'hour', label: '7 days' },
  month: { hours: 24 * 30, bucket: 'day', label: '30 days' },
  year: { hours: 24 * 365, bucket: 'day', label: '1 year' },
};

const EVERY_MS = 10_000;

const sum = (name: string, look: string, of: (point: PointView) => number): Line => ({ name, look, of: ({ point }) => (point ? of(point) : 0) });
/** An average exists only where videos were completed. */
const mean = (name: string, look: string, of: (point: PointView) => number): Line => ({
  name,
  look,
  of: ({ point }) => (point && point.completed > 0 ? of(point) : null),
});

const lines = {
  videos: [
    sum('done', 'text-accent', (point) => point.completed),
    sum('failed', 'text-bad', (point) => point.failed),
    sum('cancelled', 'text-line-strong', (point) => point.cancelled),
  ],
  steps: [mean('steps', 'text-accent', (point) => point.avg_steps)],
  hits: [mean('hit rate', 'text-accent', (point) => point.cache_hit_rate)],
  times: [mean('waiting', 'text-wait', (point) => point.avg_wait_s), mean('run', 'text-accent', (point) => point.avg_run_s)],
  money: [sum('cost', 'text-line-strong', (point) => point.cost_usd), sum('saved', 'text-good', (point) => Math.max(point.saved_usd, 0))],
};

export default function Dashboard() {
  const [range, setRange] = useState<Range>('day');
  const { hours, bucket } = ranges[range];
  const query = { hours, bucket };
  const series = useQuery({
    queryKey: keys.series(query),
    queryFn: ({ signal }) => getSeries(query, signal),
    placeholderData: keepPreviousData,
    refetchInterval: EVERY_MS,
  });
  const now = useNow();
  const all: Slot[] = series.data ? slots(series.data, hours, now) : [];
  const timeFormat = (atMs: number) => timeText(atMs, range);
  const common = { slots: all, timeFormat };
  return (
    <div className="space-y-5">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <h1 className="text-lg font-semibold tracking-tight">Dashboard</h1>
        <Segmented
          legend="Chart range"
          hideLegend
          options={(Object.keys(ranges) as Range[]).map((value) => ({ value, label: ranges[value].label }))}
          value={range}
          onChange={setRange}
        />
      </div>
      <Tiles slots={all} />
      {series.error && <Notice tone="bad" title="Could not load the charts">{series.error.message}</Notice>}
      <div className="grid gap-4 lg:grid-cols-2">
        <Chart {...common} title="Videos" hint={bucket === 'hour' ? 'per hour' : 'per day'} kind="bars" lines={lines.videos} isWhole format={count} empty="No videos in this period" />
        <Chart {...common} title="Average steps" kind="lines" lines={lines.steps} format={(value) => trim(value, 1)} empty="No videos in this period" />
        <Chart {...common} title="Cache hit rate" kind="lines" lines={lines.hits} format={percent} empty="No cache hits in this period" />
        <Chart {...common} title="Wait and run time" hint="average" kind="lines" lines={lines.times} format={duration} empty="No videos in this period" />
        <Chart {...common} title="Cost and savings" hint={bucket === 'hour' ? 'per hour' : 'per day'} kind="bars" lines={lines.money} format={usd} empty="No videos in this period" />
        <Health />
      </div>
      <Workers />
      <Groups />
    </div>
  );
}

function timeText(atMs: number, range: Range): string {
  const at = new Date(atMs);
  if (range === 'day') return at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  // Days are UTC days.
  const day = at.toLocaleDateString([], { month: 'short', day: 'numeric', ...(range !== 'week' && { timeZone: 'UTC' }) });
  return range === 'week' ? `${day}, ${at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })}` : day;
}
