/**
 * A waiting job with its current position in the queue.
 *
 * Lists do not contain positions, and a job moves up without an event of its own when others start or end. So each
 * waiting card on screen polls its job.
 */
import { useQuery } from '@tanstack/react-query';
import { getJob } from '../../api/getJob';
import type { JobView } from '../../api/schema';
import { keys } from '../../lib/keys';
import { isWaiting } from './state';

const EVERY_MS = 3000;

export function usePlaced(job: JobView): JobView {
  const waits = isWaiting(job.status);
  const asked = useQuery({
    queryKey: keys.job(job.job_id),
    queryFn: ({ signal }) => getJob(job.job_id, signal),
    enabled: waits,
    refetchInterval: EVERY_MS,
    retry: false,
  }).data;
  return waits && asked && isWaiting(asked.status) ? { ...job, queue_position: asked.queue_position, queue_wait_s: asked.queue_wait_s } : job;
}
