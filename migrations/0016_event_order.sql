-- An order of events that open transactions of other databases do not hold up, and that goes on after a restore.
--
-- Readers stop before the oldest transaction that may still write events. Until now that was any open transaction of the whole
-- server. And the numbers of transactions belong to a cluster: restored into another one, new events sorted before old ones.
-- Now the position of an event is era * 2^48 + transaction, and a new era begins when the database finds itself in another
-- cluster, or on another timeline after a failover or a point-in-time recovery (crates/store/src/era.rs).

SET LOCAL lock_timeout = '2s';
CREATE TABLE event_era (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),  -- there is one row
    era     bigint NOT NULL DEFAULT 0,  -- part of the default of job_events.txid
    history text                        -- cluster and timeline for which the era began; NULL until a process has looked
);
INSERT INTO event_era DEFAULT VALUES;
COMMENT ON TABLE event_era IS 'Which history of the server the transaction numbers of new events belong to.';
COMMENT ON COLUMN job_events.txid IS 'Position of the writing transaction: its number, plus 2^48 for each era before.';

-- Every event whose position is below the result is visible, and none can appear below it any more. Transactions of other
-- databases write no events here, but count in the snapshot; pg_locks tells which they are. One that it does not show counts as
-- ours.
CREATE FUNCTION events_horizon() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT (SELECT era FROM event_era) * 281474976710656 + COALESCE(
        (SELECT min(open.xid::text::bigint) FROM pg_snapshot_xip(pg_current_snapshot()) AS open (xid)
         WHERE NOT EXISTS (
             SELECT FROM pg_locks AS held JOIN pg_stat_activity AS other ON other.pid = held.pid
             WHERE held.locktype = 'transactionid' AND held.mode = 'ExclusiveLock' AND held.granted
                 AND held.transactionid::text::bigint = open.xid::text::bigint & 4294967295
                 AND other.datid <> (SELECT oid FROM pg_database WHERE datname = current_database())
         )),
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
$$;
COMMENT ON FUNCTION events_horizon() IS 'The position up to which readers of job_events may go.';
