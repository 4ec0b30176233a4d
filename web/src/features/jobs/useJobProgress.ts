/** How far a running job is: what the stream said last, or what the job's row knew when it was read. */
import type { JobView, ProgressView } from '../../api/schema';
import { useProgress } from '../../live/progress';

/** Progress with the rest of the way, where the worker has told it. */
export type Going = ProgressView & { remaining_s?: number | null };

export function useJobProgress(job: JobView): Going | null {
  const told = useProgress(job.job_id);
  if (job.status !== 'running') return null;
  return told ?? job.progress ?? null;
}
