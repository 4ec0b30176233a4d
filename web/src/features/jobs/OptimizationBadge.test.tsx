/**
 * The badge shows what the optimisations did, and nothing that is not known yet.
 *
 * @vitest-environment jsdom
 */
import { cleanup, render, screen } from '@testing-library/react';
import { afterEach, expect, it } from 'vitest';
import type { OptimizationView, RunRecord } from '../../api/schema';
import { job, optimization } from '../../testing/builders';
import { OptimizationBadge } from './OptimizationBadge';

afterEach(cleanup);

function said(over: Partial<OptimizationView>): string[] {
  render(<OptimizationBadge job={job({ optimization: optimization(over) })} />);
  return screen.getAllByRole('listitem').map((item) => item.textContent);
}

it('before the run: the plan, and an estimate', () => {
  expect(said({ complexity: 'very_complex', final_steps: 44, estimated_time: 9.9, quality_tier: 'premium' })).toEqual([
    'Very complex',
    'Premium',
    '44 steps',
    'about 9.9 min',
  ]);
});

it('after the run: cache, skipped steps, time against the estimate, cost and saving', () => {
  const run = { cache_match: 'identical', steps_skipped: 8, actual_time: 4, cost_usd: 0.22, saved_usd: 0.05, saved_s: 80 } as const;
  expect(said(run)).toEqual(['Cache hit', 'Simple', 'Standard', '18 steps, 8 skipped', '4 min, est. 4.5 min', '$0.22', '$0.050 saved']);
});

it('a similar prompt says how similar; a run that cost more than the baseline claims no saving', () => {
  const all = said({ cache_match: 'similar', cache_score: 0.83, saved_usd: -0.01, saved_s: -9, cost_usd: 0.3 });
  expect(all).toContain('Similar hit 83 %');
  expect(all.some((text) => text.includes('saved'))).toBe(false);
});

it('names the adapters with their scales', () => {
  const plain = job();
  const loras = [{ name: 'style', scale: 0.8, fingerprint: 'aa' }, { name: 'fast' }];
  render(<OptimizationBadge job={{ optimization: optimization(), request: { ...plain.request, loras } }} />);
  const all = screen.getAllByRole('listitem').map((item) => item.textContent);
  expect(all).toContain('style × 0.8');
  expect(all).toContain('fast × 1');
});

it('a run that shared its steps, or several devices, says so', () => {
  const seen = (over: Partial<RunRecord>) => {
    render(<OptimizationBadge job={{ ...job(), record: { batch: null, devices: 1, ...over } as RunRecord }} />);
    const texts = screen.getAllByRole('listitem').map((item) => item.textContent);
    cleanup();
    return texts;
  };
  expect(seen({ batch: 3.25 })).toContain('Batch of 3.3');
  expect(seen({ devices: 4 })).toContain('4 devices');
  expect(seen({}).filter((text) => /Batch|devices/.test(text))).toEqual([]);
});
