//! The database role of workers on other machines: what a worker needs, and nothing else.
//!
//! A group role named after the database (`fleet_worker` for `fleet`) holds the rights. Every machine that joins gets its
//! own login in that group, so that a single machine can be locked out. A worker reads jobs and models, moves jobs, writes
//! their events and statistics, and sends heartbeats. It cannot read keys, sessions or tenants, change requests, or delete
//! anything. Row-level security (`migrations/0015_joined_machines.sql`) hides the jobs that other machines hold.
//!
//! Rule: a worker has the rights listed in [`GRANTS`] and no others, so a table or column that a release adds stays closed
//! to it until it is listed. Every migration renews the rights, so an upgrade needs no manual step.

use sqlx::Connection;

use crate::connect::Store;
use crate::error::{Result, StoreError};

/// Creates the group role if it is missing; needs the right to create roles.
const CREATE_GROUP: &str = "
DO $$
DECLARE
    group_name text := current_database() || '_worker';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext(group_name));
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = group_name) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', group_name);
    END IF;
END $$";

/// Gives the group role exactly these rights. Does nothing where the role does not exist.
const GRANTS: &str = "
DO $$
DECLARE
    group_name text := current_database() || '_worker';
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = group_name) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext(group_name));
    -- Remove what an earlier release granted.
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM %I', group_name);
    EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM %I', group_name);
    EXECUTE format('GRANT SELECT ON jobs, models, workers, stats_hourly TO %I', group_name);
    EXECUTE format('GRANT INSERT ON workers, job_events, stats_hourly TO %I', group_name);
    EXECUTE format('GRANT UPDATE ON workers, stats_hourly TO %I', group_name);
    EXECUTE format('GRANT USAGE ON SEQUENCE job_events_seq_seq TO %I', group_name);
    -- Of a job: its state, lease, progress, checkpoint and result. Not the request, its owner, or the scheduler's
    -- decisions. A column that is not listed here is read-only for workers.
    EXECUTE format('GRANT UPDATE (
        status, pool, not_before, announced_at, announcements,
        lease_token, lease_expires_at, ended_token, worker_id, claimed_at, attempts, attempts_total,
        stage, step, steps_skipped, progressed_at, device_faults, preempt_requested_at,
        checkpoint_key, checkpoint_step, checkpoint_checksum, checkpoint_resumes,
        preview_key, preview_step, draft_until, drafted_at, draft,
        video_key, poster_key, video_bytes, record, failure_code, failure_reason, gpu_seconds, started_at, finished_at
    ) ON jobs TO %I', group_name);
END $$";

/// Creates or renews the login whose name and password are in the transaction's settings.
const CREATE_LOGIN: &str = "
DO $$
DECLARE
    group_name text := current_database() || '_worker';
    login text := group_name || '_' || current_setting('fleet.login');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
        EXECUTE format('CREATE ROLE %I LOGIN', login);
    END IF;
    EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', login, current_setting('fleet.password'));
    EXECUTE format('GRANT %I TO %I', group_name, login);
END $$";

/// Drops a login and ends its connections. If this user may not end them, they lose their rights anyway.
const DROP_LOGIN: &str = "
DO $$
DECLARE
    login text := current_database() || '_worker_' || current_setting('fleet.login');
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = login;
    EXECUTE format('DROP ROLE IF EXISTS %I', login);
EXCEPTION WHEN insufficient_privilege THEN
    EXECUTE format('DROP ROLE IF EXISTS %I', login);
END $$";

/// Longest machine name: Postgres truncates role names after 63 bytes, and the database's name precedes it.
const NAME_MAX: usize = 24;

impl Store {
    /// Creates a login for the worker of the machine `name` with `password`; an existing login gets the new password.
    /// Returns the role's name.
    ///
    /// # Errors
    /// [`StoreError::Unstorable`] for a name with anything but lower-case letters, digits and `_`; [`StoreError::Refused`]
    /// when this user may not create roles.
    pub async fn let_worker_log_in(&self, name: &str, password: &str) -> Result<String> {
        check_name(name)?;
        let mut connection = self.pool.session().await?;
        let mut transaction = connection.begin().await?;
        sqlx::raw_sql(CREATE_GROUP).execute(&mut *transaction).await?;
        sqlx::raw_sql(GRANTS).execute(&mut *transaction).await?;
        sqlx::query("SELECT set_config('fleet.login', $1, true), set_config('fleet.password', $2, true)")
            .bind(name)
            .bind(password)
            .execute(&mut *transaction)
            .await?;
        sqlx::raw_sql(CREATE_LOGIN).execute(&mut *transaction).await?;
        let role = sqlx::query_scalar("SELECT current_database() || '_worker_' || $1")
            .bind(name)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(role)
    }

    /// Locks out the worker of a machine; its leases then expire.
    ///
    /// # Errors
    /// As [`Store::let_worker_log_in`].
    pub async fn shut_worker_out(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let mut connection = self.pool.session().await?;
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT set_config('fleet.login', $1, true)").bind(name).execute(&mut *transaction).await?;
        sqlx::raw_sql(DROP_LOGIN).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Renews the rights of the workers' role, if it exists, for the current schema.
    pub(crate) async fn renew_worker_grants(&self) -> Result<()> {
        sqlx::raw_sql(GRANTS).execute(&self.pool).await?;
        Ok(())
    }
}

fn check_name(name: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(fits) {
        return Ok(());
    }
    let reason = format!("use 1 to {NAME_MAX} lower-case letters, digits and _");
    Err(StoreError::Unstorable { what: "the machine's name", reason })
}
