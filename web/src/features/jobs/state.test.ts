/** A job's queue position and progress in words. */
import { describe, expect, it } from 'vitest';
import { job } from '../../testing/builders';
import { draftText, fraction, lookOf, stageText, stoppedText, waitText } from './state';

describe('progress', () => {
  it('grows through the stages and never passes the end', () => {
    const way = [
      fraction({ stage: null, step: 0, steps: 25 }),
      fraction({ stage: 'encode', step: 0, steps: 25 }),
      fraction({ stage: 'denoise', step: 0, steps: 25 }),
      fraction({ stage: 'denoise', step: 12, steps: 25 }),
      fraction({ stage: 'decode', step: 25, steps: 25 }),
      fraction({ stage: 'interpolate', step: 25, steps: 25 }),
      fraction({ stage: 'deliver', step: 25, steps: 25 }),
    ];
    expect(way).toEqual([...way].sort((a, b) => a - b));
    expect(new Set(way).size).toBe(way.length);
    expect(fraction({ stage: 'denoise', step: 40, steps: 25 })).toBeLessThanOrEqual(1);
    expect(fraction({ stage: 'denoise', step: 0, steps: 0 })).toBeLessThan(0.1);
  });

  it('is shown by step, or by stage outside the steps', () => {
    expect(stageText({ stage: 'denoise', step: 3, steps: 25 })).toBe('Step 3 of 25');
    expect(stageText({ stage: 'denoise', step: 0, steps: 25 })).toBe('Starting step 1 of 25');
    expect(stageText({ stage: 'decode', step: 25, steps: 25 })).toBe('Decoding frames');
    expect(stageText({ stage: 'interpolate', step: 25, steps: 25 })).toBe('Smoothing the motion');
    expect(stageText({ stage: null, step: 0, steps: 0 })).toBe('Starting');
  });
});

it('a waiting job shows how many are ahead, or when it is retried', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  expect(waitText(job(), now)).toBe('Waiting for a worker');
  expect(waitText(job({ queue_position: 0 }), now)).toBe('Next to start');
  expect(waitText(job({ queue_position: 1200, queue_wait_s: 90 }), now)).toBe('1,200 ahead, starts in about 1.5 min');
  expect(waitText(job({ queue_position: 3, not_before: '2026-01-01T00:00:07.2Z' }), now)).toBe('Retrying in 8 s');
});

it('a pending cancellation is shown, one that was too late is not', () => {
  expect(lookOf({ status: 'running', cancel_requested: true }).label).toBe('Stopping');
  expect(lookOf({ status: 'completed', cancel_requested: true }).label).toBe('Done');
});

it('a draft says what it covers, what it cost and what comes next', () => {
  const draft = { step: 6, gpu_seconds: 3, cost_usd: 0.02 };
  const alone = job({ status: 'drafted', draft });
  expect(draftText(alone)).toMatch(/^6 of 18 steps, .* so far\. Continue it or cancel it\.$/);
  expect(draftText({ ...alone, group_id: 'g' })).toContain('when all are drafted');
  expect(draftText({ ...alone, group_id: 'g', request: { ...alone.request, judge: 'person' } })).toContain('Continue the best candidate');
});

it('a cancelled video says what stopping it saved', () => {
  expect(stoppedText(job({ stopping_saved_s: 240 }))).toBe('Stopping it early saved about 4 min of GPU time.');
  expect(stoppedText(job({ stopping_saved_s: 0.2 }))).toBe('');
  expect(stoppedText(job())).toBe('');
});
