//! Reports of the ledger that are read in parts: they are what one statement over all rows gives, whatever they group by.

use chrono::NaiveDate;
use domain::TenantId;
use sqlx::PgPool;
use store::jobs::Scope;
use store::ledger::{GroupBy, UsageFilter, UsageRow, WorkerUsage};
use uuid::Uuid;

use crate::support::Fixture;

/// The tenant that alone has more rows in a month than a part has.
const LARGE: TenantId = TenantId(Uuid::from_u128(0x13));
/// More rows than any report here has.
const ALL: u32 = 100_000;

/// Days from one year to the next, with a whole month, and beside them days outside of the reports. Each day has eight rows of
/// twelve tenants, and in the whole month 264 of a large one. Keys are the tenant's, unknown, or none; labels are not unique.
const USAGE: &str = "
    INSERT INTO tenants (id, name) SELECT lpad(to_hex(t), 32, '0')::uuid, CASE t WHEN 19 THEN 'large' ELSE 'tenant ' || t END
    FROM generate_series(1, 19) AS t WHERE t <= 12 OR t = 19;
    INSERT INTO api_keys (id, tenant_id, role, label, prefix, hash)
    SELECT lpad('a' || to_hex(t), 32, '0')::uuid, lpad(to_hex(t), 32, '0')::uuid, 'user', 'key ' || t % 5, 'k', sha256(t::text::bytea)
    FROM generate_series(1, 12) AS t;
    INSERT INTO usage_daily (tenant_id, day, key_id, model_id, tier, shard, runs, videos, gpu_seconds, cost_usd, repeated_runs,
        repeated_gpu_seconds, repeated_cost_usd, lost_steps, saved_steps_s, saved_steps_usd, saved_step_cache_s, saved_step_cache_usd,
        saved_embeddings_s, saved_embeddings_usd, saved_drafts_s, saved_drafts_usd)
    SELECT lpad(to_hex(t), 32, '0')::uuid, day, lpad(key, 32, '0')::uuid, CASE WHEN v < 4 THEN 'second' ELSE 'default' END,
        CASE WHEN v % 2 = 0 THEN 'standard' ELSE 'draft' END, v, n, n % 2, n % 3, n % 5, n % 7, n % 11, n % 13, n % 17, n % 19, n % 23,
        n % 29, n % 31, n % 37, n % 41, n % 43, n % 47
    FROM (
        SELECT t, day::date, CASE v % 3 WHEN 0 THEN '0' WHEN 1 THEN 'a' || to_hex(t) ELSE 'b' || to_hex(t) END AS key, v
        FROM generate_series(1, 12) AS t, generate_series('2025-12-20'::timestamp, '2026-02-10', '1 day') AS day, generate_series(0, 7) AS v
        UNION ALL
        SELECT 19, day::date, 'c' || to_hex(k), v
        FROM generate_series('2026-01-01'::timestamp, '2026-01-31', '1 day') AS day, generate_series(1, 33) AS k, generate_series(0, 7) AS v
        UNION ALL
        SELECT 1, '-infinity', '0', 0
    ) AS row, LATERAL (SELECT t * 100 + v * 10 + CASE WHEN isfinite(day) THEN extract(day FROM day)::int ELSE 0 END AS n) AS number";

/// The report as one statement.
const USAGE_AT_ONCE: &str = "
    SELECT CASE WHEN $3 THEN to_char(u.day, 'YYYY-MM-DD') WHEN $4 THEN to_char(u.day, 'YYYY-MM') END,
        CASE WHEN $5 THEN tenants.name END, CASE WHEN $6 THEN api_keys.label END, CASE WHEN $6 THEN u.key_id END,
        CASE WHEN $7 THEN u.model_id END, CASE WHEN $8 THEN u.tier END,
        ARRAY[sum(runs), sum(videos), sum(gpu_seconds), sum(cost_usd), sum(repeated_runs), sum(repeated_gpu_seconds),
            sum(repeated_cost_usd), sum(lost_steps), sum(saved_steps_s), sum(saved_steps_usd), sum(saved_step_cache_s),
            sum(saved_step_cache_usd), sum(saved_embeddings_s), sum(saved_embeddings_usd), sum(saved_drafts_s), sum(saved_drafts_usd)
        ]::float8[]
    FROM usage_daily AS u JOIN tenants ON tenants.id = u.tenant_id LEFT JOIN api_keys ON api_keys.id = u.key_id
    WHERE u.day BETWEEN $1 AND $2 AND ($9::uuid IS NULL OR u.tenant_id = $9)
    GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6";

/// The same for workers: thirty of them and an unknown one, with two models and eight rows of each per day.
const WORKERS: &str = "
    INSERT INTO worker_daily (day, worker, model_id, shard, online_s, online_usd, runs, videos, busy_s, busy_usd, repeated_runs,
        repeated_gpu_seconds, repeated_cost_usd, lost_steps)
    SELECT day, worker, model, v, n, n % 2, n % 3, n % 5, n % 7, n % 11, n % 13, n % 17, n % 19, n % 23
    FROM (
        SELECT day::date, CASE w WHEN 0 THEN '' ELSE 'worker ' || w END AS worker, model, v, w
        FROM generate_series('2025-12-20'::timestamp, '2026-02-10', '1 day') AS day, generate_series(0, 30) AS w,
            (VALUES ('default'), ('second')) AS models (model), generate_series(0, 7) AS v
        UNION ALL
        SELECT '-infinity', '', 'default', 0, 0
    ) AS row, LATERAL (SELECT w * 100 + v * 10 + CASE WHEN isfinite(day) THEN extract(day FROM day)::int ELSE 0 END AS n) AS number";

const WORKERS_AT_ONCE: &str = "
    SELECT CASE WHEN $3 THEN to_char(day, 'YYYY-MM-DD') WHEN $4 THEN to_char(day, 'YYYY-MM') END, worker,
        CASE WHEN $5 THEN model_id END,
        ARRAY[sum(online_s), sum(online_usd), sum(runs), sum(videos), sum(busy_s), sum(busy_usd), sum(repeated_runs),
            sum(repeated_gpu_seconds), sum(repeated_cost_usd), sum(lost_steps)]::float8[]
    FROM worker_daily WHERE day BETWEEN $1 AND $2 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";

/// Names of the groups in the order of the columns, and the sums. They are whole numbers, so their order does not change them.
type UsageLine =
    (Option<String>, Option<String>, Option<String>, Option<Uuid>, Option<String>, Option<String>, Vec<f64>);
type WorkerLine = (Option<String>, Option<String>, Option<String>, Vec<f64>);

/// Neither the first days of the ledger nor the last ones belong to the reports.
fn filter(scope: Scope, limit: u32) -> UsageFilter {
    let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).expect("a date");
    UsageFilter { scope, from: day(2025, 12, 22), to: day(2026, 2, 8), limit }
}

/// No time, days, months.
fn times() -> [GroupBy; 3] {
    let none = GroupBy::default();
    [none, GroupBy { day: true, ..none }, GroupBy { month: true, ..none }]
}

fn usage_line(row: UsageRow) -> UsageLine {
    let saved = row.saved;
    let sums = vec![
        row.runs as f64,
        row.videos as f64,
        row.gpu_seconds,
        row.cost_usd,
        row.repeated_runs as f64,
        row.repeated_gpu_seconds,
        row.repeated_cost_usd,
        row.lost_steps as f64,
        saved.steps_s,
        saved.steps_usd,
        saved.step_cache_s,
        saved.step_cache_usd,
        saved.embeddings_s,
        saved.embeddings_usd,
        saved.drafts_s,
        saved.drafts_usd,
    ];
    (row.period, row.tenant, row.key_label, row.key_id, row.model, row.tier, sums)
}

fn worker_line(row: WorkerUsage) -> WorkerLine {
    let sums = vec![
        row.online_s,
        row.online_usd,
        row.runs as f64,
        row.videos as f64,
        row.busy_s,
        row.busy_usd,
        row.repeated_runs as f64,
        row.repeated_gpu_seconds,
        row.repeated_cost_usd,
        row.lost_steps as f64,
    ];
    (row.period, row.worker, row.model, sums)
}

impl Fixture {
    async fn usage_lines(&self, filter: UsageFilter, by: GroupBy) -> Vec<UsageLine> {
        let rows = self.store.usage(filter, by).await.expect("usage");
        rows.into_iter().map(usage_line).collect()
    }

    async fn worker_lines(&self, limit: u32, by: GroupBy) -> Vec<WorkerLine> {
        let rows = self.store.worker_usage(filter(Scope::Fleet, limit), by, true).await.expect("usage");
        rows.into_iter().map(worker_line).collect()
    }
}

async fn usage_at_once(pool: &PgPool, by: GroupBy, tenant: Option<TenantId>) -> Vec<UsageLine> {
    let range = filter(Scope::Fleet, ALL);
    sqlx::query_as(USAGE_AT_ONCE)
        .bind(range.from)
        .bind(range.to)
        .bind(by.day)
        .bind(by.month)
        .bind(by.tenant)
        .bind(by.key)
        .bind(by.model)
        .bind(by.tier)
        .bind(tenant.map(|tenant| tenant.0))
        .fetch_all(pool)
        .await
        .expect("usage")
}

async fn workers_at_once(pool: &PgPool, by: GroupBy) -> Vec<WorkerLine> {
    let range = filter(Scope::Fleet, ALL);
    sqlx::query_as(WORKERS_AT_ONCE)
        .bind(range.from)
        .bind(range.to)
        .bind(by.day)
        .bind(by.month)
        .bind(by.model)
        .fetch_all(pool)
        .await
        .expect("usage")
}

#[tokio::test]
async fn usage_of_all_tenants_is_what_one_statement_gives() {
    let f = Fixture::new().await;
    sqlx::raw_sql(USAGE).execute(&f.pool).await.expect("rows");
    for time in times() {
        for bits in 0..16 {
            let has = |bit: u32| bits & (1 << bit) != 0;
            let by = GroupBy { tenant: has(0), key: has(1), model: has(2), tier: has(3), ..time };
            let expected = usage_at_once(&f.pool, by, None).await;
            assert_eq!(f.usage_lines(filter(Scope::Fleet, ALL), by).await, expected, "{by:?}");
        }
    }
}

#[tokio::test]
async fn a_limited_report_has_the_first_rows_and_a_tenant_only_its_own() {
    let f = Fixture::new().await;
    sqlx::raw_sql(USAGE).execute(&f.pool).await.expect("rows");
    for time in times() {
        let by = GroupBy { tenant: true, key: true, model: true, tier: true, ..time };
        let mut all = usage_at_once(&f.pool, by, None).await;
        for limit in [40, 7, 1] {
            all.truncate(limit as usize);
            assert_eq!(f.usage_lines(filter(Scope::Fleet, limit), by).await, all, "{by:?}, {limit} rows");
        }
        let own = usage_at_once(&f.pool, by, Some(LARGE)).await;
        assert_eq!(f.usage_lines(filter(Scope::Tenant(LARGE), ALL), by).await, own, "{by:?}");
    }
    let (from, to) = (filter(Scope::Fleet, ALL).to, filter(Scope::Fleet, ALL).from);
    let backwards = UsageFilter { from, to, ..filter(Scope::Fleet, ALL) };
    assert!(f.usage_lines(backwards, GroupBy::default()).await.is_empty());
}

#[tokio::test]
async fn usage_of_workers_is_what_one_statement_gives() {
    let f = Fixture::new().await;
    sqlx::raw_sql(WORKERS).execute(&f.pool).await.expect("rows");
    for time in times() {
        for model in [false, true] {
            let by = GroupBy { model, ..time };
            let mut expected = workers_at_once(&f.pool, by).await;
            for limit in [ALL, 40, 7, 1] {
                expected.truncate(limit as usize);
                assert_eq!(f.worker_lines(limit, by).await, expected, "{by:?}, {limit} rows");
            }
        }
    }
}
