-- Only reads the table while the fleet works on.
ALTER TABLE job_events VALIDATE CONSTRAINT job_events_kind_check;
