/** Progress of a running job: the latest from the event stream, or what the job had when it was read. */
import type { JobView, ProgressView } from '../../api/schema';
import { useProgress } from '../../live/progress';

/** Progress with the remaining time, if the worker has reported it. */
export type Going = ProgressView & { remaining_s?: number | null };

export function useJobProgress(job: JobView): Going | null {
  const latest = useProgress(job.job_id);
  if (job.status !== 'running') return null;
  return latest ?? job.progress ?? null;
}
