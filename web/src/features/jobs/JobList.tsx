/**
 * The virtualised list: only cards near the visible area exist, so thousands scroll as smoothly as ten.
 *
 * An ARIA feed: each card can be focused; the arrow keys move between cards and Enter opens one.
 */
import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { type KeyboardEvent, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { JobView } from '../../api/schema';
import { JobCard } from './JobCard';

const CARD_PX = 182;
const GAP_PX = 12;
/** Load the next page this many cards before the end. */
const EARLY = 10;

interface Props {
  jobs: JobView[];
  hasMore: boolean;
  isLoadingMore: boolean;
  loadMore: () => void;
  onOpen: (jobId: string) => void;
}

export function JobList({ jobs, hasMore, isLoadingMore, loadMore, onOpen }: Props) {
  const feed = useRef<HTMLDivElement>(null);
  const top = useTop(feed);
  const list = useWindowVirtualizer({
    count: jobs.length,
    estimateSize: () => CARD_PX,
    gap: GAP_PX,
    overscan: 5,
    scrollMargin: top,
    getItemKey: (index) => jobs[index]?.job_id ?? index,
  });
  const rows = list.getVirtualItems();
  const last = rows.at(-1)?.index ?? 0;
  useEffect(() => {
    // A search may return an empty page that has a successor; then there is no row to scroll to.
    if (hasMore && !isLoadingMore && last >= jobs.length - EARLY) loadMore();
  }, [hasMore, isLoadingMore, last, jobs.length, loadMore]);

  const focusCard = (index: number) => {
    if (index < 0 || index >= jobs.length) return;
    list.scrollToIndex(index, { align: 'auto' });
    // The card may have to be rendered first.
    requestAnimationFrame(() => feed.current?.querySelector<HTMLElement>(`[data-index="${index}"]`)?.focus({ preventScroll: true }));
  };
  const onKeyDown = (event: KeyboardEvent<HTMLElement>, index: number) => {
    // Keys inside a card belong to its buttons.
    if (event.target !== event.currentTarget || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === 'ArrowDown') focusCard(index + 1);
    else if (event.key === 'ArrowUp') focusCard(index - 1);
    else if (event.key === 'Home') focusCard(0);
    else if (event.key === 'End') focusCard(jobs.length - 1);
    else if (event.key === 'Enter') onOpen(jobs[index]?.job_id ?? '');
    else return;
    event.preventDefault();
  };

  return (
    <div ref={feed} role="feed" aria-label="Videos" aria-busy={isLoadingMore} className="relative" style={{ height: list.getTotalSize() }}>
      {rows.map((row) => {
        const job = jobs[row.index];
        return (
          job && (
            <article
              key={row.key}
              ref={list.measureElement}
              data-index={row.index}
              data-job={job.job_id}
              tabIndex={0}
              aria-label={job.request.prompt}
              aria-posinset={row.index + 1}
              aria-setsize={hasMore ? -1 : jobs.length}
              onKeyDown={(event) => onKeyDown(event, row.index)}
              className="absolute inset-x-0 top-0 rounded-card"
              style={{ transform: `translateY(${row.start - top}px)` }}
            >
              <JobCard job={job} onOpen={onOpen} />
            </article>
          )
        );
      })}
    </div>
  );
}

/** The offset of the list in the document; content above it may change its height. */
function useTop(element: React.RefObject<HTMLElement | null>): number {
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const measure = () => {
      if (element.current) setTop(Math.round(element.current.getBoundingClientRect().top + window.scrollY));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, [element]);
  return top;
}
