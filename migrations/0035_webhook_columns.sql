-- Webhooks of single jobs. Columns besides the request document, because the trigger of 0037 filters by them.
SET LOCAL lock_timeout = '2s';

ALTER TABLE jobs
    ADD COLUMN webhook text,            -- URL that is notified of this job's events; NULL: none
    ADD COLUMN webhook_events text[];   -- kinds of events that it is notified of; NULL: completed, failed, cancelled
