/** All details of one video, in a dialog over the list. The URL names the video, so the link can be shared. */
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useId, useLayoutEffect, useRef } from 'react';
import { getJob } from '../../api/getJob';
import type { JobView } from '../../api/schema';
import { duration } from '../../lib/format';
import { keys } from '../../lib/keys';
import { at } from '../../lib/prefix';
import { IconButton } from '../../ui/Button';
import { openModal } from '../../ui/modal';
import { Notice } from '../../ui/Notice';
import { Skeleton } from '../../ui/Skeleton';
import { JobActions } from './JobActions';
import { JobFacts } from './JobFacts';
import { JobMedia } from './JobMedia';
import { JobRuns } from './JobRuns';
import { Ago, JobStatusLine, StatusChip } from './JobStatusLine';
import { MarkedPrompt } from './MarkedPrompt';
import { OptimizationBadge } from './OptimizationBadge';
import { Comparison, ReplayButton } from './Replay';
import { isOver } from './state';

export function JobDialog({ jobId, onClose }: { jobId: string; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  const answer = useQuery({ queryKey: keys.job(jobId), queryFn: ({ signal }) => getJob(jobId, signal), refetchInterval: (query) => (query.state.data && isOver(query.state.data.status) ? false : 3000) });
  useLayoutEffect(() => (dialog.current ? openModal(dialog.current) : undefined), []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={title}
      onClose={() => !dialog.current?.open && onClose()}
      onClick={(event) => event.target === dialog.current && dialog.current.close()}
      className="m-auto max-h-[calc(100dvh-2rem)] w-[min(60rem,calc(100vw-1.5rem))] overflow-y-auto rounded-2xl border border-line bg-surface p-0 text-ink shadow-float"
    >
      <div className="sticky top-0 z-10 flex items-center gap-2 border-b border-line bg-surface px-4 py-2.5 sm:px-5">
        <h2 id={title} className="text-base font-semibold">
          Video
        </h2>
        {answer.data && <StatusChip job={answer.data} />}
        {answer.data && <Ago iso={answer.data.finished_at ?? answer.data.created_at} />}
        <div className="ml-auto flex items-center gap-0.5">
          {answer.data && <JobActions job={answer.data} onLeave={() => dialog.current?.close()} />}
          <IconButton icon="close" label="Close" onClick={() => dialog.current?.close()} />
        </div>
      </div>
      <div className="p-4 sm:p-5">
        {answer.data ? <Detail job={answer.data} /> : answer.error ? <Gone error={answer.error} /> : <Skeleton className="h-72" />}
      </div>
    </dialog>
  );
}

const Gone = ({ error }: { error: Error }) => (
  <Notice tone="bad" title="Could not load this video">
    {error.message}
  </Notice>
);

function Detail({ job }: { job: JobView }) {
  return (
    <div className="grid gap-5 md:grid-cols-[minmax(0,24rem)_minmax(0,1fr)]">
      <div className="space-y-4">
        {job.video ? <Player job={job} /> : <JobMedia job={job} onOpen={() => undefined} />}
        <JobStatusLine job={job} />
      </div>
      <div className="min-w-0 space-y-5">
        <MarkedPrompt job={job} />
        <OptimizationBadge job={job} />
        {job.record && <Stages job={job} />}
        {job.replays && <Comparison job={job} />}
        <JobFacts job={job} />
        {isOver(job.status) && job.attempts > 0 && <JobRuns jobId={job.job_id} />}
        {job.links.replay && <ReplayButton job={job} />}
      </div>
    </div>
  );
}

function Player({ job }: { job: JobView }) {
  if (!job.video) return null;
  return (
    <video
      src={at(job.video.url)}
      poster={at(job.video.poster_url)}
      controls
      loop
      muted
      autoPlay={!window.matchMedia('(prefers-reduced-motion: reduce)').matches}
      playsInline
      aria-label={`Video: ${job.request.prompt}`}
      className="media w-full rounded-lg"
      style={{ aspectRatio: `${job.shape.width} / ${job.shape.height}` }}
    />
  );
}

type StageKey = 'encode_s' | 'adapters_s' | 'denoise_s' | 'decode_s' | 'interpolate_s' | 'deliver_s';

const stages: [key: StageKey, name: string, look: string][] = [
  ['encode_s', 'Encoding', 'bg-wait'],
  ['adapters_s', 'Loading LoRA', 'bg-line-strong'],
  ['denoise_s', 'Denoising', 'bg-accent'],
  ['decode_s', 'Decoding', 'bg-good'],
  ['interpolate_s', 'Smoothing', 'bg-accent/50'],
  ['deliver_s', 'Writing', 'bg-line-strong'],
];

/** How the run time divides into stages. */
function Stages({ job }: { job: JobView }): ReactNode {
  const seconds = job.record?.stages;
  if (!seconds) return null;
  const taken = stages.flatMap(([key, name, look]) => {
    const taking = seconds[key];
    // Most runs load no LoRA.
    return typeof taking === 'number' && (key !== 'adapters_s' || taking > 0) ? [{ key, name, look, taking }] : [];
  });
  const total = taken.reduce((sum, { taking }) => sum + taking, 0);
  return (
    <section aria-label="Where the time went">
      <h3 className="label mb-1.5">Where the time went</h3>
      <div className="flex h-2 gap-px overflow-hidden rounded-full" aria-hidden="true">
        {taken.map(({ key, look, taking }) => (
          <span key={key} className={`${look} min-w-0.5`} style={{ flexGrow: Math.max(taking / total, 0.002) }} />
        ))}
      </div>
      <ul className="mt-2 flex flex-wrap gap-x-4 gap-y-1">
        {taken.map(({ key, name, look, taking }) => (
          <li key={key} className="num flex items-center gap-1.5 text-xs">
            <span className={`size-2 rounded-full ${look}`} />
            <span className="text-muted">{name}</span> {duration(taking)}
          </li>
        ))}
      </ul>
    </section>
  );
}
