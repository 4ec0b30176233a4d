-- The table of the Python service: the columns that a submission fills, and the indexes that a job table needs at least.
CREATE TABLE IF NOT EXISTS baseline_jobs (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL,
    prompt          text NOT NULL,
    video_size      text NOT NULL,
    video_length    integer NOT NULL,
    infer_steps     integer NOT NULL,
    quality_tier    text NOT NULL,
    seed            bigint NOT NULL,
    cfg_scale       double precision NOT NULL,
    flow_reverse    boolean NOT NULL,
    status          text NOT NULL DEFAULT 'queued',
    idempotency_key text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX IF NOT EXISTS baseline_jobs_idempotency
    ON baseline_jobs (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS baseline_jobs_list ON baseline_jobs (tenant_id, status, id DESC);
CREATE INDEX IF NOT EXISTS baseline_jobs_queued ON baseline_jobs (id) WHERE status = 'queued';
