/** Complete API values for tests; each test sets only the fields it is about. */
import type { JobView, OptimizationView } from '../api/schema';

export const optimization = (over: Partial<OptimizationView> = {}): OptimizationView => ({
  cache_hit: null,
  complexity: 'simple',
  final_steps: 18,
  estimated_time: 4.5,
  quality_tier: 'standard',
  planned: true,
  steps_reason: 'adaptive',
  score: 1,
  factors: [],
  step_cache: { mode: 'balanced', threshold: 0.025 },
  ...over,
});

export function job(over: Partial<JobView> & { prompt?: string } = {}): JobView {
  const { prompt = 'a red ball', ...rest } = over;
  const id = rest.job_id ?? '1';
  return {
    job_id: id,
    status: 'queued',
    request: {
      prompt,
      video_size: '540p',
      video_length: 129,
      infer_steps: 0,
      quality_tier: 'auto',
      seed: 7,
      cfg_scale: 6,
      flow_reverse: true,
      true_cfg_scale: 1,
      deadline_policy: 'accept',
      mode: 'full',
      candidates: 1,
      judge: 'measures',
      model: 'default',
    },
    seed_drawn: true,
    shape: { width: 64, height: 64, frames: 17, fps: 3.15 },
    duration_s: 5.4,
    optimization: optimization(),
    attempts: 0,
    cancel_requested: false,
    links: { self: `/api/jobs/${id}`, events: `/api/jobs/${id}/events` },
    created_at: '2026-01-01T00:00:00Z',
    ...rest,
  };
}
