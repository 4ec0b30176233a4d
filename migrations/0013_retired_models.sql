-- A retired model accepts no new jobs; its waiting jobs are still rendered while it has workers.

SET LOCAL lock_timeout = '2s';
ALTER TABLE models ADD COLUMN retired_at timestamptz;
COMMENT ON COLUMN models.retired_at IS 'Since when the model accepts no new jobs; NULL while it does.';
