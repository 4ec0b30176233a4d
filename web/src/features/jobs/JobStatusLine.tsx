/** The status of a job in one line, with a progress bar while it runs. */
import type { JobView } from '../../api/schema';
import { sentence } from '../../api/client';
import { ago, duration } from '../../lib/format';
import { useNow } from '../../lib/useNow';
import { Chip } from '../../ui/Chip';
import { draftText, fraction, isWaiting, lookOf, stageText, stoppedText, waitText } from './state';
import { useJobProgress } from './useJobProgress';

export function StatusChip({ job }: { job: JobView }) {
  const { label, tone, icon } = lookOf(job);
  return (
    <Chip tone={tone} icon={icon}>
      {label}
    </Chip>
  );
}

function Waiting({ job }: { job: JobView }) {
  const now = useNow();
  return <p className="num text-sm text-muted">{waitText(job, now)}</p>;
}

function Running({ job }: { job: JobView }) {
  const progress = useJobProgress(job);
  const value = progress ? fraction(progress) : 0;
  const left = progress?.remaining_s;
  return (
    <div>
      <p className="num flex justify-between gap-3 text-sm text-muted">
        <span>{progress ? stageText(progress) : 'Starting'}</span>
        {typeof left === 'number' && <span>{duration(left)} left</span>}
      </p>
      <div
        role="progressbar"
        aria-label="Rendering"
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(100 * value)}
        className="mt-1.5 h-1.5 overflow-hidden rounded-full bg-raised"
      >
        <div className="h-full origin-left rounded-full bg-accent transition-transform duration-500" style={{ transform: `scaleX(${value})` }} />
      </div>
    </div>
  );
}

/** Empty for a finished video, which needs no explanation. */
export function JobStatusLine({ job }: { job: JobView }) {
  if (job.status === 'running') return <Running job={job} />;
  if (isWaiting(job.status)) return <Waiting job={job} />;
  if (job.status === 'failed') {
    return <p className="text-sm text-bad">{sentence(job.failure?.reason ?? 'The video could not be rendered')}</p>;
  }
  if (job.status === 'drafted') return <p className="num text-sm text-muted">{draftText(job)}</p>;
  if (job.status === 'cancelled' && stoppedText(job)) return <p className="num text-sm text-muted">{stoppedText(job)}</p>;
  return null;
}

/** `3 min ago`, updated as time passes. */
export function Ago({ iso }: { iso: string }) {
  const now = useNow();
  return (
    <time dateTime={iso} title={new Date(iso).toLocaleString()} className="hint num whitespace-nowrap">
      {ago(iso, now)}
    </time>
  );
}
