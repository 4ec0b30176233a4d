/** The state of the services the fleet depends on, and the effect of an outage. */
import { useQuery } from '@tanstack/react-query';
import { getHealth } from '../../api/getHealth';
import type { CheckView, ChecksView } from '../../api/schema';
import { sentence } from '../../api/client';
import { capital, count, percent } from '../../lib/format';
import { keys } from '../../lib/keys';
import { Chip, type Tone } from '../../ui/Chip';
import { useStats } from './StatsBar';

const EVERY_MS = 10_000;
const names: Record<keyof ChecksView, string> = { database: 'Database', broker: 'Message broker', cache: 'Embedding cache' };
const tones: Record<string, Tone> = { ok: 'good', down: 'bad', off: 'plain' };
const labels: Record<string, string> = { ok: 'OK', down: 'Down', off: 'Off' };

export function Health() {
  const { data, error } = useQuery({ queryKey: keys.health, queryFn: ({ signal }) => getHealth(signal), refetchInterval: EVERY_MS });
  const cache = useStats().data?.cache_stats;
  return (
    <section aria-labelledby="health" className="card p-4">
      <h3 id="health" className="mb-2 text-sm font-semibold">
        Health
      </h3>
      {error && <p className="text-sm text-bad">{error.message}</p>}
      {data && (
        <ul className="divide-y divide-line">
          {(Object.keys(names) as (keyof ChecksView)[]).map((name) => (
            <Check key={name} name={names[name]} check={data.checks[name]} />
          ))}
        </ul>
      )}
      {cache?.enabled && (
        <p className="hint num mt-2 border-t border-line pt-3">
          Embeddings: {count(cache.total_keys)} cached, {count(cache.keyspace_hits)} hits and {count(cache.keyspace_misses)} misses ({percent(cache.hit_rate)}).
        </p>
      )}
      {data && <p className="hint num mt-1">Version {data.version}</p>}
    </section>
  );
}

function Check({ name, check }: { name: string; check: CheckView }) {
  return (
    <li className="flex items-center gap-3 py-2.5 text-sm">
      <span className="min-w-0 flex-1">
        {name}
        {check.detail && <span className="hint block">{sentence(check.detail)}</span>}
      </span>
      <Chip tone={tones[check.status] ?? 'plain'}>{labels[check.status] ?? capital(check.status)}</Chip>
    </li>
  );
}
