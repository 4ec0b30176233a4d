-- Budgets of tenants, and the events that tell of them. The wider CHECK is validated in the next file.
SET LOCAL lock_timeout = '2s';

CREATE TABLE budgets (
    id         uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenants (id),
    period     text NOT NULL CHECK (period IN ('day', 'month')),        -- UTC
    unit       text NOT NULL CHECK (unit IN ('usd', 'gpu_seconds')),
    amount     double precision NOT NULL CHECK (amount > 0 AND amount < 'Infinity'),
    warn_share double precision NOT NULL CHECK (warn_share > 0 AND warn_share <= 1),  -- of the amount
    stops      boolean NOT NULL,            -- submissions are refused once the amount is used
    warned_for date,                        -- start of the last period in which a warning was sent
    spent_for  date,                        -- start of the last period in which the amount was used up
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant_id, period, unit)
);
COMMENT ON TABLE budgets IS 'Limits of what a tenant may spend in a period, by usage_daily.';

ALTER TABLE job_events DROP CONSTRAINT job_events_kind_check;
ALTER TABLE job_events ADD CONSTRAINT job_events_kind_check CHECK (kind IN (
    'queued', 'planned', 'scheduled', 'running', 'drafted',
    'handed_back', 'retrying', 'cancel_requested', 'completed', 'failed', 'cancelled', 'deleted', 'restored',
    'budget_warning',  -- this job's run brought the tenant's spending to the share at which its budget warns
    'budget_spent'     -- this job's run used up the tenant's budget
)) NOT VALID;

-- Writes the events of the tenant's budgets, each once per period, in the transaction of the run that crosses the line.
CREATE FUNCTION watch_budgets() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- One run at a time per tenant, so that each sees what the others have spent. Most tenants have no budget.
    PERFORM FROM budgets WHERE tenant_id = NEW.tenant_id ORDER BY id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    WITH used AS (
        SELECT b.id, b.warned_for, b.spent_for, p.start, (
            SELECT COALESCE(sum(CASE b.unit WHEN 'usd' THEN u.cost_usd ELSE u.gpu_seconds END), 0)
            FROM usage_daily AS u WHERE u.tenant_id = b.tenant_id AND u.day >= p.start
        ) AS used
        FROM budgets AS b, LATERAL (
            SELECT date_trunc(b.period, clock_timestamp() AT TIME ZONE 'UTC')::date AS start
        ) AS p
        WHERE b.tenant_id = NEW.tenant_id
    ), crossed AS (
        UPDATE budgets SET warned_for = used.start,
            spent_for = CASE WHEN used.used >= amount THEN used.start ELSE budgets.spent_for END
        FROM used
        WHERE budgets.id = used.id AND used.used >= amount * warn_share
            AND (budgets.warned_for IS DISTINCT FROM used.start
                OR used.used >= amount AND budgets.spent_for IS DISTINCT FROM used.start)
        RETURNING CASE WHEN used.used >= amount THEN 'budget_spent' ELSE 'budget_warning' END AS kind,
            jsonb_build_object('period', period, 'unit', unit, 'amount', amount, 'used', used.used, 'stops', stops) AS detail
    )
    INSERT INTO job_events (job_id, tenant_id, kind, detail) SELECT NEW.job_id, NEW.tenant_id, kind, detail FROM crossed;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION watch_budgets() FROM PUBLIC;
-- Triggers of one kind fire in the order of their names: after add_run.
CREATE TRIGGER watch_budgets AFTER INSERT ON job_runs FOR EACH ROW EXECUTE FUNCTION watch_budgets();
