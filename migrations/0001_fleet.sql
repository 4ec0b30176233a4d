-- The fleet's tables. The row is the truth; every message is only a hint to look at a row.
--
-- Conventions
--   * Words of closed sets are text with a CHECK: readable in psql, and a new word is a cheap NOT VALID constraint.
--   * Times are timestamptz. Leases compare with clock_timestamp(), the database's own clock, never a client's.
--   * jobs is updated often and in place: no index names a column that a running job changes, so that renewals and
--     progress stay heap-only updates and cost no index write.

-- Owners of jobs ---------------------------------------------------------------------------------------------------

CREATE TABLE tenants (
    id         uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    -- Share of the fleet beside other tenants: 2 gets twice the GPU seconds of 1 while both have work waiting.
    weight     double precision NOT NULL DEFAULT 1 CHECK (weight > 0 AND weight < 'Infinity'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE tenants IS 'Owners of jobs. Never deleted, so jobs carry no foreign key that would lock this row on every insert.';

-- The tenant of every request while keys are off.
INSERT INTO tenants (id, name) VALUES ('00000000-0000-0000-0000-000000000000', 'default');

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id),
    role         text NOT NULL CHECK (role IN (
        'user',  -- sees and changes the tenant's own jobs
        'admin'  -- sees the whole fleet
    )),
    label        text NOT NULL,             -- what its owner calls it
    prefix       text NOT NULL,             -- first characters of the key, to recognise it in a list
    hash         bytea NOT NULL UNIQUE,     -- of the whole key; the key itself is shown once and not kept
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at timestamptz,               -- to the minute, so that reading with a key seldom writes
    revoked_at   timestamptz                -- set once; a revoked key and its sessions open nothing
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id);

CREATE TABLE sessions (
    id_hash    bytea PRIMARY KEY,           -- of the cookie's value
    key_id     uuid NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    csrf       text NOT NULL,               -- must come back in a header with everything that changes something
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expires_at);
CREATE INDEX sessions_key ON sessions (key_id);
COMMENT ON TABLE sessions IS 'Signed-in pages: a cookie stands for a key, since EventSource and <video> cannot send a header.';

-- Models and workers -----------------------------------------------------------------------------------------------

CREATE TABLE models (
    id                   text PRIMARY KEY,
    manifest             jsonb NOT NULL,    -- the model folder's fleet.toml, as JSON
    weights_fingerprint  text NOT NULL,     -- a worker with another one may not register
    encoders_fingerprint text NOT NULL,     -- part of every embedding's cache key
    updated_at           timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE workers (
    id                uuid PRIMARY KEY,     -- one life of one process
    name              text NOT NULL,
    pool              text NOT NULL,        -- its ready queue: model and memory class
    model_id          text NOT NULL REFERENCES models (id),
    model_fingerprint text NOT NULL,
    device            text NOT NULL,        -- 'cpu', or the GPU's name
    device_class      text NOT NULL,        -- within which determinism is promised
    build             text NOT NULL,
    threads           integer NOT NULL CHECK (threads > 0),
    memory_bytes      bigint NOT NULL CHECK (memory_bytes >= 0),
    slots             integer NOT NULL CHECK (slots > 0),
    state             text NOT NULL CHECK (state IN (
        'ready',     -- has a free slot
        'busy',      -- all slots are used
        'draining',  -- finishes or hands back, takes nothing new
        'gone'       -- said goodbye, or was not heard of for long
    )),
    job_id            uuid,                 -- what it renders, for people; the truth is jobs.worker_id
    registered_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at      timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);                   -- heartbeats update in place
CREATE INDEX workers_live ON workers (pool) WHERE state <> 'gone';

-- Jobs -------------------------------------------------------------------------------------------------------------

CREATE TABLE jobs (
    id                 uuid PRIMARY KEY,    -- version 7: sorts by submission
    tenant_id          uuid NOT NULL,

    -- The request, as it was validated.
    prompt             text NOT NULL,
    video_size         text NOT NULL,
    aspect_ratio       text,
    video_length       integer NOT NULL CHECK (video_length > 0),
    infer_steps        integer NOT NULL CHECK (infer_steps >= 0),       -- 0: the fleet chooses
    quality_tier       text NOT NULL CHECK (quality_tier IN ('auto', 'preview', 'standard', 'premium')),
    seed               bigint NOT NULL CHECK (seed >= 0),
    seed_drawn         boolean NOT NULL,    -- the request named no seed
    cfg_scale          double precision NOT NULL,
    flow_reverse       boolean NOT NULL,
    negative_prompt    text,
    true_cfg_scale     double precision NOT NULL,
    step_cache         text CHECK (step_cache IN ('off', 'balanced', 'fast')),  -- NULL: the tier's
    similar_prompts    boolean,             -- NULL: the fleet's setting
    model_id           text NOT NULL,
    deadline_s         integer CHECK (deadline_s > 0),
    deadline_at        timestamptz,         -- created_at + deadline_s

    -- What is rendered for it.
    width              integer NOT NULL CHECK (width > 0),
    height             integer NOT NULL CHECK (height > 0),
    frames             integer NOT NULL CHECK (frames > 0),
    fps                double precision NOT NULL CHECK (fps > 0),

    -- Where it is. domain::JobStatus is the same list, domain::Lifecycle the legal moves.
    status             text NOT NULL DEFAULT 'queued' CHECK (status IN (
        'queued',     -- in the backlog; planned when plan is set
        'scheduled',  -- released to a pool, to be claimed with the current dispatch_no
        'running',    -- leased to a worker
        'completed',  -- the video is there
        'failed',     -- ended without a video
        'cancelled'   -- stopped
    )),
    not_before         timestamptz,         -- backoff: not released earlier

    -- The plan; all of it is set in one UPDATE.
    plan               jsonb,               -- domain::Plan
    tier               text CHECK (tier IN ('preview', 'standard', 'premium')),
    complexity         text CHECK (complexity IN ('simple', 'moderate', 'complex', 'very_complex')),
    final_steps        integer CHECK (final_steps > 0),
    estimate_s         double precision CHECK (estimate_s >= 0),
    estimate_cached_s  double precision CHECK (estimate_cached_s >= 0),
    memory_bytes       bigint CHECK (memory_bytes >= 0),   -- device memory that it needs
    order_at           timestamptz,         -- its place among its tenant's jobs: earlier goes first

    -- The release.
    pool               text,                -- where it was released to
    dispatch_no        integer NOT NULL DEFAULT 0,         -- counts releases; a claim names the current one
    scheduled_at       timestamptz,
    announced_at       timestamptz,         -- last job.ready message; NULL makes one due
    announcements      integer NOT NULL DEFAULT 0,

    -- The lease.
    lease_token        uuid,                -- set exactly while running
    lease_expires_at   timestamptz,
    worker_id          uuid,                -- who renders or rendered it
    claimed_at         timestamptz,
    attempts           integer NOT NULL DEFAULT 0,         -- claims since the last new checkpoint
    attempts_total     integer NOT NULL DEFAULT 0,         -- claims since submission or the user's retry
    ended_token        uuid,                -- the last lease that ended by its holder's own word, so that the holder
                                            -- can ask whether a call whose answer was lost took effect

    -- How far it is; the last value only.
    stage              text CHECK (stage IN ('prepare', 'encode', 'denoise', 'decode', 'deliver')),
    step               integer NOT NULL DEFAULT 0,
    steps_skipped      integer NOT NULL DEFAULT 0,
    progressed_at      timestamptz,

    -- Where it could resume.
    checkpoint_key     text,
    checkpoint_step    integer NOT NULL DEFAULT 0,         -- 0 without a checkpoint
    checkpoint_checksum text,
    checkpoint_resumes integer NOT NULL DEFAULT 0,

    cancel_requested_at timestamptz,

    -- How it ended.
    video_key          text,
    poster_key         text,
    video_bytes        bigint,
    record             jsonb,               -- domain::RunRecord
    failure_code       text,
    failure_reason     text,
    gpu_seconds        double precision NOT NULL DEFAULT 0,  -- of all attempts, lost ones estimated

    -- How it came.
    idempotency_key    text,
    payload_hash       bytea NOT NULL,
    traceparent        text,

    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at         timestamptz,         -- first claim since submission or the user's retry
    finished_at        timestamptz,         -- a terminal state was reached
    deleted_at         timestamptz,         -- hidden; purged after retention

    CONSTRAINT jobs_lease_while_running CHECK ((status = 'running') = (lease_token IS NOT NULL)),
    CONSTRAINT jobs_lease_has_expiry CHECK ((lease_token IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT jobs_video_when_completed CHECK ((status = 'completed') = (video_key IS NOT NULL)),
    CONSTRAINT jobs_reason_when_failed CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CONSTRAINT jobs_finished_when_terminal
        CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT jobs_pool_when_released CHECK (status NOT IN ('scheduled', 'running') OR pool IS NOT NULL),
    CONSTRAINT jobs_plan_is_whole CHECK ((plan IS NULL) = (tier IS NULL) AND (plan IS NULL) = (order_at IS NULL)
        AND (plan IS NULL) = (memory_bytes IS NULL) AND (plan IS NULL) = (estimate_s IS NULL))
) WITH (
    fillfactor = 70,                        -- room for in-place updates of the page's rows
    autovacuum_vacuum_scale_factor = 0.02,  -- a queue's dead rows slow every claim; clean early
    autovacuum_vacuum_threshold = 500,
    autovacuum_analyze_scale_factor = 0.05
);

-- Idempotency: one job for each key of a tenant.
CREATE UNIQUE INDEX jobs_idempotency ON jobs (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Lists: newest first, by state. One short scan per state, merged.
CREATE INDEX jobs_list ON jobs (tenant_id, status, id DESC) WHERE deleted_at IS NULL;
-- What the scheduler has not planned yet.
CREATE INDEX jobs_unplanned ON jobs (id) WHERE status = 'queued' AND plan IS NULL;
-- The backlog in dispatch order: model, then tenant by tenant. memory_bytes lets a small pool skip big jobs unread.
CREATE INDEX jobs_backlog ON jobs (model_id, tenant_id, order_at, memory_bytes, id)
    WHERE status = 'queued' AND plan IS NOT NULL;
-- Released and running jobs: a few per worker. Sweeps, counts of free slots and re-announcements read this whole index.
CREATE INDEX jobs_live ON jobs (pool, status, id) WHERE status IN ('scheduled', 'running');
-- What the cost model learns from.
CREATE INDEX jobs_measured ON jobs (model_id, finished_at DESC) WHERE status = 'completed';
-- Retention.
CREATE INDEX jobs_deleted ON jobs (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX jobs_stale_checkpoint ON jobs (finished_at)
    WHERE checkpoint_key IS NOT NULL AND status IN ('completed', 'failed', 'cancelled');

COMMENT ON TABLE jobs IS 'One row a submitted video, from submission to purge. Every change is guarded by status and lease_token.';
COMMENT ON COLUMN jobs.order_at IS 'Submission plus the tier''s delay, or what the deadline asks, if earlier: cheap tiers overtake, nobody starves.';
COMMENT ON COLUMN jobs.ended_token IS 'Not set by the sweep: a worker whose lease was taken away must be refused.';

-- Fair dispatch ----------------------------------------------------------------------------------------------------

-- Start-time fair queueing between tenants, by estimated seconds over the tenant's weight. A tenant's next job starts at
-- the later of its own last finish and the model's clock; the earliest start goes first.
CREATE TABLE dispatch_shares (
    model_id  text NOT NULL,
    tenant_id uuid NOT NULL,
    finish    double precision NOT NULL,    -- where the tenant's last released job ends in virtual time
    PRIMARY KEY (model_id, tenant_id)
) WITH (fillfactor = 50);
CREATE TABLE dispatch_clocks (
    model_id text PRIMARY KEY,
    now      double precision NOT NULL      -- start of the last released job; so idling saves up no share
) WITH (fillfactor = 50);

-- History ----------------------------------------------------------------------------------------------------------

CREATE TABLE job_events (
    seq       bigserial NOT NULL,
    -- The writing transaction. Sequence numbers become visible out of order; readers therefore stop before the oldest
    -- transaction that is still open and read in (txid, seq) order, so that nothing can appear behind them.
    txid      bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    job_id    uuid NOT NULL,
    tenant_id uuid NOT NULL,
    kind      text NOT NULL CHECK (kind IN (
        'queued',            -- accepted; or back in the backlog: its release was taken back, or its owner retried it
        'planned',           -- tier and steps are decided
        'scheduled',         -- released to a pool
        'running',           -- a worker holds it
        'handed_back',       -- back in the backlog because its worker stops; no attempt spent
        'retrying',          -- a failure or a lost worker, and attempts are left
        'cancel_requested',  -- its worker still has to notice
        'completed', 'failed', 'cancelled',
        'deleted',           -- hidden by its owner
        'restored'
    )),
    detail    jsonb NOT NULL DEFAULT '{}',  -- small facts, never the prompt
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, seq)
);
CREATE INDEX job_events_tenant ON job_events (tenant_id, txid, seq);
CREATE INDEX job_events_fleet ON job_events (txid, seq);
CREATE INDEX job_events_age ON job_events USING brin (at);
COMMENT ON TABLE job_events IS 'Every change of state, written by the statement that makes the change.';

-- Leadership -------------------------------------------------------------------------------------------------------

CREATE TABLE leader (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),  -- there is one row
    holder     uuid,                        -- one life of one scheduler process
    epoch      bigint NOT NULL DEFAULT 0,   -- compared by every statement that only the leader may run
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO leader DEFAULT VALUES;

-- Statistics -------------------------------------------------------------------------------------------------------

CREATE TABLE stats_hourly (
    tenant_id      uuid NOT NULL,
    bucket         timestamptz NOT NULL,    -- start of the hour (UTC); '-infinity' holds the sum of all time
    model_id       text NOT NULL,
    tier           text NOT NULL,           -- '' until planned
    complexity     text NOT NULL,           -- '' until planned
    shard          smallint NOT NULL,       -- spreads writers over rows; readers add the shards up

    submitted      bigint NOT NULL DEFAULT 0,
    planned        bigint NOT NULL DEFAULT 0,
    completed      bigint NOT NULL DEFAULT 0,
    failed         bigint NOT NULL DEFAULT 0,
    cancelled      bigint NOT NULL DEFAULT 0,
    retried        bigint NOT NULL DEFAULT 0,   -- by their owner, out of failed or cancelled
    requeued       bigint NOT NULL DEFAULT 0,   -- after a failure or a lost worker
    leases_lost    bigint NOT NULL DEFAULT 0,
    handed_back    bigint NOT NULL DEFAULT 0,

    -- Sums over completed jobs.
    cache_identical bigint NOT NULL DEFAULT 0,
    cache_similar  bigint NOT NULL DEFAULT 0,
    cache_misses   bigint NOT NULL DEFAULT 0,
    steps_planned  bigint NOT NULL DEFAULT 0,
    steps_computed bigint NOT NULL DEFAULT 0,
    steps_skipped  bigint NOT NULL DEFAULT 0,
    wait_s         double precision NOT NULL DEFAULT 0,  -- submission to first claim
    run_s          double precision NOT NULL DEFAULT 0,  -- the stages of the successful run
    estimate_s     double precision NOT NULL DEFAULT 0,  -- what had been told for it
    video_s        double precision NOT NULL DEFAULT 0,  -- playback made
    gpu_seconds    double precision NOT NULL DEFAULT 0,
    cost_usd       double precision NOT NULL DEFAULT 0,
    saved_s        double precision NOT NULL DEFAULT 0,
    saved_usd      double precision NOT NULL DEFAULT 0,

    PRIMARY KEY (tenant_id, bucket, model_id, tier, complexity, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX stats_hourly_bucket ON stats_hourly (bucket);
COMMENT ON TABLE stats_hourly IS 'Counted in the transaction of each transition, so statistics never scan jobs and survive their purge.';
