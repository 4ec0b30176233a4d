-- Jobs that one worker renders together, and workers that render one video on several devices.
SET LOCAL lock_timeout = '2s';

ALTER TABLE jobs ADD COLUMN batch_key text;
COMMENT ON COLUMN jobs.batch_key IS 'Equal for jobs whose forward passes a worker can share; NULL for a job that is always rendered alone. Set by the plan.';
ALTER TABLE jobs ADD COLUMN batch_lead uuid;
COMMENT ON COLUMN jobs.batch_lead IS 'The job that this one was released to accompany; NULL for a job that was released for itself. It has a meaning only while the job is scheduled.';

-- Workers of earlier releases name none of these: they render one job at a time on one device.
ALTER TABLE workers ADD COLUMN batch_max integer NOT NULL DEFAULT 1;
COMMENT ON COLUMN workers.batch_max IS 'Most jobs that it renders together; 1 for one after the other.';
ALTER TABLE workers ADD COLUMN batch_tokens bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN workers.batch_tokens IS 'Most video tokens of the jobs that it renders together.';
ALTER TABLE workers ADD COLUMN devices integer NOT NULL DEFAULT 1;
COMMENT ON COLUMN workers.devices IS 'Devices that compute each of its videos together.';
-- Whether a worker is idle. A change of the state is not done in place anyway, because of workers_live.
CREATE INDEX workers_ready ON workers (pool) WHERE state = 'ready';
