/** Key figures of the optimisations, always visible. */
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { type ReactNode, useEffect } from 'react';
import { getStats } from '../../api/getStats';
import { getWorkers } from '../../api/getWorkers';
import { count, percent, trim, usd } from '../../lib/format';
import { keys } from '../../lib/keys';
import { Chip } from '../../ui/Chip';
import { Skeleton } from '../../ui/Skeleton';

/** The event stream triggers updates; polling covers the time when the stream is down. */
const EVERY_MS = 20_000;
const NAME = 'Hunyuan Fleet';

export const useStats = () => useQuery({ queryKey: keys.stats, queryFn: ({ signal }) => getStats(signal), refetchInterval: EVERY_MS });
/** The workers, a page at a time. Only the pages that are shown are polled, which is one in most places. */
export const useWorkers = () =>
  useInfiniteQuery({
    queryKey: keys.workers,
    queryFn: ({ pageParam, signal }) => getWorkers(pageParam, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
    refetchInterval: EVERY_MS,
  });

function Item({ label, children, id }: { label: string; children: ReactNode; id?: string }) {
  return (
    <div className="flex items-baseline gap-1.5 whitespace-nowrap">
      <dt className="text-muted">{label}</dt>
      <dd className="num flex items-baseline gap-1.5 font-semibold" data-testid={id}>
        {children}
      </dd>
    </div>
  );
}

export function StatsBar() {
  const stats = useStats().data;
  const workers = useWorkers().data?.pages[0]?.total;
  const going = stats?.in_progress ?? 0;
  useEffect(() => {
    // Visible on the tab while the user works in another one.
    document.title = going > 0 ? `(${count(going)}) ${NAME}` : NAME;
  }, [going]);
  return (
    // Focusable, because it scrolls sideways on a phone.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrollable region must be reachable by keyboard
    <section aria-label="Statistics" tabIndex={0} className="overflow-x-auto border-t border-line [scrollbar-width:none]">
      <div className="mx-auto max-w-[88rem] px-4 py-1.5 sm:px-6">
        {stats ? (
          <dl className="flex min-h-6 w-max items-center gap-x-6 text-sm">
            <Item label="Cache hit rate" id="stat-hit-rate">
              {stats.optimization.cache_enabled ? percent(stats.optimization.cache_hit_rate) : 'off'}
            </Item>
            <Item label="Average steps" id="stat-avg-steps">
              {stats.completed > 0 ? trim(stats.optimization.avg_steps, 1) : '–'}
              {stats.optimization.adaptive_enabled && (
                <Chip tone="accent" title="The number of steps fits each prompt">
                  Adaptive
                </Chip>
              )}
            </Item>
            <Item label="Done" id="stat-completed">
              {count(stats.completed)}
            </Item>
            <Item label="In progress">{count(stats.in_progress)}</Item>
            <Item label="Saved">{usd(Math.max(stats.savings.saved_usd, 0))}</Item>
            {workers !== undefined && <Item label="Workers">{count(workers)}</Item>}
          </dl>
        ) : (
          <Skeleton className="h-6 w-96 max-w-full" />
        )}
      </div>
    </section>
  );
}
