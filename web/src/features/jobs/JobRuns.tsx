/** What each attempt of a job cost. Shown only if there was more than one. */
import { useQuery } from '@tanstack/react-query';
import { getJobRuns } from '../../api/usage';
import { duration, usd, words } from '../../lib/format';
import { keys } from '../../lib/keys';
import { Chip } from '../../ui/Chip';

export function JobRuns({ jobId }: { jobId: string }) {
  const runs = useQuery({ queryKey: keys.runs(jobId), queryFn: ({ signal }) => getJobRuns(jobId, signal) }).data?.runs;
  if (!runs || runs.length < 2) return null;
  return (
    <section aria-label="Runs">
      <h3 className="label mb-1.5">Runs</h3>
      <ol className="space-y-1 text-sm">
        {runs.map((run) => (
          <li key={run.started_at} className="num flex flex-wrap items-center gap-2">
            <span>{words(run.outcome)}</span>
            <span className="text-muted">
              {run.worker || 'unknown worker'}, {duration(run.gpu_seconds)}, {usd(run.cost_usd)}
            </span>
            {run.repeated && <Chip tone="wait">repeated work</Chip>}
            {run.lost && <Chip tone="bad">worker lost</Chip>}
          </li>
        ))}
      </ol>
    </section>
  );
}
