/**
 * Applies job changes to the query cache with few requests.
 *
 * A few changed jobs are read one by one. After a flood of changes (a batch of a thousand) it reads the newest page
 * instead and, of the other changed jobs, only those that are loaded.
 */
import type { QueryClient } from '@tanstack/react-query';
import { createContext, useContext } from 'react';
import { ApiError } from '../../api/client';
import { getJob } from '../../api/getJob';
import { type JobQuery, listJobs } from '../../api/listJobs';
import type { JobView } from '../../api/schema';
import { keys } from '../../lib/keys';
import { flatten, type JobPages, mergeHead, remove, upsert } from '../../lib/jobPages';

const GATHER_MS = 120;
const STATS_MS = 1000;
const ONE_BY_ONE_MAX = 8;
const LOADED_MAX = 60;
const NOT_OVER = new Set(['queued', 'scheduled', 'running', 'drafted']);

export class JobFeed {
  readonly #client: QueryClient;
  readonly #waiting = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #statsTimer: ReturnType<typeof setTimeout> | undefined;
  #wantsHead = false;
  #isReading = false;

  constructor(client: QueryClient) {
    this.#client = client;
  }

  /** Handles a change of a job; `kind` is the kind of event. */
  changed(jobId: string, kind: string): void {
    if (kind === 'deleted') this.#forEachList((pages) => remove(pages, jobId));
    else this.#waiting.add(jobId);
    this.#readSoon();
    this.#refreshStats();
  }

  /** Anything may have changed: reads the newest page and every loaded job that is not finished. */
  refresh(): void {
    for (const [, pages] of this.#lists()) {
      for (const job of flatten(pages)) if (NOT_OVER.has(job.status)) this.#waiting.add(job.job_id);
    }
    this.#wantsHead = true;
    this.#readSoon();
    this.#refreshStats();
  }

  /** Updates a job, as returned by the API, in every list. */
  put(job: JobView): void {
    this.#client.setQueryData(keys.job(job.job_id), job);
    this.#forEachList((pages, query) => upsert(pages, job, query));
  }

  /** Removes a job from every list. */
  drop(jobId: string): void {
    this.#forEachList((pages) => remove(pages, jobId));
  }

  stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#statsTimer);
    this.#timer = this.#statsTimer = undefined;
  }

  #readSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#isReading) this.#readSoon();
      else void this.#read();
    }, GATHER_MS);
  }

  async #read(): Promise<void> {
    this.#isReading = true;
    const changed = [...this.#waiting];
    const isFlood = changed.length > ONE_BY_ONE_MAX;
    const withHead = this.#wantsHead || isFlood;
    this.#waiting.clear();
    this.#wantsHead = false;
    try {
      const known = new Set(this.#lists().flatMap(([, pages]) => flatten(pages).map((job) => job.job_id)));
      const seen = withHead ? await this.#readHeads() : new Set<string>();
      const rest = changed.filter((id) => !seen.has(id) && (!isFlood || known.has(id))).slice(0, LOADED_MAX);
      await Promise.all(rest.map((id) => this.#readOne(id)));
    } catch {
      // The fleet is unreachable; everything is read again when the stream reconnects or at the next poll.
    } finally {
      this.#isReading = false;
    }
  }

  async #readOne(jobId: string): Promise<void> {
    try {
      this.put(await getJob(jobId));
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) this.drop(jobId);
      else throw error;
    }
  }

  async #readHeads(): Promise<Set<string>> {
    const heads = await Promise.all(this.#lists().map(async ([query]) => [query, await listJobs(query)] as const));
    for (const [query, head] of heads) {
      this.#client.setQueryData<JobPages>(keys.jobList(query), (pages) => pages && mergeHead(pages, head, query));
    }
    return new Set(heads.flatMap(([, head]) => head.jobs.map((job) => job.job_id)));
  }

  #lists(): [JobQuery, JobPages][] {
    return this.#client
      .getQueriesData<JobPages>({ queryKey: keys.jobs, type: 'active' })
      .flatMap(([key, pages]) => (pages ? [[key[1] as JobQuery, pages] as [JobQuery, JobPages]] : []));
  }

  #forEachList(change: (pages: JobPages, query: JobQuery) => JobPages): void {
    for (const [query] of this.#lists()) {
      this.#client.setQueryData<JobPages>(keys.jobList(query), (pages) => pages && change(pages, query));
    }
  }

  #refreshStats(): void {
    this.#statsTimer ??= setTimeout(() => {
      this.#statsTimer = undefined;
      for (const queryKey of [keys.stats, keys.workers]) void this.#client.invalidateQueries({ queryKey });
    }, STATS_MS);
  }
}

/** The feed of the signed-in page. */
export const FeedContext = createContext<JobFeed | null>(null);

export function useFeed(): JobFeed {
  const feed = useContext(FeedContext);
  if (!feed) throw new Error('useFeed outside of LiveProvider');
  return feed;
}
