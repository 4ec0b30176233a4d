-- Which adapters (LoRA) a job needs and a worker has merged into its weights, so that jobs can go where their adapters are.

SET LOCAL lock_timeout = '2s';
ALTER TABLE jobs ADD COLUMN adapters text NOT NULL DEFAULT '';
COMMENT ON COLUMN jobs.adapters IS 'Its adapters as fingerprint@scale, sorted and separated by commas; empty for none. Set by the plan.';
ALTER TABLE workers ADD COLUMN adapters text NOT NULL DEFAULT '';
COMMENT ON COLUMN workers.adapters IS 'The adapters in its weights, or being merged into them, written like jobs.adapters.';
ALTER TABLE workers ADD COLUMN adapters_cached text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN workers.adapters_cached IS 'Fingerprints of the adapters whose files its machine keeps.';
-- Both change rarely, so heartbeats stay in place (HOT).
CREATE INDEX workers_adapters ON workers (pool, adapters);

CREATE TABLE dispatch_rounds (
    pool  text PRIMARY KEY,
    until double precision NOT NULL
);
COMMENT ON TABLE dispatch_rounds IS 'How far the order of jobs may be changed for the sake of adapters that workers have merged.';
COMMENT ON COLUMN dispatch_rounds.pool IS 'The pool.';
COMMENT ON COLUMN dispatch_rounds.until IS 'Virtual time, as in dispatch_clocks: jobs that end before it in the fair order may overtake one another.';
