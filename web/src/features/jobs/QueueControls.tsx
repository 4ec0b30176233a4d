/** Pauses and resumes one's own queue, and shows what is left of the key's quota. */
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { getQuota } from '../../api/getQuota';
import { getQueue, pauseQueue, resumeQueue } from '../../api/queue';
import type { QuotaView } from '../../api/schema';
import { keys } from '../../lib/keys';
import { Button } from '../../ui/Button';
import { toast, toastError } from '../../ui/toast';
import { useSession } from '../session/useSession';

const REFRESH_MS = 30_000;

export function QueueControls() {
  const client = useQueryClient();
  const queue = useQuery({ queryKey: keys.queue, queryFn: ({ signal }) => getQueue(signal), refetchInterval: REFRESH_MS });
  const change = useMutation({
    mutationFn: (pause: boolean) => (pause ? pauseQueue() : resumeQueue()),
    onSuccess: (state) => {
      client.setQueryData(keys.queue, state);
      toast(state.paused ? 'Queue paused. Running videos are finished.' : 'Queue resumed.');
    },
    onError: toastError,
  });
  if (!queue.data) return null;
  const isPaused = queue.data.paused;
  return (
    <div className="flex items-center gap-2">
      <Quota />
      {isPaused && <span className="hint">Queue paused</span>}
      <Button variant="quiet" icon={isPaused ? 'play' : 'pause'} disabled={change.isPending} onClick={() => change.mutate(!isPaused)}>
        {isPaused ? 'Resume queue' : 'Pause queue'}
      </Button>
    </div>
  );
}

function Quota() {
  const session = useSession();
  const hasKey = session.data?.keys_required === true;
  const quota = useQuery({ queryKey: keys.quota, queryFn: ({ signal }) => getQuota(signal), enabled: hasKey, refetchInterval: REFRESH_MS });
  const text = quota.data && quotaText(quota.data);
  return text ? <span className="hint">{text}</span> : null;
}

/** What is taken of the quota today; null without one. Dollars first, because people set budgets in them. */
export function quotaText({ quota, used_gpu_seconds: used, reserved_gpu_seconds: reserved, used_usd: usd }: QuotaView): string | null {
  if (quota.usd_per_day != null) {
    const taken = used > 0 ? usd * ((used + reserved) / used) : usd;
    return `$${taken.toFixed(2)} of $${quota.usd_per_day.toFixed(2)} today`;
  }
  if (quota.gpu_seconds_per_day == null) return null;
  return `${Math.round(used + reserved)} of ${Math.round(quota.gpu_seconds_per_day)} GPU seconds today`;
}
