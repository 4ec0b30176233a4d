/**
 * Pure updates of the loaded job pages: one job was added, changed or removed, or the newest page was reloaded.
 *
 * Pages are sorted newest first and never contain a job twice.
 */
import type { InfiniteData } from '@tanstack/react-query';
import type { JobQuery } from '../api/listJobs';
import type { JobListView, JobView } from '../api/schema';

/** The cached pages of one list. */
export type JobPages = InfiniteData<JobListView, string | null>;

/** Whether the server would list the job under this filter. */
export function matches(job: JobView, query: JobQuery): boolean {
  if (job.deleted_at) return false;
  if (query.status && !query.status.split(',').includes(job.status)) return false;
  if (query.tier && !(job.optimization.planned && job.optimization.quality_tier === query.tier)) return false;
  return !query.q || job.request.prompt.toLowerCase().includes(query.q.toLowerCase());
}

const isNewer = (a: JobView, b: JobView) =>
  a.created_at === b.created_at ? a.job_id > b.job_id : Date.parse(a.created_at) > Date.parse(b.created_at);

/** All loaded jobs in order. */
export const flatten = (pages: Pick<JobPages, 'pages'> | undefined): JobView[] => pages?.pages.flatMap((page) => page.jobs) ?? [];

/** Applies the current state of a job: replaces it, inserts it, or removes it if the filter no longer matches. */
export function upsert(pages: JobPages, job: JobView, query: JobQuery): JobPages {
  const without = remove(pages, job.job_id);
  if (!matches(job, query)) return without;
  if (without === pages) return insert(pages, job);
  // Already listed: keep its position so that nothing moves under the pointer.
  return {
    ...pages,
    pages: pages.pages.map((page) =>
      page.jobs.some((each) => each.job_id === job.job_id)
        ? { ...page, jobs: page.jobs.map((each) => (each.job_id === job.job_id ? job : each)) }
        : page,
    ),
  };
}

/** Removes the job; returns the same object if it was not listed. */
export function remove(pages: JobPages, jobId: string): JobPages {
  if (!pages.pages.some((page) => page.jobs.some((job) => job.job_id === jobId))) return pages;
  return {
    ...pages,
    pages: pages.pages.map((page) => ({ ...page, jobs: page.jobs.filter((job) => job.job_id !== jobId) })),
  };
}

function insert(pages: JobPages, job: JobView): JobPages {
  for (const [index, page] of pages.pages.entries()) {
    const at = page.jobs.findIndex((each) => isNewer(job, each));
    const isEnd = index === pages.pages.length - 1 && !page.next_cursor;
    if (at < 0 && !isEnd) continue;
    const jobs = page.jobs.toSpliced(at < 0 ? page.jobs.length : at, 0, job);
    return { ...pages, pages: pages.pages.with(index, { ...page, jobs }) };
  }
  // Older than everything loaded; scrolling will load it.
  return pages;
}

/** Merges a reloaded newest page: updates its jobs, adds new ones and removes those that are gone. */
export function mergeHead(pages: JobPages, head: JobListView, query: JobQuery): JobPages {
  const present = new Set(head.jobs.map((job) => job.job_id));
  const oldest = head.jobs.at(-1);
  const covers = (job: JobView) => !head.next_cursor || (oldest !== undefined && !isNewer(oldest, job));
  const gone = flatten(pages).filter((job) => covers(job) && !present.has(job.job_id));
  const kept = gone.reduce((rest, job) => remove(rest, job.job_id), pages);
  return head.jobs.reduceRight((rest, job) => upsert(rest, job, query), kept);
}
