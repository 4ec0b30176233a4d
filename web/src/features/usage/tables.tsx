/** Usage as tables. */
import type { ReactNode } from 'react';
import type { UsageRowView, UsageSumsView, WorkerUsageView } from '../../api/schema';
import { capital, count, duration, usd } from '../../lib/format';
import { savedS } from './days';

interface Row {
  key: string;
  name: ReactNode;
  cells: string[];
}

function Table({ title, head, columns, rows }: { title: string; head: string; columns: string[]; rows: Row[] }) {
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrollable region must be reachable by keyboard
    <div tabIndex={0} role="region" aria-label={title} className="card overflow-x-auto">
      <table className="num w-full text-sm whitespace-nowrap">
        <caption className="px-4 pt-3 pb-2 text-left text-sm font-semibold">{title}</caption>
        <thead>
          <tr className="text-muted">
            <th scope="col" className="px-4 py-1.5 text-left font-medium">
              {head}
            </th>
            {columns.map((name) => (
              <th key={name} scope="col" className="px-3 py-1.5 text-right font-medium last:pr-4">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ key, name, cells }) => (
            <tr key={key} className="border-t border-line">
              <th scope="row" className="px-4 py-2 text-left font-medium">
                {name}
              </th>
              {cells.map((text, index) => (
                <td key={columns[index]} className="px-3 py-2 text-right last:pr-4">
                  {text}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length === 0 && <p className="hint p-4">Nothing in this period.</p>}
    </div>
  );
}

const USAGE = ['Videos', 'Runs', 'Repeated', 'GPU time', 'Cost', 'Saved'];

/** Usage of each tenant, key, model or tier. */
export function UsageTable({ title, rows, field }: { title: string; rows: UsageRowView[]; field: 'tenant' | 'key' | 'model' | 'tier' }) {
  const named = rows.map((row): Row => {
    const cells = [count(row.videos), count(row.runs), count(row.repeated_runs), duration(row.gpu_seconds), usd(row.cost_usd), duration(Math.max(savedS(row), 0))];
    return { key: `${row[field]}-${row.key_id}`, name: row[field] || (field === 'key' ? (row.key_id ?? 'Without a key') : '–'), cells };
  });
  return <Table title={title} head={capital(field)} columns={USAGE} rows={named} />;
}

/** What each optimisation saved, and the work that was repeated. */
export function SavedTable({ total }: { total: UsageSumsView }) {
  const { saved } = total;
  const amounts: [string, { gpu_seconds: number; usd: number }][] = [
    ['Adaptive steps', saved.adaptive_steps],
    ['Step cache', saved.step_cache],
    ['Embedding cache', saved.embedding_cache],
    ['Drafts not continued', saved.drafts],
    ['Lost: work repeated after faults', { gpu_seconds: -total.repeated_gpu_seconds, usd: -total.repeated_cost_usd }],
  ];
  const signed = (seconds: number) => (seconds < 0 ? `-${duration(-seconds)}` : duration(seconds));
  const rows = amounts.map(([name, amount]): Row => ({ key: name, name, cells: [signed(amount.gpu_seconds), usd(amount.usd)] }));
  return <Table title="Saved" head="By" columns={['GPU time', 'Value']} rows={rows} />;
}

const WORKERS = ['Model', 'Online', 'Busy', 'Idle', 'Idle cost', 'Runs'];

/** Busy and idle time of the workers. */
export function WorkerTable({ rows }: { rows: WorkerUsageView[] }) {
  const named = rows.map((row): Row => {
    const cells = [row.model ?? '', duration(row.online_s), duration(row.busy_s), duration(row.idle_s), usd(row.idle_usd), count(row.runs)];
    return { key: `${row.worker}-${row.model}`, name: row.worker || 'Unknown', cells };
  });
  return <Table title="Workers" head="Worker" columns={WORKERS} rows={named} />;
}
