/**
 * Applies job changes to the query cache with few requests.
 *
 * A few changed jobs are read one by one. After a flood of changes (a batch of a thousand) it reads the newest page
 * instead and, of the other changed jobs, only those that are loaded. What could not be read is read again later.
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
/** Most jobs that are read at once; the others follow. */
const LOADED_MAX = 60;
const AGAIN_FIRST_MS = 1000;
const AGAIN_MOST_MS = 8000;
const NOT_OVER = new Set(['queued', 'scheduled', 'running', 'drafted']);

/** Whether the same request would fail again: the API refused it, for another reason than being busy. */
const isFinal = (error: unknown): boolean =>
  error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 408 && error.status !== 429;

export class JobFeed {
  readonly #client: QueryClient;
  readonly #waiting = new Set<string>();
  /** Jobs that could not be read, until they are waiting again. */
  readonly #failed = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #statsTimer: ReturnType<typeof setTimeout> | undefined;
  #againTimer: ReturnType<typeof setTimeout> | undefined;
  #againMs = AGAIN_FIRST_MS;
  #wantsHead = false;
  #hasHeadFailed = false;
  #isReading = false;
  #isStopped = false;

  constructor(client: QueryClient) {
    this.#client = client;
  }

  /** Handles a change of a job; `kind` is the kind of event. */
  changed(jobId: string, kind: string): void {
    this.#isStopped = false;
    if (kind === 'deleted') this.#forEachList((pages) => remove(pages, jobId));
    else this.#waiting.add(jobId);
    this.#readSoon();
    this.#refreshStats();
  }

  /** Anything may have changed: reads the newest page and every loaded job that is not finished. */
  refresh(): void {
    this.#isStopped = false;
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
    this.#isStopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#statsTimer);
    clearTimeout(this.#againTimer);
    this.#timer = this.#statsTimer = this.#againTimer = undefined;
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
      const unseen = changed.filter((id) => !seen.has(id) && (!isFlood || known.has(id)));
      const unread = await Promise.all(unseen.slice(0, LOADED_MAX).map((id) => this.#readOne(id)));
      const failed = unread.filter((id) => id !== null);
      const rest = unseen.slice(LOADED_MAX);
      // While reads fail, the others are not tried either.
      if (failed.length > 0) this.#readAgain([...failed, ...rest], false);
      else this.#followUp(rest);
    } catch (error) {
      if (!isFinal(error)) this.#readAgain(changed, withHead);
    } finally {
      this.#isReading = false;
    }
  }

  /** After a turn without a failure: reads what it left. */
  #followUp(rest: string[]): void {
    if (this.#failed.size === 0 && !this.#hasHeadFailed) this.#againMs = AGAIN_FIRST_MS;
    if (rest.length === 0 || this.#isStopped) return;
    for (const id of rest) this.#waiting.add(id);
    this.#readSoon();
  }

  /** Reads these jobs once more after a pause, which grows while reads fail. Other changes do not wait for it. */
  #readAgain(jobIds: string[], withHead: boolean): void {
    for (const id of jobIds) this.#failed.add(id);
    this.#hasHeadFailed ||= withHead;
    if (this.#againTimer !== undefined || this.#isStopped) return;
    this.#againTimer = setTimeout(() => {
      this.#againTimer = undefined;
      for (const id of this.#failed) this.#waiting.add(id);
      this.#failed.clear();
      this.#wantsHead ||= this.#hasHeadFailed;
      this.#hasHeadFailed = false;
      this.#readSoon();
    }, this.#againMs);
    this.#againMs = Math.min(this.#againMs * 2, AGAIN_MOST_MS);
  }

  /** Returns the id if the job could not be read and can be read later. */
  async #readOne(jobId: string): Promise<string | null> {
    try {
      this.put(await getJob(jobId));
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) this.drop(jobId);
      else if (!isFinal(error)) return jobId;
    }
    return null;
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
