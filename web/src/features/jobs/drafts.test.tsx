/**
 * A draft can be continued, a candidate chosen, and a running job shows its preview.
 *
 * @vitest-environment jsdom
 */
import { QueryClient } from '@tanstack/react-query';
import { act, cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { JobView } from '../../api/schema';
import { setPreview } from '../../live/preview';
import { job } from '../../testing/builders';
import { FeedContext, JobFeed } from './feed';
import { JobActions } from './JobActions';
import { JobFacts } from './JobFacts';
import { JobMedia } from './JobMedia';

beforeEach(() => vi.stubGlobal('matchMedia', () => ({ matches: true })));
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const drafted = (over: Partial<JobView> = {}): JobView =>
  job({ job_id: 'd', status: 'drafted', draft: { step: 6, gpu_seconds: 3, cost_usd: 0.02 }, links: { self: '/api/jobs/d', events: '/api/jobs/d/events', continue: '/api/jobs/d/continue', cancel: '/api/jobs/d/cancel' }, ...over });

function actions(of: JobView) {
  render(
    <FeedContext.Provider value={new JobFeed(new QueryClient())}>
      <JobActions job={of} />
    </FeedContext.Provider>,
  );
}

it('a draft is continued by its button, once', async () => {
  const sent: string[] = [];
  vi.stubGlobal('fetch', (input: RequestInfo | URL, init?: RequestInit) => {
    const { method, url } = input instanceof Request ? input : { method: init?.method ?? 'GET', url: String(input) };
    sent.push(`${method} ${new URL(url, 'http://x').pathname}`);
    return Promise.resolve(Response.json({ ...drafted(), status: 'queued' }, { status: 202 }));
  });
  actions(drafted());
  fireEvent.click(screen.getByRole('button', { name: 'Continue' }));
  await waitFor(() => expect(sent).toEqual(['POST /api/jobs/d/continue']));
});

it('a candidate is chosen by name, and a job that is not drafted has no such button', () => {
  actions(drafted({ group_id: 'g' }));
  expect(screen.getByRole('button', { name: 'Continue this one' })).toBeTruthy();
  cleanup();
  actions(job({ status: 'running' }));
  expect(screen.queryByRole('button', { name: /Continue/ })).toBeNull();
});

it('a running job shows its newest preview', () => {
  render(<JobMedia job={job({ job_id: 'p', status: 'running' })} onOpen={() => undefined} />);
  expect(document.querySelector('img')).toBeNull();
  act(() => setPreview('p', { job_id: 'p', step: 9, steps: 25, image: 'data:image/webp;base64,AA==' }));
  expect(document.querySelector('img')?.src).toBe('data:image/webp;base64,AA==');
  act(() => setPreview('p', null));
});

it('the details say which steps were taken at half the size', () => {
  const progressive = { width: 640, height: 352, tokens: 29040, steps_computed: 20, steps_skipped: 5 };
  const record = { progressive, stages: {}, steps_computed: 40, steps_skipped: 10 } as unknown as JobView['record'];
  render(<JobFacts job={job({ status: 'completed', record })} />);
  expect(screen.getByText('the first 25 steps at 640 × 352, 5 of them from the step cache')).toBeTruthy();
});

it('the details say what smoothing made and where it did not blend', () => {
  const interpolation = { factor: 8, frames: 129, fps: 24, cuts: 1, megapixels: 0.46, weights: 'aa' };
  const record = { interpolation, stages: {}, steps_computed: 25, steps_skipped: 0 } as unknown as JobView['record'];
  render(<JobFacts job={job({ status: 'completed', record })} />);
  expect(screen.getByText('8 ×: 129 frames, 24 per second, 1 scene cut not blended')).toBeTruthy();
});
