-- Machines that joined with a login of their own see and change only what they need: released jobs, and the jobs that they
-- hold. Before, one of them could read the lease of another's job, end it, or write events in its name.

SET LOCAL lock_timeout = '2s';
ALTER TABLE workers ADD COLUMN login text;
ALTER TABLE workers ADD COLUMN broker_user text;
-- Set for new rows only: workers that registered before this migration keep their jobs until they register again.
ALTER TABLE workers ALTER COLUMN login SET DEFAULT session_user;
CREATE INDEX workers_login ON workers (login);
COMMENT ON COLUMN workers.login IS 'The database login that registered the worker; NULL for workers of earlier releases.';
COMMENT ON COLUMN workers.broker_user IS 'The RabbitMQ user that signs the worker''s messages; NULL for workers of earlier releases.';

-- The policies tell joined machines by the name of their login (api workers join), which they cannot choose. They name no role,
-- so that a backup can be restored where the roles do not exist. The owner of the tables is not subject to them.
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE workers ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_events ENABLE ROW LEVEL SECURITY;

CREATE POLICY fleet ON jobs USING (NOT starts_with(session_user::text, current_database() || '_worker_'));
CREATE POLICY fleet ON workers USING (NOT starts_with(session_user::text, current_database() || '_worker_'));
CREATE POLICY fleet ON job_events USING (NOT starts_with(session_user::text, current_database() || '_worker_'));

-- Of the queued jobs only those that were released before: a machine that gives one back has to see the result.
CREATE POLICY joined_reads ON jobs FOR SELECT USING (
    status = 'scheduled' OR status = 'queued' AND dispatch_no > 0
    OR worker_id = ANY (ARRAY(SELECT w.id FROM workers AS w WHERE w.login = session_user OR w.login IS NULL))
);
CREATE POLICY joined_moves ON jobs FOR UPDATE USING (
    status = 'scheduled'
    OR status = 'running'
        AND worker_id = ANY (ARRAY(SELECT w.id FROM workers AS w WHERE w.login = session_user OR w.login IS NULL))
) WITH CHECK (
    status = 'queued'
    OR worker_id = ANY (ARRAY(SELECT w.id FROM workers AS w WHERE w.login = session_user OR w.login IS NULL))
);
CREATE POLICY joined_reads ON workers FOR SELECT USING (true);
CREATE POLICY joined_registers ON workers FOR INSERT WITH CHECK (login = session_user);
CREATE POLICY joined_beats ON workers FOR UPDATE
    USING (login = session_user OR login IS NULL) WITH CHECK (login = session_user OR login IS NULL);
-- The jobs that the subquery finds are those that the machine may see.
CREATE POLICY joined_writes ON job_events FOR INSERT WITH CHECK (
    EXISTS (SELECT FROM jobs WHERE jobs.id = job_events.job_id AND jobs.tenant_id = job_events.tenant_id)
);
