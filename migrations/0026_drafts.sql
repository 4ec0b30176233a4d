-- Jobs that pause after their first steps, and candidates of one request. The wider CHECKs are validated in the next file.

SET LOCAL lock_timeout = '2s';
ALTER TABLE jobs ADD COLUMN draft_until integer CHECK (draft_until > 0);
ALTER TABLE jobs ADD COLUMN drafted_at timestamptz;
ALTER TABLE jobs ADD COLUMN draft jsonb;
ALTER TABLE jobs ADD COLUMN group_id uuid;
ALTER TABLE jobs ADD COLUMN choice jsonb;
COMMENT ON COLUMN jobs.draft_until IS 'Steps after which the run pauses; NULL for a run to the end, and once it has paused.';
COMMENT ON COLUMN jobs.drafted_at IS 'When it paused; a draft that nobody continues expires by it.';
COMMENT ON COLUMN jobs.draft IS 'domain::DraftRecord: the draft''s step, measurements and cost.';
COMMENT ON COLUMN jobs.group_id IS 'Jobs with one value are candidates of one request.';
COMMENT ON COLUMN jobs.choice IS 'domain::Choice: all candidates with their measurements and costs, kept with the chosen one.';

ALTER TABLE jobs DROP CONSTRAINT jobs_status_check;
ALTER TABLE jobs ADD CONSTRAINT jobs_status_check CHECK (status IN (
    'queued', 'scheduled', 'running',
    'drafted',    -- paused after its first steps, until it is continued; no worker holds it
    'completed', 'failed', 'cancelled'
)) NOT VALID;
ALTER TABLE job_events DROP CONSTRAINT job_events_kind_check;
ALTER TABLE job_events ADD CONSTRAINT job_events_kind_check CHECK (kind IN (
    'queued', 'planned', 'scheduled', 'running',
    'drafted',    -- paused after its first steps
    'handed_back', 'retrying', 'cancel_requested', 'completed', 'failed', 'cancelled', 'deleted', 'restored'
)) NOT VALID;

ALTER TABLE stats_hourly ADD COLUMN drafted bigint NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN continued bigint NOT NULL DEFAULT 0;
ALTER TABLE stats_hourly ADD COLUMN draft_gpu_seconds double precision NOT NULL DEFAULT 0;
COMMENT ON COLUMN stats_hourly.draft_gpu_seconds IS 'GPU seconds of runs that ended in a pause, whether or not the draft was continued.';
