-- Rows as the first release wrote them, one job in each situation in which an upgrade may meet it. Never edited: a later
-- release must go on with exactly this. Ids end with the job's number; times are relative, since leases are.

INSERT INTO tenants (id, name, weight) VALUES ('10000000-0000-7000-8000-000000000000', 'studio', 2);

INSERT INTO jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, seed_drawn, cfg_scale,
    flow_reverse, true_cfg_scale, model_id, width, height, frames, fps, payload_hash)
SELECT ('01900000-0000-7000-8000-00000000000' || n)::uuid, '00000000-0000-0000-0000-000000000000',
    'a large red ball moves to the right on the snow', '540p', 129, 4, 'auto', n, false, 6, true, 1, 'default',
    64, 64, 17, 3.16, decode('00', 'hex')
FROM generate_series(1, 7) AS n;

-- 2 to 7 are planned.
UPDATE jobs SET tier = 'standard', complexity = 'simple', final_steps = 4, estimate_s = 3, estimate_cached_s = 2,
    memory_bytes = 300000000, order_at = created_at, plan = '{
        "tier": "standard", "complexity": "simple", "score": 0.4,
        "factors": [{"factor": "motion", "score": 0.4, "words": ["moves"]}],
        "steps": 4, "steps_reason": "explicit", "step_cache": {"mode": "off", "threshold": 0.0},
        "estimate_s": 3.0, "estimate_cached_s": 2.0, "memory_bytes": 300000000}'
WHERE id > '01900000-0000-7000-8000-000000000001';

-- 3 is released to a pool, and its message is lost.
UPDATE jobs SET status = 'scheduled', pool = 'default.1g', dispatch_no = 1, scheduled_at = clock_timestamp() - interval '1 hour',
    announced_at = clock_timestamp() - interval '1 hour', announcements = 1
WHERE id = '01900000-0000-7000-8000-000000000003';

-- 4 is running, on a worker that is no more.
UPDATE jobs SET status = 'running', pool = 'default.1g', dispatch_no = 1, lease_token = '20000000-0000-4000-8000-000000000004',
    lease_expires_at = clock_timestamp() - interval '1 hour', worker_id = '30000000-0000-7000-8000-000000000004',
    claimed_at = clock_timestamp() - interval '2 hours', started_at = clock_timestamp() - interval '2 hours',
    attempts = 1, attempts_total = 1, stage = 'denoise', step = 2, progressed_at = clock_timestamp() - interval '1 hour'
WHERE id = '01900000-0000-7000-8000-000000000004';

-- 5 is completed.
UPDATE jobs SET status = 'completed', pool = 'default.1g', dispatch_no = 1, worker_id = '30000000-0000-7000-8000-000000000004',
    attempts = 1, attempts_total = 1, started_at = created_at, claimed_at = created_at, finished_at = clock_timestamp(), step = 4,
    video_key = '01900000-0000-7000-8000-000000000005/20000000-0000-4000-8000-000000000005/video.mp4',
    poster_key = '01900000-0000-7000-8000-000000000005/20000000-0000-4000-8000-000000000005/poster.jpg',
    video_bytes = 5, gpu_seconds = 3, ended_token = '20000000-0000-4000-8000-000000000005', record = '{
        "cache_match": "miss", "steps_computed": 4, "steps_skipped": 0,
        "stages": {"encode_s": 0.1, "denoise_s": 2.0, "decode_s": 0.5, "deliver_s": 0.2},
        "device": "cpu", "build": "hunyuan 0.1.0 libtorch 2.11", "convergence": [0.5, 0.3, 0.2],
        "gpu_seconds": 3.0, "cost_usd": 0.0018, "saved_s": 1.0, "saved_usd": 0.0006}'
WHERE id = '01900000-0000-7000-8000-000000000005';

-- 6 failed, 7 was cancelled.
UPDATE jobs SET status = 'failed', failure_code = 'out_of_memory', failure_reason = 'the device had no room', attempts = 3,
    attempts_total = 3, finished_at = clock_timestamp()
WHERE id = '01900000-0000-7000-8000-000000000006';
UPDATE jobs SET status = 'cancelled', cancel_requested_at = clock_timestamp(), finished_at = clock_timestamp()
WHERE id = '01900000-0000-7000-8000-000000000007';

INSERT INTO job_events (job_id, tenant_id, kind, detail)
SELECT id, tenant_id, 'queued', '{}' FROM jobs ORDER BY id;
INSERT INTO job_events (job_id, tenant_id, kind, detail)
SELECT id, tenant_id, status, '{}' FROM jobs WHERE status IN ('completed', 'failed', 'cancelled') ORDER BY id;

INSERT INTO stats_hourly (tenant_id, bucket, model_id, tier, complexity, shard, submitted)
SELECT '00000000-0000-0000-0000-000000000000', b, 'default', '', '', 0, 7
FROM (VALUES (date_trunc('hour', clock_timestamp(), 'UTC')), ('-infinity')) AS b (b);
INSERT INTO stats_hourly (tenant_id, bucket, model_id, tier, complexity, shard, planned, completed, failed, cancelled,
    cache_misses, steps_planned, steps_computed, run_s, video_s, gpu_seconds, cost_usd)
SELECT '00000000-0000-0000-0000-000000000000', b, 'default', 'standard', 'simple', 0, 6, 1, 1, 1, 1, 4, 4, 2.8, 5.4, 3, 0.0018
FROM (VALUES (date_trunc('hour', clock_timestamp(), 'UTC')), ('-infinity')) AS b (b);
