//! Pages of jobs, oldest first. Only whole lists: filters are for the newest jobs ([`Store::list`]).
//!
//! [`Store::list`]: crate::Store::list

use domain::{JobId, JobStatus};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::{JobPage, Scope};

impl Store {
    /// The page of at most `limit` jobs that were submitted after `after`, without deleted ones. Scans at most `scan_max`
    /// jobs, so a page may be short and still have a next one.
    ///
    /// # Errors
    /// The database's error.
    pub async fn list_oldest_first(
        &self,
        scope: Scope,
        after: Option<JobId>,
        limit: u32,
        scan_max: u32,
    ) -> Result<JobPage> {
        let limit = limit.max(1);
        let (mut ids, last_scanned) = match scope {
            Scope::Tenant(tenant) => (self.oldest_of_tenant(tenant.0, after, limit).await?, None),
            Scope::Fleet => self.oldest_of_fleet(after, limit, scan_max.max(limit + 1)).await?,
        };
        let more = ids.len() > limit as usize;
        ids.truncate(limit as usize);
        let next = if more { ids.last().copied() } else { last_scanned };
        Ok(JobPage { jobs: self.get_many(scope, &ids).await?, next })
    }

    /// One more id than `limit`, to find out whether there is a next page.
    async fn oldest_of_tenant(&self, tenant: Uuid, after: Option<JobId>, limit: u32) -> Result<Vec<JobId>> {
        let words: Vec<&str> = JobStatus::ALL.iter().map(|status| status.as_str()).collect();
        let ids = sqlx::query_scalar!(
            r#"-- list_jobs_of_tenant_oldest_first
            SELECT one.id AS "id!" FROM UNNEST($2::text[]) AS wanted (status)
            CROSS JOIN LATERAL (
                SELECT id FROM jobs
                WHERE tenant_id = $1 AND status = wanted.status AND deleted_at IS NULL
                    AND id > COALESCE($3, '00000000-0000-0000-0000-000000000000'::uuid)
                ORDER BY id LIMIT $4
            ) AS one
            ORDER BY one.id LIMIT $4"#,
            tenant,
            &words as _,
            after.map(|id| id.0),
            i64::from(limit) + 1
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(JobId).collect())
    }

    /// The same for all tenants; also the last job that was examined if there may be more behind it.
    async fn oldest_of_fleet(
        &self,
        after: Option<JobId>,
        limit: u32,
        scan: u32,
    ) -> Result<(Vec<JobId>, Option<JobId>)> {
        let found = sqlx::query!(
            r#"-- list_jobs_of_fleet_oldest_first
            WITH scanned AS MATERIALIZED (
                SELECT id, deleted_at FROM jobs
                WHERE id > COALESCE($1, '00000000-0000-0000-0000-000000000000'::uuid)
                ORDER BY id LIMIT $2
            )
            SELECT ARRAY(SELECT id FROM scanned WHERE deleted_at IS NULL ORDER BY id LIMIT $3) AS "matched!",
                   (SELECT count(*) FROM scanned) AS "scanned!",
                   (SELECT id FROM scanned ORDER BY id DESC LIMIT 1) AS last_scanned"#,
            after.map(|id| id.0),
            i64::from(scan),
            i64::from(limit) + 1
        )
        .fetch_one(&self.pool)
        .await?;
        let last = found.last_scanned.filter(|_| found.scanned >= i64::from(scan));
        Ok((found.matched.into_iter().map(JobId).collect(), last.map(JobId)))
    }
}
