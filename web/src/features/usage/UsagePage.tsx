/** What was spent and saved: by day as a chart, and by tenant, key, model, tier or worker as tables; the budgets; and the quotas of keys. */
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { UsageView } from '../../api/schema';
import { getUsage, type UsageQuery, usageCsv } from '../../api/usage';
import { count, duration, usd } from '../../lib/format';
import { keys } from '../../lib/keys';
import { useNow } from '../../lib/useNow';
import { Notice } from '../../ui/Notice';
import { Segmented } from '../../ui/Segmented';
import { Chart, type Line } from '../stats/Chart';
import { Budgets } from './Budgets';
import { byDay, daySlots, lastDays } from './days';
import { KeyQuotas } from './KeyQuotas';
import { SavedTable, UsageTable, WorkerTable } from './tables';

type Range = '7' | '30' | '90';
type Group = 'tenant' | 'key' | 'model' | 'tier';

const EVERY_MS = 30_000;
const groups: Record<Group, string> = { model: 'Model', tier: 'Tier', key: 'Key', tenant: 'Tenant' };

const useUsage = (query: UsageQuery) =>
  useQuery({
    queryKey: keys.usage(query),
    queryFn: ({ signal }) => getUsage(query, signal),
    placeholderData: keepPreviousData,
    refetchInterval: EVERY_MS,
  });

export default function UsagePage() {
  const [range, setRange] = useState<Range>('30');
  const [group, setGroup] = useState<Group>('model');
  const days = lastDays(Number(range), useNow());
  const daily = useUsage({ ...days, group_by: 'day' });
  const grouped = useUsage({ ...days, group_by: group });
  const isAdmin = Boolean(daily.data?.workers);
  return (
    <div className="space-y-5">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <h1 className="text-lg font-semibold tracking-tight">Usage</h1>
        <div className="flex flex-wrap items-center gap-3">
          <Segmented
            legend="Period"
            hideLegend
            options={[
              { value: '7', label: '7 days' },
              { value: '30', label: '30 days' },
              { value: '90', label: '90 days' },
            ]}
            value={range}
            onChange={setRange}
          />
          <a className="text-sm underline underline-offset-2" href={usageCsv({ ...days, group_by: `day,${group}` })} download>
            Download CSV
          </a>
        </div>
      </div>
      {daily.error && <Notice tone="bad" title="Could not load the usage">{daily.error.message}</Notice>}
      <Budgets />
      <KeyQuotas />
      {daily.data && <Charts usage={daily.data} />}
      {daily.data && <SavedTable total={daily.data.total} />}
      <Segmented
        legend="Group by"
        options={(Object.keys(groups) as Group[]).map((value) => ({ value, label: groups[value] }))}
        value={group}
        onChange={setGroup}
      />
      {grouped.data && <UsageTable title={`By ${groups[group].toLowerCase()}`} rows={grouped.data.rows} field={group} />}
      {isAdmin && <Workers days={days} />}
    </div>
  );
}

function Charts({ usage }: { usage: UsageView }) {
  const rows = byDay(usage.rows);
  const line = (name: string, look: string, of: (row: UsageView['rows'][number]) => number): Line => ({
    name,
    look,
    of: ({ atMs }) => {
      const row = rows.get(atMs);
      return row ? of(row) : null;
    },
  });
  const common = {
    slots: daySlots(usage),
    timeFormat: (atMs: number) => new Date(atMs).toLocaleDateString([], { month: 'short', day: 'numeric', timeZone: 'UTC' }),
    kind: 'bars' as const,
    empty: 'No runs in this period',
  };
  const cost = [
    line('first attempts', 'text-accent', (row) => row.cost_usd - row.repeated_cost_usd),
    line('repeated work', 'text-bad', (row) => row.repeated_cost_usd),
  ];
  const time = [
    line('first attempts', 'text-accent', (row) => row.gpu_seconds - row.repeated_gpu_seconds),
    line('repeated work', 'text-bad', (row) => row.repeated_gpu_seconds),
  ];
  return (
    <>
      <p className="num text-sm text-muted">
        {usd(usage.total.cost_usd)} for {duration(usage.total.gpu_seconds)} of GPU time and {count(usage.total.videos)} videos.
      </p>
      <div className="grid gap-4 lg:grid-cols-2">
        <Chart {...common} title="Cost" hint="per day (UTC)" lines={cost} format={usd} />
        <Chart {...common} title="GPU time" hint="per day (UTC)" lines={time} format={duration} />
      </div>
    </>
  );
}

function Workers({ days }: { days: { from: string; to: string } }) {
  const usage = useUsage({ ...days, group_by: 'worker,model' });
  return usage.data?.workers ? <WorkerTable rows={usage.data.workers} /> : null;
}
