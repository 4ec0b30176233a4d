/** The jobs under a filter, page by page; the feed keeps what is loaded true. */
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
    // The feed follows active lists only: an inactive one is forgotten, an active one is never read again as a whole.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  const jobs = useMemo(() => flatten(answer.data), [answer.data]);
  return { ...answer, jobs };
}
