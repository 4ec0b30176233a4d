/** Loaded pages follow changes without duplicating or losing a job. */
import { describe, expect, it } from 'vitest';
import { job } from '../testing/builders';
import { flatten, type JobPages, matches, mergeHead, remove, upsert } from './jobPages';

/** Ids are single digits; larger is newer. */
const at = (id: string) => `2026-01-01T00:00:0${id}Z`;
const pages = (...groups: string[][]): JobPages => ({
  pages: groups.map((ids, index) => ({
    jobs: ids.map((id) => job({ job_id: id, created_at: at(id) })),
    next_cursor: index === groups.length - 1 ? null : 'more',
  })),
  pageParams: groups.map(() => null),
});
const idsOf = (data: JobPages) => flatten(data).map((each) => each.job_id);

describe('upsert', () => {
  it('inserts a new job by its age', () => {
    expect(idsOf(upsert(pages(['5', '3'], ['1']), job({ job_id: '6', created_at: at('6') }), {}))).toEqual(['6', '5', '3', '1']);
    expect(idsOf(upsert(pages(['5', '3'], ['1']), job({ job_id: '4', created_at: at('4') }), {}))).toEqual(['5', '4', '3', '1']);
    expect(idsOf(upsert(pages(['5']), job({ job_id: '2', created_at: at('2') }), {}))).toEqual(['5', '2']);
  });

  it('replaces a listed job in place, and removes it when the filter no longer matches', () => {
    const before = pages(['5', '3']);
    const done = job({ job_id: '5', status: 'completed', created_at: at('5') });
    expect(flatten(upsert(before, done, {}))[0]?.status).toBe('completed');
    expect(idsOf(upsert(before, done, { status: 'queued,running' }))).toEqual(['3']);
  });

  it('leaves jobs older than what is loaded to scrolling', () => {
    const before: JobPages = { pages: [{ jobs: [job({ job_id: '5', created_at: at('5') })], next_cursor: 'x' }], pageParams: [null] };
    expect(idsOf(upsert(before, job({ job_id: '1', created_at: at('1') }), {}))).toEqual(['5']);
  });
});

it('remove returns the same object when there is nothing to remove', () => {
  const before = pages(['5']);
  expect(remove(before, '9')).toBe(before);
});

describe('mergeHead', () => {
  it('adds new jobs and drops missing ones, but only within the range of the head', () => {
    const before = pages(['5', '4'], ['2', '1']);
    const head = { jobs: ['6', '5', '2'].map((id) => job({ job_id: id, created_at: at(id) })), next_cursor: 'more' };
    expect(idsOf(mergeHead(before, head, {}))).toEqual(['6', '5', '2', '1']);
  });

  it('an empty head without a next page empties the list', () => {
    expect(idsOf(mergeHead(pages(['5'], ['1']), { jobs: [], next_cursor: null }, {}))).toEqual([]);
  });
});

it('matches as the server filters', () => {
  const one = job({ status: 'running', prompt: 'A red Ball' });
  expect(matches(one, { q: 'red ball' })).toBe(true);
  expect(matches(one, { q: 'blue' })).toBe(false);
  expect(matches(one, { status: 'queued,running' })).toBe(true);
  expect(matches(one, { status: 'failed' })).toBe(false);
  expect(matches({ ...one, deleted_at: '2026-01-01T00:00:00Z' }, {})).toBe(false);
});
