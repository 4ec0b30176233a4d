-- The cost ledger: one row per run (a lease from its claim to its end), and sums per day that outlive the jobs.
--
-- A trigger writes the rows and not each statement that ends a run, so that no transition can forget it, not even one of another
-- release. The token of the lease is the primary key, so a run cannot be counted twice.
SET LOCAL lock_timeout = '2s';

ALTER TABLE jobs ADD COLUMN IF NOT EXISTS key_id uuid;
COMMENT ON COLUMN jobs.key_id IS 'The API key that submitted the job; NULL while keys are off and for jobs of earlier releases.';
ALTER TABLE workers
    ADD COLUMN gpu_hour_usd double precision CHECK (gpu_hour_usd >= 0 AND gpu_hour_usd < 'Infinity'),
    ADD COLUMN accounted_until timestamptz;
COMMENT ON COLUMN workers.gpu_hour_usd IS 'Price of an hour of its device, US dollars; NULL for workers of earlier releases, whose runs cost nothing in the ledger.';
COMMENT ON COLUMN workers.accounted_until IS 'Up to when its time online is part of worker_daily; NULL: since its registration nothing is.';
-- What it did before the ledger began is not part of it, so neither is the time.
UPDATE workers SET accounted_until = last_seen_at;

CREATE TABLE job_runs (
    token         uuid PRIMARY KEY,         -- of the lease
    job_id        uuid NOT NULL,
    tenant_id     uuid NOT NULL,
    key_id        uuid,                     -- of the submission
    model_id      text NOT NULL,
    tier          text NOT NULL,
    worker_id     uuid,
    worker        text NOT NULL,            -- its name
    device        text NOT NULL,
    attempt       integer NOT NULL,         -- number of the claim
    outcome       text NOT NULL CHECK (outcome IN (
        'completed',    -- the video is stored
        'drafted',      -- it paused at its draft
        'failed',       -- it ended the job without a video
        'cancelled',    -- its owner stopped it
        'retrying',     -- a failure or a lost worker; the job is rendered again
        'handed_back'   -- its worker stopped; the job continues elsewhere
    )),
    lost          boolean NOT NULL,         -- the lease expired; its seconds are an estimate
    repeated      boolean NOT NULL,         -- an earlier run of the job ended in a fault
    lost_steps    integer NOT NULL,         -- steps that it computed and that the next run has to compute again
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz NOT NULL,
    gpu_seconds   double precision NOT NULL,
    cost_usd      double precision NOT NULL,
    gpu_hour_usd  double precision NOT NULL,  -- the worker's price at that time

    -- Seconds that the optimisations saved, by the fleet's cost model; only of runs that completed a job, except for drafts.
    saved_steps_s       double precision NOT NULL DEFAULT 0,  -- fewer steps than the model's default
    saved_step_cache_s  double precision NOT NULL DEFAULT 0,  -- steps skipped
    saved_embeddings_s  double precision NOT NULL DEFAULT 0,  -- prompts not encoded
    saved_drafts_s      double precision NOT NULL DEFAULT 0   -- steps of a draft that nobody continued
);
CREATE INDEX job_runs_job ON job_runs (job_id, started_at);
COMMENT ON TABLE job_runs IS 'The ledger: what each run cost. Purged with its job; usage_daily and worker_daily keep the sums.';

CREATE TABLE usage_daily (
    tenant_id    uuid NOT NULL,
    day          date NOT NULL,             -- UTC, by the end of the run; '-infinity' holds the sum of all time
    key_id       uuid NOT NULL,             -- zero: none
    model_id     text NOT NULL,
    tier         text NOT NULL,
    shard        smallint NOT NULL,         -- spreads writers over rows; readers add the shards up
    runs         bigint NOT NULL DEFAULT 0,
    videos       bigint NOT NULL DEFAULT 0,
    gpu_seconds  double precision NOT NULL DEFAULT 0,
    cost_usd     double precision NOT NULL DEFAULT 0,
    repeated_runs        bigint NOT NULL DEFAULT 0,
    repeated_gpu_seconds double precision NOT NULL DEFAULT 0,
    repeated_cost_usd    double precision NOT NULL DEFAULT 0,
    lost_steps           bigint NOT NULL DEFAULT 0,
    saved_steps_s        double precision NOT NULL DEFAULT 0,
    saved_steps_usd      double precision NOT NULL DEFAULT 0,
    saved_step_cache_s   double precision NOT NULL DEFAULT 0,
    saved_step_cache_usd double precision NOT NULL DEFAULT 0,
    saved_embeddings_s   double precision NOT NULL DEFAULT 0,
    saved_embeddings_usd double precision NOT NULL DEFAULT 0,
    saved_drafts_s       double precision NOT NULL DEFAULT 0,
    saved_drafts_usd     double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, day, key_id, model_id, tier, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX usage_daily_day ON usage_daily (day);
COMMENT ON TABLE usage_daily IS 'Sums of job_runs, kept when jobs are purged.';

CREATE TABLE worker_daily (
    day         date NOT NULL,              -- UTC; '-infinity' holds the sum of all time
    worker      text NOT NULL,              -- its name; empty in the sum of all time, since names come and go
    model_id    text NOT NULL,
    shard       smallint NOT NULL,
    online_s    double precision NOT NULL DEFAULT 0,  -- from its registration to its last heartbeat
    online_usd  double precision NOT NULL DEFAULT 0,
    runs        bigint NOT NULL DEFAULT 0,
    videos      bigint NOT NULL DEFAULT 0,
    busy_s      double precision NOT NULL DEFAULT 0,  -- GPU seconds of its runs; the rest of online_s it was idle
    busy_usd    double precision NOT NULL DEFAULT 0,
    repeated_runs        bigint NOT NULL DEFAULT 0,
    repeated_gpu_seconds double precision NOT NULL DEFAULT 0,
    repeated_cost_usd    double precision NOT NULL DEFAULT 0,
    lost_steps           bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, worker, model_id, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE worker_daily IS 'Time online and time at work of each worker.';

-- Runs as the owner of the tables: workers on other machines end runs, but may not see the ledger.
CREATE FUNCTION record_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    spent double precision := GREATEST(NEW.gpu_seconds - OLD.gpu_seconds, 0);
    ended text := CASE
        WHEN NEW.status <> 'queued' THEN NEW.status
        WHEN NEW.attempts < OLD.attempts THEN 'handed_back'
        ELSE 'retrying' END;
    saved jsonb := CASE WHEN NEW.status = 'completed' THEN NEW.record -> 'savings' END;
BEGIN
    INSERT INTO job_runs (token, job_id, tenant_id, key_id, model_id, tier, worker_id, worker, device, attempt, outcome, lost,
        repeated, lost_steps, started_at, ended_at, gpu_seconds, cost_usd, gpu_hour_usd,
        saved_steps_s, saved_step_cache_s, saved_embeddings_s)
    SELECT OLD.lease_token, NEW.id, NEW.tenant_id, NEW.key_id, NEW.model_id, COALESCE(NEW.tier, ''), OLD.worker_id,
        COALESCE(w.name, ''), COALESCE(w.device, ''), OLD.attempts_total, ended,
        NEW.ended_token IS DISTINCT FROM OLD.lease_token,
        EXISTS (SELECT FROM job_runs AS r WHERE r.job_id = NEW.id AND (r.lost OR r.outcome IN ('retrying', 'failed'))),
        CASE WHEN ended IN ('retrying', 'handed_back') THEN GREATEST(OLD.step - NEW.checkpoint_step, 0) ELSE 0 END,
        OLD.claimed_at, clock_timestamp(), spent, spent / 3600 * p.price, p.price,
        COALESCE((saved ->> 'steps_s')::float8, 0), COALESCE((saved ->> 'step_cache_s')::float8, 0),
        COALESCE((saved ->> 'embeddings_s')::float8, 0)
    FROM (SELECT OLD.worker_id AS id) AS held
    LEFT JOIN workers AS w ON w.id = held.id, LATERAL (SELECT COALESCE(w.gpu_hour_usd, 0) AS price) AS p
    ON CONFLICT (token) DO NOTHING;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION record_run() FROM PUBLIC;
CREATE TRIGGER record_run AFTER UPDATE OF lease_token ON jobs FOR EACH ROW
    WHEN (OLD.lease_token IS NOT NULL AND NEW.lease_token IS NULL) EXECUTE FUNCTION record_run();

-- The steps that a draft was spared, at its own pace, once it ends without being continued. Its owner may retry it, which
-- takes the saving back.
CREATE FUNCTION record_draft() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    step double precision := (NEW.draft ->> 'step')::float8;
BEGIN
    UPDATE job_runs SET saved_drafts_s = CASE WHEN NEW.status = 'cancelled' AND step > 0
        THEN (NEW.draft ->> 'gpu_seconds')::float8 * GREATEST(NEW.final_steps / step - 1, 0) ELSE 0 END
    WHERE token = NEW.ended_token AND outcome = 'drafted';
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION record_draft() FROM PUBLIC;
CREATE TRIGGER record_draft AFTER UPDATE OF status ON jobs FOR EACH ROW
    WHEN (NEW.draft IS NOT NULL AND (OLD.status = 'drafted' AND NEW.status = 'cancelled'
        OR OLD.status = 'cancelled' AND NEW.status = 'queued')) EXECUTE FUNCTION record_draft();

-- Keeps the sums: adds a new run, and the difference when a run changes.
CREATE FUNCTION add_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    own smallint := pg_backend_pid() % 8;
    ended_on date := (NEW.ended_at AT TIME ZONE 'UTC')::date;
    price double precision := NEW.gpu_hour_usd / 3600;
    drafts double precision := NEW.saved_drafts_s;
    new_run integer := 1;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        drafts := NEW.saved_drafts_s - OLD.saved_drafts_s;
        new_run := 0;
    END IF;
    INSERT INTO usage_daily AS u (tenant_id, day, key_id, model_id, tier, shard, runs, videos, gpu_seconds, cost_usd,
        repeated_runs, repeated_gpu_seconds, repeated_cost_usd, lost_steps, saved_steps_s, saved_steps_usd,
        saved_step_cache_s, saved_step_cache_usd, saved_embeddings_s, saved_embeddings_usd, saved_drafts_s, saved_drafts_usd)
    SELECT NEW.tenant_id, d.day, COALESCE(NEW.key_id, '00000000-0000-0000-0000-000000000000'), NEW.model_id, NEW.tier, own,
        new_run, new_run * (NEW.outcome = 'completed')::int, new_run * NEW.gpu_seconds, new_run * NEW.cost_usd,
        new_run * NEW.repeated::int, new_run * NEW.repeated::int * NEW.gpu_seconds,
        new_run * NEW.repeated::int * NEW.cost_usd, new_run * NEW.lost_steps,
        new_run * NEW.saved_steps_s, new_run * NEW.saved_steps_s * price,
        new_run * NEW.saved_step_cache_s, new_run * NEW.saved_step_cache_s * price,
        new_run * NEW.saved_embeddings_s, new_run * NEW.saved_embeddings_s * price, drafts, drafts * price
    FROM (VALUES ('-infinity'::date), (ended_on)) AS d (day)
    ON CONFLICT (tenant_id, day, key_id, model_id, tier, shard) DO UPDATE SET
        runs = u.runs + EXCLUDED.runs, videos = u.videos + EXCLUDED.videos,
        gpu_seconds = u.gpu_seconds + EXCLUDED.gpu_seconds, cost_usd = u.cost_usd + EXCLUDED.cost_usd,
        repeated_runs = u.repeated_runs + EXCLUDED.repeated_runs,
        repeated_gpu_seconds = u.repeated_gpu_seconds + EXCLUDED.repeated_gpu_seconds,
        repeated_cost_usd = u.repeated_cost_usd + EXCLUDED.repeated_cost_usd,
        lost_steps = u.lost_steps + EXCLUDED.lost_steps,
        saved_steps_s = u.saved_steps_s + EXCLUDED.saved_steps_s,
        saved_steps_usd = u.saved_steps_usd + EXCLUDED.saved_steps_usd,
        saved_step_cache_s = u.saved_step_cache_s + EXCLUDED.saved_step_cache_s,
        saved_step_cache_usd = u.saved_step_cache_usd + EXCLUDED.saved_step_cache_usd,
        saved_embeddings_s = u.saved_embeddings_s + EXCLUDED.saved_embeddings_s,
        saved_embeddings_usd = u.saved_embeddings_usd + EXCLUDED.saved_embeddings_usd,
        saved_drafts_s = u.saved_drafts_s + EXCLUDED.saved_drafts_s,
        saved_drafts_usd = u.saved_drafts_usd + EXCLUDED.saved_drafts_usd;
    IF TG_OP = 'UPDATE' THEN
        RETURN NULL;
    END IF;
    INSERT INTO worker_daily AS u (day, worker, model_id, shard, runs, videos, busy_s, busy_usd,
        repeated_runs, repeated_gpu_seconds, repeated_cost_usd, lost_steps)
    SELECT d.day, d.worker, NEW.model_id, own, 1, (NEW.outcome = 'completed')::int, NEW.gpu_seconds, NEW.cost_usd,
        NEW.repeated::int, NEW.repeated::int * NEW.gpu_seconds, NEW.repeated::int * NEW.cost_usd, NEW.lost_steps
    FROM (VALUES ('-infinity'::date, ''), (ended_on, NEW.worker)) AS d (day, worker)
    ON CONFLICT (day, worker, model_id, shard) DO UPDATE SET
        runs = u.runs + EXCLUDED.runs, videos = u.videos + EXCLUDED.videos,
        busy_s = u.busy_s + EXCLUDED.busy_s, busy_usd = u.busy_usd + EXCLUDED.busy_usd,
        repeated_runs = u.repeated_runs + EXCLUDED.repeated_runs,
        repeated_gpu_seconds = u.repeated_gpu_seconds + EXCLUDED.repeated_gpu_seconds,
        repeated_cost_usd = u.repeated_cost_usd + EXCLUDED.repeated_cost_usd,
        lost_steps = u.lost_steps + EXCLUDED.lost_steps;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION add_run() FROM PUBLIC;
CREATE TRIGGER add_run AFTER INSERT OR UPDATE OF saved_drafts_s ON job_runs FOR EACH ROW EXECUTE FUNCTION add_run();
