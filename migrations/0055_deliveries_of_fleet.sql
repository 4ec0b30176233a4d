-- no-transaction
-- The webhook log of the whole fleet, newest first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS webhook_deliveries_fleet ON webhook_deliveries (seq DESC, id);
