-- Rows as the releases before the request document wrote them, with idempotency keys. Never edited.

-- 1: one request. 2 and 3: a batch of two; each row has the hash of the whole batch.
INSERT INTO jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, seed_drawn, cfg_scale,
    flow_reverse, negative_prompt, true_cfg_scale, model_id, deadline_s, deadline_at, width, height, frames, fps, idempotency_key,
    payload_hash)
SELECT ('01900000-0000-7000-8000-00000000000' || n)::uuid, '00000000-0000-0000-0000-000000000000', prompt, '540p', 129, steps,
    'auto', n, true, 6, true, negative, scale, 'default', deadline_s, clock_timestamp() + make_interval(secs => deadline_s),
    64, 64, 17, 3.16, key, decode(hash, 'hex')
FROM (VALUES
    (1, 'a large red ball moves to the right on the snow', 4, 'grass', 1.5, 600, 'one',
        '3614ed38572278a6ac8b81c24e8f2086843c5d2ac6475be136572b320802a28d'),
    (2, 'one', 0, NULL, 1, NULL, 'many/0', 'afeb9be19b51ff27c1de05cffffb1e352cfd0758dfc4dda14b0f42e9d14106e5'),
    (3, 'two', 0, NULL, 1, NULL, 'many/1', 'afeb9be19b51ff27c1de05cffffb1e352cfd0758dfc4dda14b0f42e9d14106e5')
) AS given (n, prompt, steps, negative, scale, deadline_s, key, hash);

INSERT INTO job_events (job_id, tenant_id, kind, detail)
SELECT id, tenant_id, 'queued', '{}' FROM jobs ORDER BY id;
