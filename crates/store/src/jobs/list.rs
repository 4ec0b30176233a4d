//! Pages of jobs, newest first.
//!
//! Rule: a page costs a bounded number of index entries however long the history is. Filters without an index (words of the
//! prompt, model, tier) scan at most `scan_max` jobs, so a page may be short and still have a next one.

use domain::{Job, JobId, JobStatus, Tier};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::Scope;

/// Filter of a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobFilter {
    /// Only these states; empty means all.
    pub statuses: Vec<JobStatus>,
    /// Only prompts that contain this text, ignoring case.
    pub prompt_contains: Option<String>,
    /// Only this model.
    pub model_id: Option<String>,
    /// Only this tier. The tier is decided by the plan, so this finds planned jobs only.
    pub tier: Option<Tier>,
    /// Deleted jobs instead of the others.
    pub deleted: bool,
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPage {
    /// Newest first.
    pub jobs: Vec<Job>,
    /// Start of the next page; `None` at the end.
    pub next: Option<JobId>,
}

impl Store {
    /// The page of at most `limit` jobs submitted before `before` (the `next` of the previous page). Scans at most
    /// `scan_max` jobs.
    ///
    /// # Errors
    /// The database's error.
    pub async fn list(
        &self,
        scope: Scope,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: u32,
        scan_max: u32,
    ) -> Result<JobPage> {
        let limit = limit.max(1);
        let by_index = matches!(scope, Scope::Tenant(_))
            && !filter.deleted
            && filter.prompt_contains.is_none()
            && filter.model_id.is_none()
            && filter.tier.is_none();
        // One more than a page, to find out whether there is a next one.
        let scan = if by_index { limit + 1 } else { scan_max.max(limit + 1) };
        let found = match scope {
            Scope::Tenant(tenant) => self.scan_tenant(tenant.0, filter, before, limit, scan).await?,
            Scope::Fleet => self.scan_fleet(filter, before, limit, scan).await?,
        };
        let mut ids: Vec<JobId> = found.matched.into_iter().map(JobId).collect();
        let more = ids.len() > limit as usize;
        ids.truncate(limit as usize);
        let next = match (more, found.last_scanned) {
            (true, _) => ids.last().copied(),
            (false, Some(last)) if found.scanned >= i64::from(scan) => Some(JobId(last)),
            _ => None,
        };
        Ok(JobPage { jobs: self.get_many(scope, &ids).await?, next })
    }

    async fn scan_tenant(
        &self,
        tenant: Uuid,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: u32,
        scan: u32,
    ) -> Result<Scanned> {
        let scanned = sqlx::query_as!(
            Scanned,
            r#"-- list_jobs_of_tenant
            WITH scanned AS MATERIALIZED (
                SELECT one.* FROM UNNEST($2::text[]) AS wanted (status)
                CROSS JOIN LATERAL (
                    SELECT id, prompt, model_id, tier FROM jobs
                    WHERE tenant_id = $1 AND status = wanted.status AND deleted_at IS NULL
                        AND id < COALESCE($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                    ORDER BY id DESC LIMIT $4
                ) AS one
                WHERE NOT $5
                UNION ALL
                (SELECT id, prompt, model_id, tier FROM jobs
                WHERE $5 AND tenant_id = $1 AND deleted_at IS NOT NULL AND status = ANY($2)
                    AND id < COALESCE($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                ORDER BY id DESC LIMIT $4)
                ORDER BY id DESC LIMIT $4
            )
            SELECT ARRAY(
                       SELECT id FROM scanned
                       WHERE ($6::text IS NULL OR strpos(lower(prompt), lower($6)) > 0)
                           AND ($7::text IS NULL OR model_id = $7) AND ($8::text IS NULL OR tier = $8)
                       ORDER BY id DESC LIMIT $9
                   ) AS "matched!",
                   (SELECT count(*) FROM scanned) AS "scanned!",
                   (SELECT id FROM scanned ORDER BY id LIMIT 1) AS last_scanned"#,
            tenant,
            &filter.words() as _,
            before.map(|id| id.0),
            i64::from(scan),
            filter.deleted,
            filter.prompt_contains.as_deref(),
            filter.model_id.as_deref(),
            filter.tier.map(|tier| tier.as_str()),
            i64::from(limit) + 1
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(scanned)
    }

    async fn scan_fleet(&self, filter: &JobFilter, before: Option<JobId>, limit: u32, scan: u32) -> Result<Scanned> {
        let scanned = sqlx::query_as!(
            Scanned,
            r#"-- list_jobs_of_fleet
            WITH scanned AS MATERIALIZED (
                SELECT id, prompt, model_id, tier, status, deleted_at FROM jobs
                WHERE id < COALESCE($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
                ORDER BY id DESC LIMIT $3
            )
            SELECT ARRAY(
                       SELECT id FROM scanned
                       WHERE status = ANY($1) AND (deleted_at IS NOT NULL) = $4
                           AND ($5::text IS NULL OR strpos(lower(prompt), lower($5)) > 0)
                           AND ($6::text IS NULL OR model_id = $6) AND ($7::text IS NULL OR tier = $7)
                       ORDER BY id DESC LIMIT $8
                   ) AS "matched!",
                   (SELECT count(*) FROM scanned) AS "scanned!",
                   (SELECT id FROM scanned ORDER BY id LIMIT 1) AS last_scanned"#,
            &filter.words() as _,
            before.map(|id| id.0),
            i64::from(scan),
            filter.deleted,
            filter.prompt_contains.as_deref(),
            filter.model_id.as_deref(),
            filter.tier.map(|tier| tier.as_str()),
            i64::from(limit) + 1
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(scanned)
    }
}

#[derive(Debug)]
struct Scanned {
    matched: Vec<Uuid>,
    scanned: i64,
    last_scanned: Option<Uuid>,
}

impl JobFilter {
    fn words(&self) -> Vec<&'static str> {
        let wanted = if self.statuses.is_empty() { JobStatus::ALL } else { &self.statuses };
        let mut words: Vec<_> = wanted.iter().map(|status| status.as_str()).collect();
        // A status named twice would list its jobs twice.
        words.sort_unstable();
        words.dedup();
        words
    }
}
