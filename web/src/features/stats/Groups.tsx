/** Key figures by tier and by complexity. */
import type { GroupView } from '../../api/schema';
import { capital, count, duration, percent, trim, usd, words } from '../../lib/format';
import { useStats } from './StatsBar';

const COLUMNS = ['Done', 'Hit rate', 'Steps', 'Run', 'Cost', 'Saved'];

export function Groups() {
  const stats = useStats().data;
  if (!stats) return null;
  return (
    <div className="grid gap-4 lg:grid-cols-2">
      <Group title="By tier" groups={stats.by_tier} />
      <Group title="By complexity" groups={stats.by_complexity} />
    </div>
  );
}

function Group({ title, groups }: { title: string; groups: GroupView[] }) {
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrollable region must be reachable by keyboard
    <div tabIndex={0} role="region" aria-label={title} className="card overflow-x-auto">
      <table className="num w-full text-sm whitespace-nowrap">
        <caption className="px-4 pt-3 pb-2 text-left text-sm font-semibold">{title}</caption>
        <thead>
          <tr className="text-muted">
            <td className="px-4 py-1.5" />
            {COLUMNS.map((name) => (
              <th key={name} scope="col" className="px-3 py-1.5 text-right font-medium last:pr-4">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {groups.map((group) => (
            <tr key={group.name} className="border-t border-line">
              <th scope="row" className="px-4 py-2 text-left font-medium">
                {capital(words(group.name))}
              </th>
              {cells(group).map((text, index) => (
                <td key={COLUMNS[index]} className="px-3 py-2 text-right last:pr-4">
                  {text}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function cells({ completed, cache_hits, avg_steps, avg_run_s, cost_usd, saved_usd }: GroupView): string[] {
  if (completed === 0) return ['0', '–', '–', '–', '–', '–'];
  return [count(completed), percent((100 * cache_hits) / completed), trim(avg_steps, 1), duration(avg_run_s), usd(cost_usd), usd(saved_usd)];
}
