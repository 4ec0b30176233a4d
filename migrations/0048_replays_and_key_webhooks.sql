-- Replays: a finished job rendered again, to compare the bytes. And webhooks that are about the jobs of one API key.
SET LOCAL lock_timeout = '2s';

ALTER TABLE jobs ADD COLUMN replays uuid;
ALTER TABLE jobs ADD COLUMN requires text;
COMMENT ON COLUMN jobs.replays IS 'The job that this one renders again; NULL for all others.';
COMMENT ON COLUMN jobs.requires IS 'workers.identity of the workers that may claim it; NULL: any worker of the pool.';
ALTER TABLE workers ADD COLUMN formats text;
ALTER TABLE workers ADD COLUMN identity text;
COMMENT ON COLUMN workers.formats IS 'Number formats of transformer, text encoders and video decoder; NULL for workers of earlier releases.';
COMMENT ON COLUMN workers.identity IS 'Hash of what its videos depend on: model, build, device class, threads, number formats and attention kernel (domain::WorkerIdentity). NULL for workers of earlier releases.';

-- Webhooks of single API keys.
ALTER TABLE webhook_endpoints ADD COLUMN key_id uuid;
COMMENT ON COLUMN webhook_endpoints.key_id IS 'The API key whose jobs it is about; NULL for all jobs of the tenant.';
CREATE OR REPLACE FUNCTION fill_webhook_outbox() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO webhook_deliveries (tenant_id, job_id, seq, kind, detail, at, endpoint_id, url)
    SELECT e.tenant_id, e.job_id, e.seq, e.kind, e.detail, e.at, NULL, j.webhook
    FROM new_events AS e JOIN jobs AS j ON j.id = e.job_id AND j.webhook IS NOT NULL
    WHERE e.kind = ANY (COALESCE(j.webhook_events, ARRAY['completed', 'failed', 'cancelled']))
    UNION ALL
    SELECT e.tenant_id, e.job_id, e.seq, e.kind, e.detail, e.at, w.id, w.url
    FROM new_events AS e JOIN webhook_endpoints AS w ON w.tenant_id = e.tenant_id AND w.disabled_at IS NULL
    WHERE e.kind = ANY (w.events)
        AND (w.key_id IS NULL OR w.key_id = (SELECT j.key_id FROM jobs AS j WHERE j.id = e.job_id));
    RETURN NULL;
END $$;
