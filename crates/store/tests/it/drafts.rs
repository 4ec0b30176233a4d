//! Goal: a draft pauses with everything that it needs to go on, holds no worker, and leaves the pause exactly once; of
//! several candidates one goes on and the others end, in one transaction.

use domain::{Candidate, Choice, DraftSchedule, GroupId, JobId, JobStatus, Judge, StepCacheMode, StepCachePlan, Tier};
use futures::future::join_all;
use store::jobs::{CancelOutcome, Continuation, ContinueOutcome, NewJob, RetryOutcome, Scope};
use store::{Epoch, StoreError};

use crate::support::{Fixture, MODEL, POLICY, draft, draft_plan, new_job, plan, pool, record, rendered, same_plan};

#[tokio::test]
async fn a_draft_pauses_with_its_checkpoint_and_is_not_released_again() {
    let f = Fixture::new().await;
    let lease = f.running_draft(4).await;
    let ended = f.store.pause(lease, &draft(4), 2.5).await.expect("pause");
    assert_eq!((ended.status, ended.drop), (JobStatus::Drafted, None));
    assert_eq!(f.store.pause(lease, &draft(4), 2.5).await.expect("repeated").status, JobStatus::Drafted);

    let job = f.get(lease.job_id).await;
    assert_eq!((job.status, job.step, job.draft_until), (JobStatus::Drafted, 4, None));
    assert_eq!(job.draft, Some(draft(4)));
    assert_eq!(job.checkpoint.expect("it is kept").step, 4);
    assert!((job.gpu_seconds - 2.5).abs() < 1e-9);
    assert!(f.store.release(&pool(), 10, f.epoch).await.expect("release").is_empty(), "nothing waits for a worker");
    assert!(f.store.expire_leases(0.0, POLICY, 10, f.epoch).await.expect("sweep").is_empty());
    assert_eq!(f.store.backlog_count(f.scope(), 10).await.expect("count"), 1, "a draft keeps its place");
    let depth = f.store.backlog_depth().await.expect("depth");
    assert!(depth.iter().any(|level| level.status == JobStatus::Drafted && level.jobs == 1), "{depth:?}");
    let stats = f.store.stats(Scope::Fleet).await.expect("stats");
    assert_eq!((stats.drafted, stats.continued), (1, 0));
    assert!((stats.draft_gpu_seconds - 2.5).abs() < 1e-9);
}

#[tokio::test]
async fn a_run_that_has_not_stored_its_draft_or_is_no_draft_cannot_pause() {
    let f = Fixture::new().await;
    for lease in [f.running().await, f.running_draft(4).await] {
        let early = f.get(lease.job_id).await.draft_until.is_some();
        if early {
            f.store.drop_checkpoint(lease).await.expect("drop");
        }
        let refused = f.store.pause(lease, &draft(4), 1.0).await;
        assert!(matches!(refused, Err(StoreError::LeaseLost { .. })), "{refused:?}");
        assert_eq!(f.get(lease.job_id).await.status, JobStatus::Running);
    }
}

#[tokio::test]
async fn a_continued_draft_waits_again_and_completes() {
    let f = Fixture::new().await;
    let job_id = f.drafted().await;
    let schedule = DraftSchedule {
        steps: 25,
        after: 4,
        then: 50,
        step_cache: StepCachePlan { mode: StepCacheMode::Off, threshold: 0.0 },
        lower_steps: None,
    };
    let plan = domain::Plan { tier: Tier::Premium, steps: schedule.total(), continues: Some(schedule), ..plan() };
    let how = Continuation { plan: plan.clone(), ..same_plan() };
    let outcome = f.store.continue_draft(f.scope(), job_id, &how).await.expect("continue");
    assert_eq!(outcome, ContinueOutcome::Continued { others: Vec::new() });
    let again = f.store.continue_draft(f.scope(), job_id, &how).await.expect("a second time");
    assert_eq!(again, ContinueOutcome::NotDrafted(JobStatus::Queued));

    let job = f.get(job_id).await;
    assert_eq!((job.status, job.attempts_total, job.plan), (JobStatus::Queued, 0, Some(plan)));
    let released = f.store.release(&pool(), 10, f.epoch).await.expect("release");
    let claimed = f.claim(job_id, released[0].dispatch_no, 60.0).await;
    assert_eq!((claimed.job.checkpoint.map(|at| at.step), claimed.job.draft_until), (Some(4), None));
    assert!((claimed.gpu_seconds - 2.5).abs() < 1e-9, "the draft's seconds count");
    f.store.complete(claimed.lease, &rendered(claimed.lease), &record()).await.expect("complete");
    let kinds = f.event_kinds(job_id).await;
    let wanted =
        ["queued", "planned", "scheduled", "running", "drafted", "queued", "scheduled", "running", "completed"];
    assert_eq!(kinds, wanted);
    assert_eq!(f.store.stats(Scope::Fleet).await.expect("stats").continued, 1);
}

#[tokio::test]
async fn other_tenants_and_deleted_drafts_are_not_found() {
    let f = Fixture::new().await;
    let job_id = f.drafted().await;
    let stranger = Scope::Tenant(domain::TenantId::fresh());
    let outcome = f.store.continue_draft(stranger, job_id, &same_plan()).await.expect("an answer");
    assert_eq!(outcome, ContinueOutcome::NotFound);
    f.store.soft_delete(f.scope(), job_id).await.expect("delete");
    let outcome = f.store.continue_draft(f.scope(), job_id, &same_plan()).await.expect("an answer");
    assert_eq!(outcome, ContinueOutcome::NotFound);
    assert_eq!(f.get(job_id).await.status, JobStatus::Cancelled);
}

#[tokio::test]
async fn drafts_expire_and_can_be_retried_to_their_end() {
    let f = Fixture::new().await;
    let job_id = f.drafted().await;
    assert!(f.store.expire_drafts(3_600.0, 10, f.epoch).await.expect("sweep").is_empty(), "not yet");
    assert_eq!(f.store.expire_drafts(0.0, 10, f.epoch).await.expect("sweep"), [job_id]);
    assert_eq!(f.get(job_id).await.status, JobStatus::Cancelled);
    let refused = f.store.expire_drafts(0.0, 10, Epoch(f.epoch.0 + 1)).await;
    assert!(matches!(refused, Err(StoreError::NotLeader { .. })), "{refused:?}");
    assert_eq!(f.store.retry(f.scope(), job_id).await.expect("retry"), RetryOutcome::Queued);
    let job = f.get(job_id).await;
    assert_eq!((job.draft_until, job.checkpoint.map(|at| at.step)), (None, Some(4)));
}

/// Candidates of one request; the first `drafted` of them have paused.
async fn group(f: &Fixture, count: usize, drafted: usize) -> (GroupId, Vec<JobId>) {
    let group_id = GroupId::fresh();
    let jobs: Vec<NewJob> =
        (0..count).map(|_| NewJob { group_id: Some(group_id), ..new_job(f.tenant, MODEL) }).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    f.store.insert_all_or_nothing(&jobs).await.expect("insert");
    for id in ids.iter().take(drafted) {
        f.plan_all(&[*id], draft_plan(4)).await;
        let lease = f.drafting(*id, 4).await;
        f.store.pause(lease, &draft(4), 2.5).await.expect("pause");
    }
    (group_id, ids)
}

fn chosen(by: Judge, ids: &[JobId]) -> Continuation {
    let candidate = |id: &JobId| Candidate { job_id: *id, seed: 1, draft: Some(draft(4)), rank: Some(1) };
    let choice = Choice { by, candidates: ids.iter().map(candidate).collect() };
    Continuation { choice: Some(choice), ..same_plan() }
}

#[tokio::test]
async fn choosing_a_candidate_ends_the_others() {
    let f = Fixture::new().await;
    let (group_id, ids) = group(&f, 4, 2).await;
    // The third runs, the fourth waits.
    f.plan_all(&[ids[2]], draft_plan(4)).await;
    let running = f.drafting(ids[2], 3).await;
    assert!(f.store.groups_to_judge(10).await.expect("groups").is_empty(), "two candidates are still to come");

    let how = chosen(Judge::Person, &ids);
    let outcome = f.store.continue_draft(f.scope(), ids[1], &how).await.expect("choose");
    let others = vec![
        (ids[0], CancelOutcome::Cancelled),
        (ids[2], CancelOutcome::Requested),
        (ids[3], CancelOutcome::Cancelled),
    ];
    assert_eq!(outcome, ContinueOutcome::Continued { others });
    f.store.stopped(running, 1.0).await.expect("stop");
    let group = f.store.group(f.scope(), group_id).await.expect("group");
    let statuses: Vec<_> = group.iter().map(|job| job.status).collect();
    let cancelled = JobStatus::Cancelled;
    assert_eq!(statuses, [cancelled, JobStatus::Queued, cancelled, cancelled]);
    assert_eq!(group[1].choice, how.choice);
    assert!(f.store.group(Scope::Tenant(domain::TenantId::fresh()), group_id).await.expect("group").is_empty());
}

#[tokio::test]
async fn two_choices_at_once_continue_one_candidate() {
    let f = Fixture::new().await;
    for _ in 0..8 {
        let (_, ids) = group(&f, 3, 3).await;
        let how = chosen(Judge::Person, &ids);
        let choices = ids.iter().map(|id| f.store.continue_draft(f.scope(), *id, &how));
        let outcomes: Vec<_> = join_all(choices).await.into_iter().map(|made| made.expect("an answer")).collect();
        let continued = outcomes.iter().filter(|made| matches!(made, ContinueOutcome::Continued { .. })).count();
        assert_eq!(continued, 1, "{outcomes:?}");
        for id in ids {
            let status = f.get(id).await.status;
            assert!(matches!(status, JobStatus::Queued | JobStatus::Cancelled), "{status}");
        }
    }
}

#[tokio::test]
async fn the_judge_gets_complete_groups_and_must_lead() {
    let f = Fixture::new().await;
    let (group_id, ids) = group(&f, 3, 2).await;
    f.store.cancel(f.scope(), ids[2]).await.expect("cancel");
    assert_eq!(
        f.store.groups_to_judge(10).await.expect("groups"),
        [group_id],
        "a cancelled candidate is not waited for"
    );
    let mut how = chosen(Judge::Measures, &ids);
    how.epoch = Some(Epoch(f.epoch.0 + 1));
    let refused = f.store.continue_draft(Scope::Fleet, ids[0], &how).await.expect("an answer");
    assert_eq!(refused, ContinueOutcome::NotDrafted(JobStatus::Drafted));
    how.epoch = Some(f.epoch);
    let chosen = f.store.continue_draft(Scope::Fleet, ids[0], &how).await.expect("choose");
    assert!(matches!(chosen, ContinueOutcome::Continued { .. }), "{chosen:?}");
    assert!(f.store.groups_to_judge(10).await.expect("groups").is_empty(), "it is decided");
}

#[tokio::test]
async fn drafts_without_measurements_and_choices_of_people_are_left_to_people() {
    let f = Fixture::new().await;
    let (_, ids) = group(&f, 2, 1).await;
    f.plan_all(&[ids[1]], draft_plan(4)).await;
    let lease = f.drafting(ids[1], 4).await;
    let unmeasured = domain::DraftRecord { scores: None, ..draft(4) };
    f.store.pause(lease, &unmeasured, 1.0).await.expect("pause");
    assert!(f.store.groups_to_judge(10).await.expect("groups").is_empty());

    let mut request = domain::VideoRequest::new("a red ball rolls down a hill");
    request.judge = Judge::Person;
    let mut job = NewJob::new(f.tenant, request, MODEL, crate::support::shape());
    job.group_id = Some(GroupId::fresh());
    let job = f.insert(job).await;
    f.plan_all(&[job.id], draft_plan(4)).await;
    let lease = f.drafting(job.id, 4).await;
    f.store.pause(lease, &draft(4), 1.0).await.expect("pause");
    assert!(f.store.groups_to_judge(10).await.expect("groups").is_empty());
}

#[tokio::test]
async fn a_preview_is_replaced_under_the_lease_and_purged_with_the_job() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let key = |step: u32| format!("{}/{}/preview-{step}.webp", lease.job_id, lease.token);
    assert_eq!(f.store.save_preview(lease, &key(3), 3).await.expect("save"), None);
    assert_eq!(f.store.save_preview(lease, &key(3), 3).await.expect("repeated"), None);
    assert_eq!(f.store.save_preview(lease, &key(9), 9).await.expect("save"), Some(key(3)));
    let preview = f.get(lease.job_id).await.preview.expect("it is there");
    assert_eq!((preview.key, preview.step), (key(9), 9));
    f.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
    let late = f.store.save_preview(lease, &key(10), 10).await;
    assert!(matches!(late, Err(StoreError::LeaseLost { .. })), "{late:?}");
    f.store.soft_delete(f.scope(), lease.job_id).await.expect("delete");
    let purged = f.store.purge_deleted(0.0, 10).await.expect("purge");
    assert!(purged[0].objects.contains(&key(9)), "{purged:?}");
}
