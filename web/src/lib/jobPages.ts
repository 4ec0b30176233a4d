/**
 * Pure changes of the loaded pages of jobs: one job changed, came or went; the newest page was read again.
 *
 * Pages are newest first and never hold a job twice.
 */
import type { InfiniteData } from '@tanstack/react-query';
import type { JobQuery } from '../api/listJobs';
import type { JobListView, JobView } from '../api/schema';

/** What the cache holds of one list. */
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

/** The pages with the job as it is now: replaced, put in its place, or taken out. */
export function upsert(pages: JobPages, job: JobView, query: JobQuery): JobPages {
  const without = remove(pages, job.job_id);
  if (!matches(job, query)) return without;
  if (without === pages) return insert(pages, job);
  // Known: keep its place, so that nothing jumps under the user's finger.
  return {
    ...pages,
    pages: pages.pages.map((page) =>
      page.jobs.some((each) => each.job_id === job.job_id)
        ? { ...page, jobs: page.jobs.map((each) => (each.job_id === job.job_id ? job : each)) }
        : page,
    ),
  };
}

/** The pages without the job; the very same object when it was not there. */
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
  // Older than everything loaded; scrolling will bring it.
  return pages;
}

/** The pages with the newest page read again: its jobs as they are now, new ones added, those that are gone taken out. */
export function mergeHead(pages: JobPages, head: JobListView, query: JobQuery): JobPages {
  const present = new Set(head.jobs.map((job) => job.job_id));
  const oldest = head.jobs.at(-1);
  const covers = (job: JobView) => !head.next_cursor || (oldest !== undefined && !isNewer(oldest, job));
  const gone = flatten(pages).filter((job) => covers(job) && !present.has(job.job_id));
  const kept = gone.reduce((rest, job) => remove(rest, job.job_id), pages);
  return head.jobs.reduceRight((rest, job) => upsert(rest, job, query), kept);
}
