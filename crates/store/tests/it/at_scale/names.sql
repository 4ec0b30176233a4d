-- What stands for the names in braces of calls.txt.
SELECT name, value FROM (
    SELECT unnest(ARRAY['running', 'token', 'worker', 'its_tenant']) AS name,
        unnest(ARRAY[id, lease_token, worker_id, tenant_id]::text[]) AS value
    FROM (SELECT * FROM jobs WHERE status = 'running' ORDER BY id LIMIT 1) AS job
    UNION ALL (SELECT 'released', id::text FROM jobs WHERE status = 'scheduled' ORDER BY id LIMIT 1)
    -- The last of the backlog, with as many jobs as possible ahead of it.
    UNION ALL (SELECT 'waiting', id::text FROM jobs WHERE status = 'queued' AND plan IS NOT NULL ORDER BY order_at DESC LIMIT 1)
    UNION ALL (SELECT 'unplanned', id::text FROM jobs WHERE status = 'queued' AND plan IS NULL ORDER BY id LIMIT 1)
    UNION ALL (SELECT 'unplanned_jobs', 'ARRAY[''' || string_agg(id::text, ''',''') || ''']'
        FROM (SELECT id FROM jobs WHERE status = 'queued' AND plan IS NULL ORDER BY id LIMIT 100) AS first)
    UNION ALL (SELECT unnest(ARRAY['draft', 'group']), unnest(ARRAY[id, group_id]::text[])
        FROM (SELECT * FROM jobs WHERE status = 'drafted' ORDER BY id LIMIT 1) AS job)
    UNION ALL (SELECT 'failed', id::text FROM jobs WHERE status = 'failed' AND deleted_at IS NULL ORDER BY id LIMIT 1)
    UNION ALL (SELECT unnest(ARRAY['completed', 'ended_token']), unnest(ARRAY[id, ended_token]::text[])
        FROM (SELECT * FROM jobs WHERE status = 'completed' AND deleted_at IS NULL ORDER BY id LIMIT 1) AS job)
    UNION ALL (SELECT 'deleted', id::text FROM jobs WHERE deleted_at IS NOT NULL ORDER BY id LIMIT 1)
    UNION ALL (SELECT unnest(ARRAY['keyed', 'keyed_tenant', 'idempotency_key']),
            unnest(ARRAY[id::text, tenant_id::text, idempotency_key])
        FROM (SELECT * FROM jobs WHERE idempotency_key IS NOT NULL ORDER BY id LIMIT 1) AS job)
    UNION ALL (SELECT unnest(ARRAY['retried_hash', 'retried_tenant']),
            unnest(ARRAY[encode(payload_hash, 'hex'), tenant_id::text])
        FROM (SELECT * FROM jobs WHERE retry_no IS NOT NULL ORDER BY id DESC LIMIT 1) AS job)
    UNION ALL (SELECT 'delivery', id::text FROM webhook_deliveries WHERE state = 'pending' ORDER BY seq LIMIT 1)
    UNION ALL (SELECT unnest(ARRAY['endpoint', 'endpoint_tenant']), unnest(ARRAY[id, tenant_id]::text[])
        FROM (SELECT * FROM webhook_endpoints ORDER BY tenant_id LIMIT 1) AS endpoint)
    UNION ALL (SELECT unnest(ARRAY['lora', 'lora_tenant']), unnest(ARRAY[id, tenant_id]::text[])
        FROM (SELECT * FROM loras ORDER BY name LIMIT 1) AS lora)
    UNION ALL (SELECT unnest(ARRAY['image', 'image_tenant', 'image_sha']), unnest(ARRAY[id::text, tenant_id::text, sha256])
        FROM (SELECT * FROM images ORDER BY kept_since LIMIT 1) AS image)
    UNION ALL (SELECT 'recent_txid', (max(txid) - 100)::text FROM job_events)
    UNION ALL (SELECT 'new', 'ffffffff-0000-4000-8000-000000000000')
    -- As many as a part of a report begins with.
    UNION ALL (SELECT 'tenants', 'ARRAY[''' || string_agg(id::text, ''',''') || ''']'
        FROM (SELECT id FROM tenants ORDER BY id LIMIT 128) AS first)
    -- As many workers as a part of the slot holders has, in the middle.
    UNION ALL (SELECT unnest(ARRAY['first_holder', 'last_holder']), unnest(ARRAY[min(worker_id::text), max(worker_id::text)])
        FROM (SELECT worker_id FROM jobs WHERE status = 'running' ORDER BY worker_id OFFSET 4000 LIMIT 2001) AS part)
    UNION ALL (SELECT 'tenant', '00000000-0000-0000-0000-000000000003')
) AS known
