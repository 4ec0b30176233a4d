-- A large fleet, written by a few statements. Sizes: scale.jobs (finished jobs), scale.tenants, scale.workers, scale.waiting
-- (planned jobs in the backlog), scale.hours (hours of statistics).
SET synchronous_commit = off;

INSERT INTO tenants (id, name)
SELECT lpad(to_hex(n), 32, '0')::uuid, 'tenant ' || n FROM generate_series(1, current_setting('scale.tenants')::int) AS n;
INSERT INTO api_keys (id, tenant_id, role, label, prefix, hash)
SELECT lpad(to_hex(n), 32, '0')::uuid, lpad(to_hex(n), 32, '0')::uuid, 'user', 'key', 'k', sha256(n::text::bytea)
FROM generate_series(1, current_setting('scale.tenants')::int) AS n;
INSERT INTO sessions (id_hash, key_id, csrf, expires_at)
SELECT sha256(n::text::bytea), lpad(to_hex(1 + n % current_setting('scale.tenants')::int), 32, '0')::uuid, 'c',
    now() + (n % 1000 - 10) * interval '1 hour'
FROM generate_series(1, 10 * current_setting('scale.tenants')::int) AS n;
INSERT INTO models (id, manifest, weights_fingerprint, encoders_fingerprint)
SELECT id, '{}', 'w', 'e' FROM (VALUES ('default'), ('second')) AS model (id);
INSERT INTO loras (id, tenant_id, model_id, name, fingerprint, bytes, rank, layers)
SELECT gen_random_uuid(), lpad(to_hex(1 + n % current_setting('scale.tenants')::int), 32, '0')::uuid, 'default', 'lora ' || n,
    'f' || n, 1000, 8, 40
FROM generate_series(1, 10 * current_setting('scale.tenants')::int) AS n;

-- Nine of ten workers are busy; one in a hundred has signed off.
INSERT INTO workers (id, name, pool, model_id, model_fingerprint, device, device_class, build, threads, memory_bytes, slots,
    state, broker_user, login)
SELECT ('b0000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'worker ' || lpad(n::text, 6, '0'), 'default.4g',
    'default', 'w', 'cpu', 'cpu', 'scale', 1, 4294967296, 1,
    CASE WHEN n % 100 = 0 THEN 'gone' WHEN n % 10 = 0 THEN 'ready' ELSE 'busy' END, 'fleet', NULL
FROM generate_series(1, current_setting('scale.workers')::int) AS n;

-- History: two per cent failed, one per cent cancelled; one per cent was deleted by its owner.
INSERT INTO jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, seed_drawn, cfg_scale,
    flow_reverse, true_cfg_scale, model_id, width, height, frames, fps, status, plan, tier, complexity, final_steps,
    estimate_s, estimate_cached_s, memory_bytes, order_at, pool, worker_id, video_key, record, failure_code, payload_hash,
    idempotency_key, checkpoint_key, request, created_at, finished_at, deleted_at, retry_no, ended_token)
SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
    lpad(to_hex(1 + n % current_setting('scale.tenants')::int), 32, '0')::uuid, 'a red ball rolls down hill number ' || n,
    '540p', 129, 0, 'auto', n, true, 6, true, 1, 'default', 64, 64, 17, 3.2, status, '{"steps": 25, "tier": "standard"}',
    'standard', 'moderate', 25, 10, 8, 1048576, now(), 'default.4g',
    ('b0000000-0000-4000-8000-' || lpad(to_hex(1 + n % current_setting('scale.workers')::int), 12, '0'))::uuid,
    CASE WHEN status = 'completed' THEN 'v' || n END, '{"cache_match": "miss", "steps_computed": 20}',
    CASE WHEN status = 'failed' THEN 'test' END, sha256(n::text::bytea), CASE WHEN n % 20 = 0 THEN 'key ' || n END,
    CASE WHEN status = 'failed' AND n % 100 = 0 THEN 'c' || n END,
    jsonb_build_object('prompt', 'a red ball rolls down hill number ' || n, 'seed', n, 'video_size', '540p'),
    ended_at, ended_at,
    CASE WHEN n % 100 = 7 THEN ended_at + interval '1 second' END, CASE WHEN n % 50 = 3 THEN 0 END,
    ('c0000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid
FROM generate_series(1, current_setting('scale.jobs')::int) AS n,
    LATERAL (SELECT CASE WHEN n % 50 = 0 THEN 'failed' WHEN n % 100 = 1 THEN 'cancelled' ELSE 'completed' END AS status) AS what,
    LATERAL (SELECT now() - (1 + current_setting('scale.jobs')::int - n) * interval '2 seconds' AS ended_at) AS times;

-- Work in flight: a running job per busy worker, a few released ones, the backlog, 500 unplanned ones, and drafts.
INSERT INTO jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, seed_drawn, cfg_scale,
    flow_reverse, true_cfg_scale, model_id, width, height, frames, fps, status, plan, tier, complexity, final_steps,
    estimate_s, estimate_cached_s, memory_bytes, order_at, pool, payload_hash, lease_token, lease_expires_at, worker_id,
    dispatch_no, announced_at, announcements, scheduled_at, drafted_at, draft, group_id, stage, request, attempts,
    attempts_total, claimed_at, started_at, checkpoint_key, checkpoint_step, batch_key)
SELECT (lpad(to_hex(1900000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
    lpad(to_hex(1 + n % current_setting('scale.tenants')::int), 32, '0')::uuid, 'a cat', '540p', 129, 0, 'auto', n, true, 6,
    true, 1, 'default', 64, 64, 17, 8, status, CASE WHEN planned THEN '{"steps": 25, "tier": "standard"}'::jsonb END,
    CASE WHEN planned THEN CASE WHEN n % 10 = 3 THEN 'premium' ELSE 'standard' END END, CASE WHEN planned THEN 'simple' END, CASE WHEN planned THEN 25 END,
    CASE WHEN planned THEN 10 END, CASE WHEN planned THEN 8 END, CASE WHEN planned THEN 1048576 END,
    CASE WHEN planned THEN now() + n * interval '1 second' END,
    CASE WHEN status IN ('running', 'scheduled') THEN 'default.4g' END, '',
    CASE WHEN status = 'running' THEN ('d0000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid END,
    -- One lease in a hundred has expired.
    CASE WHEN status = 'running' THEN now() + CASE WHEN n % 100 = 0 THEN -1 ELSE 1 END * interval '10 hours' END,
    CASE WHEN status = 'running' THEN
        ('b0000000-0000-4000-8000-' || lpad(to_hex(1 + n % current_setting('scale.workers')::int), 12, '0'))::uuid END,
    CASE WHEN status IN ('running', 'scheduled') THEN 1 ELSE 0 END,
    CASE WHEN status = 'scheduled' THEN now() + (n % 100 - 1) * interval '1 hour' END, 1,
    CASE WHEN status = 'scheduled' THEN now() END,
    CASE WHEN status = 'drafted' THEN now() - n % 1000 * interval '1 minute' END,
    CASE WHEN status = 'drafted' THEN '{"scores": {"motion": 1}}'::jsonb END,
    CASE WHEN status = 'drafted' THEN ('e0000000-0000-4000-8000-' || lpad(to_hex(n / 4), 12, '0'))::uuid END,
    CASE WHEN status = 'running' THEN 'denoise' END, jsonb_build_object('prompt', 'a cat', 'seed', n), 1, 1, now(), now(),
    CASE WHEN status IN ('running', 'drafted') THEN 'checkpoint ' || n END, 4, CASE WHEN planned THEN 'key ' || n % 50 END
FROM (SELECT current_setting('scale.workers')::int * 9 / 10 AS running, current_setting('scale.waiting')::int AS waiting) AS size,
    LATERAL generate_series(1, running + running / 8 + waiting + 500 + 1000) AS n,
    LATERAL (SELECT CASE WHEN n <= running THEN 'running' WHEN n <= running + running / 8 THEN 'scheduled'
        WHEN n <= running + running / 8 + waiting + 500 THEN 'queued' ELSE 'drafted' END AS status) AS what,
    LATERAL (SELECT n NOT BETWEEN running + running / 8 + waiting + 1 AND running + running / 8 + waiting + 500 AS planned) AS whether;
UPDATE workers SET job_id = jobs.id FROM jobs WHERE jobs.worker_id = workers.id AND jobs.status = 'running';

INSERT INTO images (id, tenant_id, sha256, width, height, bytes, kept_since)
SELECT gen_random_uuid(), lpad(to_hex(1 + n % current_setting('scale.tenants')::int), 32, '0')::uuid,
    encode(sha256(n::text::bytea), 'hex'), 64, 64, 1000, now() - n * interval '1 minute'
FROM generate_series(1, 10 * current_setting('scale.tenants')::int) AS n;
-- Its trigger adds each run to the sums below, one by one.
ALTER TABLE job_runs DISABLE TRIGGER USER;
INSERT INTO job_runs (token, job_id, tenant_id, model_id, tier, worker, device, attempt, outcome, lost, repeated, lost_steps,
    started_at, ended_at, gpu_seconds, cost_usd, gpu_hour_usd)
SELECT ended_token, id, tenant_id, model_id, tier, 'worker', 'cpu', 1, 'completed', false, false, 0, finished_at, finished_at, 10,
    0.01, 3.6
FROM jobs WHERE status = 'completed';
ALTER TABLE job_runs ENABLE TRIGGER USER;
INSERT INTO usage_daily (tenant_id, day, key_id, model_id, tier, shard, runs, videos, gpu_seconds, cost_usd)
SELECT lpad(to_hex(t), 32, '0')::uuid, day, '00000000-0000-0000-0000-000000000000', 'default', 'standard', t % 8, 9, 8, 90, 0.09
FROM generate_series(1, current_setting('scale.tenants')::int) AS t,
    (SELECT current_date - d FROM generate_series(0, 89) AS d UNION ALL SELECT '-infinity') AS days (day);
INSERT INTO worker_daily (day, worker, model_id, shard, online_s, busy_s)
SELECT day, CASE WHEN isfinite(day) THEN 'worker ' || lpad(n::text, 6, '0') ELSE '' END, 'default', n % 8, 80000, 70000
FROM generate_series(1, current_setting('scale.workers')::int) AS n,
    (SELECT current_date - d FROM generate_series(0, 29) AS d UNION ALL SELECT '-infinity') AS days (day)
WHERE isfinite(day) OR n <= 8;
INSERT INTO job_events (job_id, tenant_id, kind, txid, at)
SELECT id, tenant_id, CASE status WHEN 'completed' THEN 'completed' ELSE 'queued' END, row_number() OVER (ORDER BY id), created_at
FROM jobs ORDER BY id;
SELECT setval('job_events_seq_seq', (SELECT max(seq) FROM job_events));
INSERT INTO webhook_endpoints (id, tenant_id, url, events)
SELECT gen_random_uuid(), lpad(to_hex(n), 32, '0')::uuid, 'https://example.com/' || n, ARRAY['completed']
FROM generate_series(1, current_setting('scale.tenants')::int) AS n;
INSERT INTO webhook_secrets (tenant_id, secret)
SELECT lpad(to_hex(n), 32, '0')::uuid, '\x00' FROM generate_series(1, current_setting('scale.tenants')::int) AS n;
-- One delivery in a hundred is still pending.
INSERT INTO webhook_deliveries (tenant_id, job_id, seq, kind, detail, at, url, state, ended_at, next_at)
SELECT tenant_id, id, n, 'completed', '{}', now(), 'https://example.com/' || n % 100,
    CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'delivered' END,
    CASE WHEN n % 100 = 0 THEN NULL ELSE now() - n * interval '2 seconds' END, now() - interval '1 minute'
FROM (SELECT id, tenant_id, row_number() OVER (ORDER BY id) AS n FROM jobs WHERE status = 'completed' LIMIT 100000) AS ended;

INSERT INTO stats_hourly (tenant_id, bucket, model_id, tier, complexity, shard, submitted, planned, completed, gpu_seconds)
SELECT lpad(to_hex(t), 32, '0')::uuid, bucket, 'default', tier, complexity, t % 8, 9, 9, 8, 80
FROM generate_series(1, current_setting('scale.tenants')::int) AS t,
    (SELECT date_trunc('hour', now(), 'UTC') - h * interval '1 hour'
        FROM generate_series(0, current_setting('scale.hours')::int - 1) AS h
     UNION ALL SELECT '-infinity') AS hours (bucket),
    (VALUES ('standard', 'simple'), ('standard', 'moderate'), ('premium', 'complex')) AS kinds (tier, complexity);
INSERT INTO dispatch_shares (model_id, tenant_id, finish)
SELECT 'default', lpad(to_hex(n), 32, '0')::uuid, n FROM generate_series(1, current_setting('scale.tenants')::int) AS n;
INSERT INTO dispatch_clocks (model_id, now) VALUES ('default', 0);
-- Deadlines of 5,000 waiting jobs: few of them are urgent or missed.
UPDATE jobs SET deadline_at = now() + interval '1 day', plain_order_at = order_at,
    start_by = now() + (n - 50) * interval '1 second'
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM jobs
    WHERE status = 'queued' AND plan IS NOT NULL ORDER BY id LIMIT 5000) AS first
WHERE jobs.id = first.id;
UPDATE leader SET holder = gen_random_uuid(), epoch = 1, expires_at = now() + interval '10 hours';
