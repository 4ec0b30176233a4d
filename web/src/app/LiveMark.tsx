/** Shows whether the page is live. When it is not, the banner below (Troubles) says what to do. */
import type { LiveStatus } from '../live/connection';
import { useLive } from '../live/context';

const looks: Record<LiveStatus, { text: string; ground: string; dot: string }> = {
  connecting: { text: 'Connecting…', ground: 'text-muted', dot: 'animate-pulse bg-line-strong' },
  live: { text: 'Live', ground: 'text-muted', dot: 'bg-good' },
  lost: { text: 'Reconnecting…', ground: 'bg-wait-soft text-wait', dot: 'animate-pulse bg-wait' },
};

export function LiveMark() {
  const { text, ground, dot } = looks[useLive().status];
  return (
    <div role="status" className={`flex items-center gap-1.5 rounded-lg px-2 py-1 text-xs font-medium ${ground}`}>
      <span className={`size-2 rounded-full ${dot}`} />
      {text}
    </div>
  );
}
