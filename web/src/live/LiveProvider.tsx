/**
 * Owns the event stream of the signed-in page and applies its events to the query cache.
 *
 * While the stream is lost, the newest jobs are polled instead, so that the page stays current with a short delay.
 */
import { useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useEffect, useMemo, useState } from 'react';
import { FeedContext, JobFeed } from '../features/jobs/feed';
import { keys } from '../lib/keys';
import { LiveConnection, type LiveStatus } from './connection';
import { LiveContext } from './context';
import { setPreview } from './preview';
import { setProgress } from './progress';

const POLL_MS = 4000;
const HIDDEN_FOR_MS = 120_000;
/** Event kinds that do not invalidate an earlier step count. */
const KEEPS_PROGRESS = new Set(['planned', 'cancel_requested']);

export function LiveProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const [status, setStatus] = useState<LiveStatus>('connecting');
  const feed = useMemo(() => new JobFeed(client), [client]);
  const live = useMemo(
    () =>
      new LiveConnection({
        onState: (event) => {
          if (!KEEPS_PROGRESS.has(event.kind)) {
            setProgress(event.job_id, null);
            setPreview(event.job_id, null);
          }
          feed.changed(event.job_id, event.kind);
        },
        onProgress: (event) => setProgress(event.job_id, event),
        onPreview: (event) => setPreview(event.job_id, event),
        onReady: () => feed.refresh(),
        onStatus: setStatus,
        onRefused: () => void client.invalidateQueries({ queryKey: keys.session }),
      }),
    [client, feed],
  );

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = () => {
      clearTimeout(timer);
      if (document.hidden) timer = setTimeout(() => live.stop(), HIDDEN_FOR_MS);
      else live.start();
    };
    const online = () => live.retryNow();
    live.start();
    document.addEventListener('visibilitychange', look);
    window.addEventListener('online', online);
    return () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', look);
      window.removeEventListener('online', online);
      live.stop();
      feed.stop();
    };
  }, [live, feed]);

  useEffect(() => {
    if (status !== 'lost') return undefined;
    const timer = setInterval(() => feed.refresh(), POLL_MS);
    return () => clearInterval(timer);
  }, [status, feed]);

  const value = useMemo(() => ({ status, retryNow: () => live.retryNow() }), [status, live]);
  return (
    <LiveContext value={value}>
      <FeedContext value={feed}>{children}</FeedContext>
    </LiveContext>
  );
}
