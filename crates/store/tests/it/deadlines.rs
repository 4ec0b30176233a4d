//! Deadlines: their place in the queue, giving them up, and taking a slot for them.

use chrono::{TimeDelta, Utc};
use domain::{JobId, JobStatus, Plan, Stage, TenantId};
use store::deadlines::Preemption;
use store::jobs::Scope;
use store::leases::ProgressMark;

use crate::support::{Fixture, MODEL, new_job, plan, pool, record, rendered};

impl Fixture {
    /// A planned job with a deadline, `None` for one without.
    async fn due_in(&self, tenant: TenantId, deadline_s: Option<u32>) -> JobId {
        let mut job = new_job(tenant, MODEL);
        job.request.deadline_s = deadline_s;
        let id = self.insert(job).await.id;
        self.plan_all(&[id], plan()).await;
        id
    }

    async fn released(&self, limit: u32) -> Vec<JobId> {
        let released = self.store.release(&pool(), limit, self.epoch).await.expect("release");
        released.into_iter().map(|one| one.job_id).collect()
    }

    async fn count(&self, column: &str) -> i64 {
        let text = format!("SELECT sum({column})::bigint FROM stats_hourly WHERE bucket = '-infinity'");
        sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&self.pool).await.expect("count")
    }
}

#[tokio::test]
async fn feasible_deadlines_go_first_and_infeasible_ones_push_nothing_back() {
    let f = Fixture::new().await;
    let plain = f.due_in(f.tenant, None).await;
    // A run takes 10 s: this one can never be met.
    let hopeless = f.due_in(f.tenant, Some(5)).await;
    let later = f.due_in(f.tenant, Some(600)).await;
    let sooner = f.due_in(f.tenant, Some(300)).await;
    let missed = f.due_in(f.tenant, Some(60)).await;
    assert_eq!(f.store.queue_position(f.scope(), missed, 100).await.expect("position"), Some(0));
    assert_eq!(f.store.give_up_deadlines(100, f.epoch).await.expect("give up"), 0, "all can still be met");
    let too_late = "UPDATE jobs SET start_by = clock_timestamp() - interval '1 second' WHERE id = $1";
    sqlx::query(too_late).bind(missed.0).execute(&f.pool).await.expect("time passes");
    assert_eq!(f.store.give_up_deadlines(100, f.epoch).await.expect("give up"), 1);
    assert_eq!(f.store.give_up_deadlines(100, f.epoch).await.expect("give up"), 0);
    assert_eq!(f.released(10).await, [sooner, later, plain, hopeless, missed]);
}

#[tokio::test]
async fn a_deadline_takes_nothing_from_another_tenant() {
    let f = Fixture::new().await;
    let other = f.store.ensure_tenant("other").await.expect("tenant").id;
    let (mut urgent, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        urgent.push(f.due_in(f.tenant, Some(300)).await);
        plain.push(f.due_in(other, None).await);
    }
    let released = f.released(6).await;
    assert_eq!(released.iter().filter(|id| plain.contains(id)).count(), 3, "each tenant has half of the pool");
}

#[tokio::test]
async fn a_run_gives_its_slot_once_and_goes_back_without_an_attempt() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let waiting = f.due_in(f.tenant, None).await;
    assert_eq!(f.released(1).await, [waiting], "it waits for the slot");
    let urgent = f.urgent(MODEL).await;
    assert!(f.store.urgent_jobs(60.0, 10).await.expect("urgent").is_empty(), "there is time left");
    let found = f.store.urgent_jobs(120.0, 10).await.expect("urgent");
    assert_eq!((found.len(), found[0].job_id, &found[0].pool), (1, urgent, &None));

    let holders = f.store.slot_holders(&pool(), 1).await.expect("holders");
    assert!(!holders[0].may_yield, "it has no step that would be kept");
    let mark = ProgressMark { stage: Stage::Denoise, step: 5, steps_skipped: 0 };
    assert!(!f.store.progress(lease, mark).await.expect("progress").preempt_requested);
    let holders = f.store.slot_holders(&pool(), 1).await.expect("holders");
    assert!(holders[0].may_yield && (holders[0].remaining_s - 8.0).abs() < 1e-9, "{holders:?}");
    early_steps_count_less(&f, lease.job_id).await;

    let wish = Preemption {
        job_id: lease.job_id,
        token: lease.token,
        urgent,
        pool: pool(),
        displace_max: 1,
        preemptions_max: 1,
    };
    let released = f.store.preempt(&wish, f.epoch).await.expect("preempt").expect("both moved");
    assert_eq!((released.len(), released[0].job_id), (1, urgent));
    assert_eq!(f.store.preempt(&wish, f.epoch).await.expect("again"), None, "it was asked already");
    assert_eq!(f.get(waiting).await.status, JobStatus::Queued, "it makes way");
    assert!(f.store.renew(lease, 60.0).await.expect("renew").preempt_requested);

    assert_eq!(f.store.hand_back(lease, 3.0).await.expect("hand back").status, JobStatus::Queued);
    let back = f.get(lease.job_id).await;
    assert_eq!((back.status, back.attempts_total), (JobStatus::Queued, 0));
    assert_eq!((f.count("preempted").await, f.count("handed_back").await), (1, 0));
    // Its next run is not preempted, and must not be: once is the limit here.
    f.released(10).await;
    let dispatch_no = released_no(&f, lease.job_id).await;
    let again = f.claim(lease.job_id, dispatch_no, 60.0).await.lease;
    assert!(!f.store.renew(again, 60.0).await.expect("renew").preempt_requested);
    f.store.progress(again, mark).await.expect("progress");
    assert!(f.store.slot_holders(&pool(), 1).await.expect("holders").iter().all(|holder| !holder.may_yield));
}

/// Five of 25 steps are done, all of them at half the size, where a step takes a quarter of the time; ten are planned there.
async fn early_steps_count_less(f: &Fixture, job_id: JobId) {
    let set = async |plan: &str| {
        let update = format!("UPDATE jobs SET plan = {plan} WHERE id = $1");
        sqlx::query(sqlx::AssertSqlSafe(update)).bind(job_id.0).execute(&f.pool).await.expect("update");
    };
    set(r#"jsonb_set(plan, '{progressive}', '{"steps": 10, "step_share": 0.25}')"#).await;
    let holders = f.store.slot_holders(&pool(), 1).await.expect("holders");
    let left = 10.0 * (1.0 - 5.0 * 0.25 / (10.0 * 0.25 + 15.0));
    assert!((holders[0].remaining_s - left).abs() < 1e-9, "{holders:?}");
    set("plan - 'progressive'").await;
}

async fn released_no(f: &Fixture, job_id: JobId) -> i32 {
    sqlx::query_scalar("SELECT dispatch_no FROM jobs WHERE id = $1")
        .bind(job_id.0)
        .fetch_one(&f.pool)
        .await
        .expect("row")
}

#[tokio::test]
async fn a_run_that_ended_meanwhile_or_a_cancelled_job_moves_neither() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let urgent = f.urgent(MODEL).await;
    let wish = Preemption {
        job_id: lease.job_id,
        token: lease.token,
        urgent,
        pool: pool(),
        displace_max: 1,
        preemptions_max: 2,
    };
    f.store.cancel(Scope::Fleet, urgent).await.expect("cancel");
    assert_eq!(f.store.preempt(&wish, f.epoch).await.expect("refused"), None);
    assert!(!f.store.renew(lease, 60.0).await.expect("renew").preempt_requested, "nobody needs the slot");
    let other = f.urgent(MODEL).await;
    f.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
    assert_eq!(f.store.preempt(&Preemption { urgent: other, ..wish }, f.epoch).await.expect("refused"), None);
    assert_eq!(f.get(other).await.status, JobStatus::Queued);
}

#[tokio::test]
async fn deadlines_are_counted_when_the_video_is_finished() {
    let f = Fixture::new().await;
    for (deadline_s, late) in [(Some(600), false), (Some(600), true), (None, false)] {
        let job_id = f.due_in(f.tenant, deadline_s).await;
        f.released(1).await;
        let lease = f.claim(job_id, 1, 3_600.0).await.lease;
        if late {
            let passed = "UPDATE jobs SET deadline_at = clock_timestamp() - interval '1 second' WHERE id = $1";
            sqlx::query(passed).bind(job_id.0).execute(&f.pool).await.expect("time passes");
        }
        f.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
    }
    assert_eq!((f.count("deadlines_met").await, f.count("deadlines_missed").await), (1, 1));
}

#[tokio::test]
async fn the_queue_before_a_new_job_counts_what_goes_first() {
    let f = Fixture::new().await;
    for estimate_s in [10.0, 30.0] {
        let ids = [f.queued().await.id];
        f.plan_all(&ids, Plan { estimate_s, ..plan() }).await;
    }
    let ahead = f.store.queue_ahead(f.tenant, MODEL, 60.0, 100).await.expect("ahead");
    assert_eq!((ahead.jobs, ahead.mean_s, ahead.is_paused), (2, 20.0, false));
    // A deadline that places the job before the others, and another tenant with an equal share.
    assert_eq!(f.store.queue_ahead(f.tenant, MODEL, -3_600.0, 100).await.expect("ahead").jobs, 0);
    let other = f.store.ensure_tenant("other").await.expect("tenant").id;
    assert_eq!(f.store.queue_ahead(other, MODEL, 60.0, 100).await.expect("ahead").jobs, 1);
    assert_eq!(f.store.queue_ahead(other, "unknown", 60.0, 100).await.expect("ahead").jobs, 0);
    f.store.pause_queue(f.tenant, true).await.expect("pause");
    assert!(f.store.queue_ahead(f.tenant, MODEL, 60.0, 100).await.expect("ahead").is_paused);
    assert_eq!(
        f.store.queue_ahead(other, MODEL, 60.0, 100).await.expect("ahead").jobs,
        0,
        "a paused queue delays nobody"
    );
}

#[tokio::test]
async fn a_retried_job_gets_its_deadline_anew() {
    let f = Fixture::new().await;
    let job_id = f.due_in(f.tenant, Some(600)).await;
    f.store.cancel(Scope::Fleet, job_id).await.expect("cancel");
    f.store.retry(Scope::Fleet, job_id).await.expect("retry");
    let query = "SELECT start_by FROM jobs WHERE id = $1";
    let start_by: chrono::DateTime<Utc> =
        sqlx::query_scalar(query).bind(job_id.0).fetch_one(&f.pool).await.expect("row");
    let created_at = f.get(job_id).await.created_at;
    assert!(start_by >= created_at + TimeDelta::seconds(590), "{start_by} for a job of {created_at}");
}
