-- Devices that fail: what a broken GPU costs a job, why a worker left, and which attention kernel a worker chose.

SET LOCAL lock_timeout = '2s';
ALTER TABLE jobs ADD COLUMN device_faults integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN jobs.device_faults IS 'Runs that ended because the device broke. The first few cost no attempt; more of them may be the job''s own doing.';
ALTER TABLE workers ADD COLUMN attention text;
COMMENT ON COLUMN workers.attention IS 'The attention kernel in use: cudnn, flash, efficient or math; NULL on a CPU.';
ALTER TABLE workers ADD COLUMN gone_reason text;
COMMENT ON COLUMN workers.gone_reason IS 'Why the worker left by itself, for people; NULL after a stop that was asked for.';
