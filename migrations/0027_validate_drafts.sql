-- Only reads the tables while the fleet works on.
ALTER TABLE jobs VALIDATE CONSTRAINT jobs_status_check;
ALTER TABLE job_events VALIDATE CONSTRAINT job_events_kind_check;
