-- Since when a job waits, so that the wait before each of its runs can be measured. The column is written by a trigger, so that no
-- transition can forget it, not even one of another release. A release that is taken back does not count as a new wait.
SET LOCAL lock_timeout = '2s';

ALTER TABLE jobs ADD COLUMN queued_at timestamptz;
COMMENT ON COLUMN jobs.queued_at IS 'When it last came back into the queue: after a run, a pause or a retry. NULL: it has waited since created_at.';

CREATE FUNCTION note_queued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.queued_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE TRIGGER note_queued BEFORE UPDATE OF status ON jobs FOR EACH ROW
    WHEN (NEW.status = 'queued' AND OLD.status NOT IN ('queued', 'scheduled'))
    EXECUTE FUNCTION note_queued();
