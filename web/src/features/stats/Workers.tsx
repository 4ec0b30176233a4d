/** The workers and what each is doing. */
import { useQuery } from '@tanstack/react-query';
import { getJob } from '../../api/getJob';
import type { WorkerView } from '../../api/schema';
import { jobAddress } from '../../app/router';
import { ago, bytes, capital, count } from '../../lib/format';
import { keys } from '../../lib/keys';
import { useNow } from '../../lib/useNow';
import { Button } from '../../ui/Button';
import { Chip, type Tone } from '../../ui/Chip';
import { Icon } from '../../ui/Icon';
import { Notice } from '../../ui/Notice';
import { JobStatusLine } from '../jobs/JobStatusLine';
import { useWorkers } from './StatsBar';

const tones: Record<string, Tone> = { ready: 'good', busy: 'accent', draining: 'wait' };
/** Show a warning after a few missed heartbeats. */
const SILENT_S = 20;

export function Workers() {
  const answer = useWorkers();
  const pages = answer.data?.pages;
  const workers = pages?.flatMap((page) => page.workers);
  const total = pages?.[0]?.total ?? 0;
  return (
    <section aria-labelledby="workers">
      <h2 id="workers" className="mb-3 text-lg font-semibold tracking-tight">
        Workers
      </h2>
      {answer.error && !workers && <Notice tone="bad" title="Could not load the workers">{answer.error.message}</Notice>}
      {workers?.length === 0 && <Notice tone="wait" title="No workers online">Videos stay queued until one connects.</Notice>}
      <ul className="grid gap-3 md:grid-cols-2 xl:grid-cols-3">
        {workers?.map((worker) => (
          <li key={worker.worker_id} className="card p-4">
            <Worker worker={worker} />
          </li>
        ))}
      </ul>
      {workers && answer.hasNextPage && (
        <div className="mt-4 flex items-center gap-3">
          <Button disabled={answer.isFetchingNextPage} onClick={() => void answer.fetchNextPage()}>
            Show more
          </Button>
          <p className="hint num">
            {count(workers.length)} of {count(total)}
          </p>
        </div>
      )}
    </section>
  );
}

function Worker({ worker }: { worker: WorkerView }) {
  const now = useNow();
  return (
    <>
      <div className="flex items-center gap-2">
        <Icon name="server" className="size-5 text-muted" />
        <h3 className="min-w-0 truncate font-semibold">{worker.name}</h3>
        <Chip tone={tones[worker.state] ?? 'plain'}>{capital(worker.state)}</Chip>
        {worker.silent_s > SILENT_S && <Chip tone="bad">no heartbeat for {Math.round(worker.silent_s)} s</Chip>}
      </div>
      <p className="hint num mt-1">
        {worker.device}
        {worker.device === 'cpu' ? `, ${worker.threads} threads` : ''}, {bytes(worker.memory_bytes)}, {worker.model}
        {togetherText(worker)}, joined {ago(worker.registered_at, now)}
      </p>
      <Adapters worker={worker} />
      <div className="mt-3 space-y-3 border-t border-line pt-3">
        {worker.job_ids.map((id) => (
          <Work key={id} jobId={id} />
        ))}
        {worker.running > worker.job_ids.length && <p className="text-sm text-muted">Rendering another user’s job.</p>}
        {worker.running === 0 && <p className="text-sm text-muted">Idle.</p>}
      </div>
    </>
  );
}

/** On how many devices it computes a video, and how many videos it renders at once, where that is not one. */
export function togetherText({ devices, batch_max: most }: Pick<WorkerView, 'devices' | 'batch_max'>): string {
  const parts = [devices > 1 && `${devices} devices for each video`, most > 1 && `up to ${most} videos at once`];
  return parts.map((part) => (part ? `, ${part}` : '')).join('');
}

/** The adapters in the worker's weights, and how many files it keeps. */
function Adapters({ worker }: { worker: WorkerView }) {
  const kept = worker.adapters_cached.length;
  if (worker.adapters.length === 0 && kept === 0) return null;
  const merged = worker.adapters.map(({ name, fingerprint, scale }) => `${name ?? fingerprint.slice(0, 8)} × ${scale}`);
  return (
    <p className="hint num mt-1">
      LoRA: {merged.length > 0 ? merged.join(', ') : 'none'}
      {kept > 0 && `; ${kept} ${kept === 1 ? 'file' : 'files'} cached`}
    </p>
  );
}

function Work({ jobId }: { jobId: string }) {
  const job = useQuery({ queryKey: keys.job(jobId), queryFn: ({ signal }) => getJob(jobId, signal) }).data;
  if (!job) return <p className="hint">…</p>;
  return (
    <div className="space-y-1.5">
      <a href={jobAddress(jobId)} className="line-clamp-1 text-sm font-medium hover:underline">
        {job.request.prompt}
      </a>
      <JobStatusLine job={job} />
    </div>
  );
}
