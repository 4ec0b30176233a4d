/** The jobs that match a filter, page by page; the feed keeps loaded pages current. */
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { type JobQuery, listJobs } from '../../api/listJobs';
import { flatten } from '../../lib/jobPages';
import { keys } from '../../lib/keys';

export function useJobList(query: JobQuery) {
  const answer = useInfiniteQuery({
    queryKey: keys.jobList(query),
    queryFn: ({ pageParam, signal }) => listJobs({ ...query, cursor: pageParam }, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor ?? null,
    placeholderData: keepPreviousData,
    // The feed updates active lists only, so inactive ones are dropped. Active ones are never reloaded as a whole.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  const jobs = useMemo(() => flatten(answer.data), [answer.data]);
  return { ...answer, jobs };
}
