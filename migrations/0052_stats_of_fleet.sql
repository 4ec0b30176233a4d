-- Statistics of the whole fleet by hour, and indexes for lists that are read a page at a time.
--
-- The fleet's numbers of a month used to be added up from every tenant's rows: a thousand tenants have two million of them. Hours
-- that are over are now added up once (crates/store/src/rollup.rs); readers add the hours since.

SET LOCAL lock_timeout = '2s';

-- The columns are those of stats_hourly without tenant and shard.
CREATE TABLE stats_fleet (
    bucket         timestamptz NOT NULL,    -- start of the hour (UTC); '-infinity' holds the sum of all hours before stats_rollup.until
    model_id       text NOT NULL,
    tier           text NOT NULL,           -- '' until planned
    complexity     text NOT NULL,           -- '' until planned
    submitted         bigint NOT NULL DEFAULT 0,
    planned           bigint NOT NULL DEFAULT 0,
    completed         bigint NOT NULL DEFAULT 0,
    failed            bigint NOT NULL DEFAULT 0,
    cancelled         bigint NOT NULL DEFAULT 0,
    retried           bigint NOT NULL DEFAULT 0,
    requeued          bigint NOT NULL DEFAULT 0,
    leases_lost       bigint NOT NULL DEFAULT 0,
    handed_back       bigint NOT NULL DEFAULT 0,
    preempted         bigint NOT NULL DEFAULT 0,
    deadlines_met     bigint NOT NULL DEFAULT 0,
    deadlines_missed  bigint NOT NULL DEFAULT 0,
    drafted           bigint NOT NULL DEFAULT 0,
    continued         bigint NOT NULL DEFAULT 0,
    cache_identical   bigint NOT NULL DEFAULT 0,
    cache_similar     bigint NOT NULL DEFAULT 0,
    cache_misses      bigint NOT NULL DEFAULT 0,
    steps_planned     bigint NOT NULL DEFAULT 0,
    steps_computed    bigint NOT NULL DEFAULT 0,
    steps_skipped     bigint NOT NULL DEFAULT 0,
    draft_gpu_seconds double precision NOT NULL DEFAULT 0,
    wait_s            double precision NOT NULL DEFAULT 0,
    run_s             double precision NOT NULL DEFAULT 0,
    estimate_s        double precision NOT NULL DEFAULT 0,
    video_s           double precision NOT NULL DEFAULT 0,
    gpu_seconds       double precision NOT NULL DEFAULT 0,
    cost_usd          double precision NOT NULL DEFAULT 0,
    saved_s           double precision NOT NULL DEFAULT 0,
    saved_usd         double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, model_id, tier, complexity)
);
COMMENT ON TABLE stats_fleet IS 'stats_hourly of all tenants added up, for hours that are over.';

CREATE TABLE stats_rollup (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one),  -- there is one row
    until          timestamptz NOT NULL DEFAULT '-infinity'       -- stats_fleet holds the hours before this one
);
INSERT INTO stats_rollup DEFAULT VALUES;
COMMENT ON TABLE stats_rollup IS 'How far stats_fleet reaches.';

-- Small tables, so their indexes need no CONCURRENTLY.
CREATE INDEX workers_by_name ON workers (name, id) WHERE state <> 'gone';
CREATE INDEX loras_shared ON loras (model_id) WHERE shared;
