/** Whether what is shown is live; when it is not, since the stream is lost, how to try now. */
import { useLive } from '../live/context';

export function LiveMark() {
  const { status, retryNow } = useLive();
  if (status === 'lost') {
    return (
      <div role="status" className="flex items-center gap-2 rounded-lg bg-wait-soft py-1 pr-1 pl-2.5 text-xs font-medium text-wait">
        <span className="size-2 animate-pulse rounded-full bg-wait" />
        <span>Reconnecting…</span>
        <button type="button" onClick={retryNow} className="rounded-md px-1.5 py-1 underline underline-offset-2">
          Try now
        </button>
      </div>
    );
  }
  return (
    <div role="status" className="flex items-center gap-1.5 px-2 text-xs font-medium text-muted">
      <span className={`size-2 rounded-full ${status === 'live' ? 'bg-good' : 'animate-pulse bg-line-strong'}`} />
      {status === 'live' ? 'Live' : 'Connecting…'}
    </div>
  );
}
