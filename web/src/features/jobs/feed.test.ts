/** The feed applies changes with few requests: one by one for a few jobs, by page for a flood. */
import { InfiniteQueryObserver, QueryClient } from '@tanstack/react-query';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { JobView } from '../../api/schema';
import { flatten, type JobPages } from '../../lib/jobPages';
import { keys } from '../../lib/keys';
import { job } from '../../testing/builders';
import { JobFeed } from './feed';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
const made = (id: string, second: number, over: Partial<JobView> = {}) => job({ job_id: id, created_at: at(second), ...over });

const PAGE = 40;

/** The jobs in the fake API, the paths that were requested, and how many of the next requests fail. */
let known: JobView[] = [];
let asked: string[] = [];
let failures = 0;
let client: QueryClient;
let feed: JobFeed;
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('fetch', async (path: string) => {
    asked.push(path);
    failures -= 1;
    if (failures >= 0) return Response.json({ title: 'Unavailable', status: 503 }, { status: 503 });
    const id = /^\/api\/jobs\/(.+)$/.exec(path)?.[1];
    const found = known.find((each) => each.job_id === id);
    if (id && !found) return Response.json({ title: 'Not found', status: 404 }, { status: 404 });
    return Response.json(found ?? { jobs: known.slice(0, PAGE), next_cursor: known.length > PAGE ? 'more' : null });
  });
  known = [made('b', 2), made('a', 1)];
  asked = [];
  failures = 0;
  client = new QueryClient();
  const pages: JobPages = { pages: [{ jobs: known, next_cursor: null }], pageParams: [null] };
  client.setQueryData(keys.jobList({}), pages);
  const observer = new InfiniteQueryObserver(client, {
    queryKey: keys.jobList({}),
    queryFn: () => Promise.reject(new Error('lists are never reloaded as a whole')),
    initialPageParam: null,
    getNextPageParam: () => null,
    staleTime: Number.POSITIVE_INFINITY,
  });
  stop = observer.subscribe(() => undefined);
  feed = new JobFeed(client);
});

afterEach(() => {
  feed.stop();
  stop();
  client.clear();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const listed = () => flatten(client.getQueryData<JobPages>(keys.jobList({})));
const settle = () => vi.advanceTimersByTimeAsync(500);
/** In small steps, because responses are read in between. */
async function pass(seconds: number): Promise<void> {
  for (let half = 0; half < 2 * seconds; half += 1) await settle();
}

describe('JobFeed', () => {
  it('reads a changed job once, however often it changed', async () => {
    known = [made('b', 2, { status: 'running' }), made('a', 1)];
    feed.changed('b', 'scheduled');
    feed.changed('b', 'running');
    await settle();
    expect(asked).toEqual(['/api/jobs/b']);
    expect(listed().map(({ job_id, status }) => [job_id, status])).toEqual([['b', 'running'], ['a', 'queued']]);
  });

  it('reads one page for a flood, not every job of it', async () => {
    known = Array.from({ length: 30 }, (_, index) => made(`n${29 - index}`, 50 - index)).concat(known);
    for (const each of known) feed.changed(each.job_id, 'queued');
    await settle();
    expect(asked).toEqual(['/api/jobs']);
    expect(listed()).toHaveLength(32);
  });

  it('removes a deleted job without a request, and a missing one after a request', async () => {
    feed.changed('b', 'deleted');
    expect(listed().map((each) => each.job_id)).toEqual(['a']);
    known = [];
    feed.changed('a', 'cancelled');
    await settle();
    expect(listed()).toEqual([]);
  });

  it('after a gap in the stream it reads the newest page and every unfinished job', async () => {
    known = [made('c', 3), made('b', 2, { status: 'completed' })];
    feed.refresh();
    await settle();
    expect(asked).toContain('/api/jobs');
    expect(listed().map(({ job_id, status }) => [job_id, status])).toEqual([['c', 'queued'], ['b', 'completed']]);
  });

  it('reads a job again after a failure, without another event', async () => {
    known = [made('b', 2, { status: 'running' }), made('a', 1)];
    failures = 1;
    feed.changed('b', 'running');
    await pass(3);
    expect(asked).toEqual(['/api/jobs/b', '/api/jobs/b']);
    expect(listed().map(({ status }) => status)).toEqual(['running', 'queued']);
  });

  it('reads the newest page again after a failure', async () => {
    known = [made('c', 3), made('b', 2), made('a', 1)];
    failures = 1;
    feed.refresh();
    await pass(3);
    expect(listed().map(({ job_id }) => job_id)).toEqual(['c', 'b', 'a']);
  });

  it('tries less and less often while reads fail, but reads other changes at once, and stops when it is stopped', async () => {
    failures = Number.POSITIVE_INFINITY;
    feed.changed('b', 'running');
    await pass(60);
    expect(asked.length).toBeGreaterThan(5);
    expect(asked.length).toBeLessThan(15);
    failures = 0;
    known = [made('b', 2), made('a', 1, { status: 'running' })];
    feed.changed('a', 'running');
    await pass(1);
    expect(listed().find(({ job_id }) => job_id === 'a')?.status).toBe('running');
    failures = Number.POSITIVE_INFINITY;
    feed.changed('a', 'completed');
    await pass(1);
    feed.stop();
    asked = [];
    await pass(60);
    expect(asked).toEqual([]);
  });

  it('does not repeat a request that was refused', async () => {
    vi.stubGlobal('fetch', async (path: string) => {
      asked.push(path);
      return Response.json({ title: 'Not signed in', status: 401 }, { status: 401 });
    });
    feed.changed('b', 'running');
    await pass(20);
    expect(asked).toEqual(['/api/jobs/b']);
  });

  it('reads all of many loaded jobs, in turns', async () => {
    const many = (status: JobView['status']) => Array.from({ length: 120 }, (_, index) => made(`n${index}`, 200 - index, { status }));
    client.setQueryData<JobPages>(keys.jobList({}), { pages: [{ jobs: many('queued'), next_cursor: null }], pageParams: [null] });
    known = many('running');
    for (const each of known) feed.changed(each.job_id, 'running');
    await pass(3);
    expect(listed()).toHaveLength(120);
    expect(listed().filter(({ status }) => status !== 'running')).toEqual([]);
  });
});
