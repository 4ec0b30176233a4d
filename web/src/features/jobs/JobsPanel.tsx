/** All videos: queued, rendering and done. */
import { useCallback, useMemo, useState } from 'react';
import { closeJob, openJob, useOpenJob } from '../../app/router';
import { Button } from '../../ui/Button';
import { Icon } from '../../ui/Icon';
import { Notice } from '../../ui/Notice';
import { Skeleton } from '../../ui/Skeleton';
import { Gallery, useHasGallery } from '../gallery/Gallery';
import { everything, type Filter, JobFilters, queryOf } from './JobFilters';
import { JobDialog } from './JobDialog';
import { JobList } from './JobList';
import { QueueControls } from './QueueControls';
import { useJobList } from './useJobList';

export function JobsPanel() {
  const [filter, setFilter] = useState<Filter>(everything);
  const openId = useOpenJob();
  const change = useCallback((part: Partial<Filter>) => setFilter((now) => ({ ...now, ...part })), []);
  const query = useMemo(() => queryOf(filter), [filter]);
  const list = useJobList(query);
  const { fetchNextPage } = list;
  const loadMore = useCallback(() => void fetchNextPage(), [fetchNextPage]);
  const isFiltered = Object.keys(query).length > 0;
  const hasGallery = useHasGallery();
  return (
    <section aria-label="Your videos" className="min-w-0">
      <div className="mb-3 space-y-2.5">
        <div className="flex items-center justify-between gap-2">
          <h2 className="text-lg font-semibold tracking-tight">Videos</h2>
          <QueueControls />
        </div>
        <JobFilters filter={filter} onChange={change} />
      </div>
      {list.isPending && !list.error && <Loading />}
      {list.error && list.jobs.length === 0 && (
        <Notice tone="bad" title="Could not load the videos" action={<Button icon="retry" onClick={() => void list.refetch()}>Try again</Button>}>
          {list.error.message}
        </Notice>
      )}
      {list.data && list.jobs.length === 0 && !list.hasNextPage && (hasGallery && !isFiltered ? <Gallery /> : <Empty isFiltered={isFiltered} />)}
      {list.data && (list.jobs.length > 0 || list.hasNextPage) && (
        <div className={`transition-opacity ${list.isPlaceholderData ? 'opacity-60' : ''}`}>
          <JobList
            jobs={list.jobs}
            hasMore={list.hasNextPage && !list.isPlaceholderData && !list.error}
            isLoadingMore={list.isFetchingNextPage}
            loadMore={loadMore}
            onOpen={openJob}
          />
          {list.isFetchingNextPage && <p className="hint py-4 text-center">Loading more…</p>}
        </div>
      )}
      {openId && <JobDialog key={openId} jobId={openId} onClose={closeJob} />}
    </section>
  );
}

function Loading() {
  return (
    <div className="space-y-3" aria-hidden="true">
      {['a', 'b', 'c', 'd'].map((key) => (
        <div key={key} className="card flex gap-4 p-3">
          <Skeleton className="size-22 sm:size-36" />
          <div className="flex-1 space-y-3 py-1">
            <Skeleton className="h-4 w-32" />
            <Skeleton className="h-5 w-3/4" />
            <Skeleton className="h-5 w-1/2" />
          </div>
        </div>
      ))}
    </div>
  );
}

function Empty({ isFiltered }: { isFiltered: boolean }) {
  return (
    <div className="card grid place-items-center px-6 py-16 text-center">
      <span className="mb-3 grid size-12 place-items-center rounded-full bg-accent-soft text-accent-ink">
        <Icon name={isFiltered ? 'search' : 'film'} className="size-6" />
      </span>
      <p className="font-semibold">{isFiltered ? 'No videos match' : 'No videos yet'}</p>
      <p className="mt-1 max-w-sm text-sm text-muted">
        {isFiltered ? 'Try other words or another status.' : 'Write a prompt and select Generate. The video plays here as soon as it is done.'}
      </p>
    </div>
  );
}
