-- Webhooks: who is notified, with which secret, and the outbox of deliveries.
SET LOCAL lock_timeout = '2s';

-- Receivers of all events of a tenant's jobs.
CREATE TABLE webhook_endpoints (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants (id),
    url             text NOT NULL,
    events          text[] NOT NULL,        -- kinds of events that it is notified of
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at     timestamptz,            -- set when the receiver responds with 410 Gone; nothing more is sent
    UNIQUE (tenant_id, url)
);

-- What deliveries are signed with: one secret per tenant, and the previous one for some time after a rotation.
CREATE TABLE webhook_secrets (
    tenant_id       uuid PRIMARY KEY REFERENCES tenants (id),
    secret          bytea NOT NULL,
    previous        bytea,
    previous_until  timestamptz,            -- from then on `previous` is no longer used
    CHECK ((previous IS NULL) = (previous_until IS NULL))
);

-- The outbox: one row per event and receiver, written by the transaction of the event.
CREATE TABLE webhook_deliveries (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),  -- the webhook-id: the same in every attempt
    tenant_id       uuid NOT NULL,
    job_id          uuid NOT NULL,
    seq             bigint NOT NULL,        -- job_events.seq: the order of a job's events
    kind            text NOT NULL,          -- job_events.kind
    detail          jsonb NOT NULL,         -- job_events.detail
    at              timestamptz NOT NULL,   -- job_events.at
    endpoint_id     uuid REFERENCES webhook_endpoints (id) ON DELETE CASCADE,  -- NULL: the job's own webhook
    url             text NOT NULL,
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN (
        'pending',    -- to be sent, perhaps again
        'delivered',  -- a receiver responded with 2xx
        'failed'      -- given up
    )),
    attempts        integer NOT NULL DEFAULT 0,
    since           timestamptz NOT NULL DEFAULT clock_timestamp(),  -- start of the retries; a redelivery begins again
    next_at         timestamptz NOT NULL DEFAULT clock_timestamp(),  -- not sent earlier
    lease_token     uuid,                   -- set while a process sends it
    lease_expires_at timestamptz,           -- then another process may send it
    last_status     integer,                -- HTTP status of the last attempt; NULL without a response
    last_error      text,                   -- what was wrong with the last attempt
    ended_at        timestamptz,            -- delivered or given up
    CHECK ((lease_token IS NULL) = (lease_expires_at IS NULL)),
    CHECK ((state = 'pending') = (ended_at IS NULL))
) WITH (fillfactor = 70);
-- What is due.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_at) WHERE state = 'pending';
-- Whether an earlier event of the same job is still to be sent.
CREATE INDEX webhook_deliveries_order ON webhook_deliveries (job_id, url, seq) WHERE state = 'pending';
-- The log, newest first.
CREATE INDEX webhook_deliveries_log ON webhook_deliveries (tenant_id, seq DESC, id);
CREATE INDEX webhook_deliveries_endpoint ON webhook_deliveries (endpoint_id) WHERE endpoint_id IS NOT NULL;
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX webhook_endpoints_tenant ON webhook_endpoints (tenant_id);

-- A trigger and not a part of each statement that writes an event, so that no transition can forget it, not even one of
-- another release. It runs as the owner of the tables: workers on other machines write events, but may not see webhooks.
CREATE FUNCTION fill_webhook_outbox() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO webhook_deliveries (tenant_id, job_id, seq, kind, detail, at, endpoint_id, url)
    SELECT e.tenant_id, e.job_id, e.seq, e.kind, e.detail, e.at, NULL, j.webhook
    FROM new_events AS e JOIN jobs AS j ON j.id = e.job_id AND j.webhook IS NOT NULL
    WHERE e.kind = ANY (COALESCE(j.webhook_events, ARRAY['completed', 'failed', 'cancelled']))
    UNION ALL
    SELECT e.tenant_id, e.job_id, e.seq, e.kind, e.detail, e.at, w.id, w.url
    FROM new_events AS e JOIN webhook_endpoints AS w ON w.tenant_id = e.tenant_id AND w.disabled_at IS NULL
    WHERE e.kind = ANY (w.events);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION fill_webhook_outbox() FROM PUBLIC;
CREATE TRIGGER fill_webhook_outbox AFTER INSERT ON job_events REFERENCING NEW TABLE AS new_events
    FOR EACH STATEMENT EXECUTE FUNCTION fill_webhook_outbox();
