//! Goal: the outbox holds exactly what the filters ask for, and is sent in order, by one process at a time.
//! Method: real transitions, and several senders on one database.

use std::time::Duration;

use domain::{JobEventKind, JobId, KeyId, TenantId, VideoRequest};
use store::jobs::{NewJob, Scope};
use store::webhooks::{ClaimedDelivery, DeliveryFilter, DeliveryOutcome, DeliveryState, NewEndpoint, RetrySchedule};
use uuid::Uuid;

use crate::support::{Fixture, MODEL, new_job, shape};

const RETRIES: RetrySchedule = RetrySchedule { backoff_s: 0.0, backoff_max_s: 0.0, give_up_s: 60.0 };

fn hooked(url: &str, events: Option<&str>) -> NewJob {
    let mut request = VideoRequest::new("a red ball");
    request.webhook = Some(url.to_owned());
    request.webhook_events = events.map(str::to_owned);
    NewJob::new(TenantId::DEFAULT, request, MODEL, shape())
}

async fn endpoint(f: &Fixture, tenant_id: TenantId, url: &str, events: &[JobEventKind]) -> Uuid {
    let endpoint = NewEndpoint { tenant_id, url: url.to_owned(), events: events.to_vec(), key_id: None };
    f.store.put_webhook(&endpoint).await.expect("put").id
}

/// Kinds of a receiver's deliveries, oldest first.
async fn outbox(f: &Fixture, url: &str) -> Vec<String> {
    let all = f.store.deliveries(Scope::Fleet, DeliveryFilter::default(), 100).await.expect("log");
    all.into_iter().rev().filter(|delivery| delivery.url == url).map(|delivery| delivery.kind).collect()
}

async fn claim(f: &Fixture, token: Uuid, lease_s: f64) -> Vec<ClaimedDelivery> {
    f.store.claim_deliveries(token, lease_s, 10, 4, 10).await.expect("claim")
}

async fn end(f: &Fixture, delivery: &ClaimedDelivery, token: Uuid, outcome: DeliveryOutcome) -> bool {
    f.store.end_attempt(delivery.id, token, &outcome, RETRIES).await.expect("end")
}

fn again(wait: Option<Duration>) -> DeliveryOutcome {
    DeliveryOutcome::Again { status: Some(500), error: "it responded with 500".into(), wait }
}

const DELIVERED: DeliveryOutcome = DeliveryOutcome::Delivered { status: 204 };

#[tokio::test]
async fn the_webhook_of_a_key_is_about_the_jobs_of_that_key() {
    let f = Fixture::new().await;
    let (own, other) = (KeyId::fresh(), KeyId::fresh());
    let new = NewEndpoint {
        tenant_id: f.tenant,
        url: "https://key".into(),
        events: vec![JobEventKind::Queued],
        key_id: Some(own),
    };
    assert_eq!(f.store.put_webhook(&new).await.expect("put").key_id, Some(own));
    for key_id in [None, Some(other), Some(own)] {
        f.insert(NewJob { key_id, ..new_job(f.tenant, MODEL) }).await;
    }
    assert_eq!(outbox(&f, "https://key").await, ["queued"]);
    f.store.put_webhook(&NewEndpoint { key_id: None, ..new }).await.expect("put");
    f.insert(new_job(f.tenant, MODEL)).await;
    assert_eq!(outbox(&f, "https://key").await, ["queued", "queued"]);
}

#[tokio::test]
async fn the_outbox_holds_what_the_filters_ask_for() {
    let f = Fixture::new().await;
    let other = f.store.ensure_tenant("other").await.expect("a tenant").id;
    endpoint(&f, f.tenant, "https://all", &[JobEventKind::Queued, JobEventKind::Cancelled]).await;
    endpoint(&f, other, "https://others", &[JobEventKind::Queued]).await;
    let own = f.insert(hooked("https://own", Some("queued , cancelled"))).await;
    let plain = f.insert(hooked("https://default", None)).await;
    for job in [own.id, plain.id] {
        f.store.cancel(f.scope(), job).await.expect("cancel");
    }
    f.insert(new_job(f.tenant, MODEL)).await;
    assert_eq!(outbox(&f, "https://own").await, ["queued", "cancelled"]);
    assert_eq!(outbox(&f, "https://default").await, ["cancelled"], "by default the ends");
    assert_eq!(outbox(&f, "https://all").await, ["queued", "queued", "cancelled", "cancelled", "queued"]);
    assert_eq!(outbox(&f, "https://others").await, [""; 0], "another tenant's jobs");
    let seen = f.store.deliveries(Scope::Tenant(other), DeliveryFilter::default(), 100).await.expect("log");
    assert_eq!(seen, []);
}

#[tokio::test]
async fn an_event_that_is_rolled_back_leaves_no_delivery() {
    let f = Fixture::new().await;
    let jobs = [hooked("https://x", Some("queued")), hooked("https://x", Some("queued"))];
    let mut transaction = f.pool.begin().await.expect("begin");
    sqlx::query("INSERT INTO job_events (job_id, tenant_id, kind) VALUES ($1, $2, 'queued')")
        .bind(jobs[0].id.0)
        .bind(f.tenant.0)
        .execute(&mut *transaction)
        .await
        .expect("insert");
    transaction.rollback().await.expect("roll back");
    assert_eq!(outbox(&f, "https://x").await, [""; 0]);
    f.store.insert_all_or_nothing(&jobs).await.expect("insert");
    assert_eq!(outbox(&f, "https://x").await, ["queued", "queued"], "one statement, two events");
}

#[tokio::test]
async fn a_jobs_events_are_sent_one_after_the_other() {
    let f = Fixture::new().await;
    let job = f.insert(hooked("https://x", Some("queued,cancelled"))).await;
    f.store.cancel(f.scope(), job.id).await.expect("cancel");
    let token = Uuid::new_v4();
    let first = claim(&f, token, 60.0).await;
    assert_eq!(first.iter().map(|delivery| delivery.kind.as_str()).collect::<Vec<_>>(), ["queued"]);
    assert_eq!(claim(&f, Uuid::new_v4(), 60.0).await, [], "nothing else is due while it is being sent");
    assert!(end(&f, &first[0], token, again(None)).await);
    let token = Uuid::new_v4();
    let second = claim(&f, token, 60.0).await;
    assert_eq!((second[0].id, second[0].attempts), (first[0].id, 2), "the same one again");
    assert!(end(&f, &second[0], token, DELIVERED).await);
    assert_eq!(claim(&f, token, 60.0).await[0].kind, "cancelled");
}

#[tokio::test]
async fn a_sender_that_lost_its_lease_changes_nothing() {
    let f = Fixture::new().await;
    f.insert(hooked("https://x", Some("queued"))).await;
    let (dead, alive) = (Uuid::new_v4(), Uuid::new_v4());
    let taken = claim(&f, dead, 0.0).await;
    let again = claim(&f, alive, 60.0).await;
    assert_eq!(taken[0].id, again[0].id, "its lease has expired");
    assert!(!end(&f, &taken[0], dead, DELIVERED).await);
    assert!(end(&f, &again[0], alive, DELIVERED).await);
}

#[tokio::test]
async fn waiting_is_honoured_and_ends() {
    let f = Fixture::new().await;
    f.insert(hooked("https://x", Some("queued"))).await;
    let token = Uuid::new_v4();
    let taken = claim(&f, token, 60.0).await;
    let patient = RetrySchedule { backoff_s: 1.0, backoff_max_s: 600.0, give_up_s: 86_400.0 };
    let wait = again(Some(Duration::from_secs(500)));
    assert!(f.store.end_attempt(taken[0].id, token, &wait, patient).await.expect("end"));
    assert_eq!(claim(&f, token, 60.0).await, [], "it is not due yet");
    assert!(f.store.redeliver(f.scope(), taken[0].id).await.expect("redeliver"));
    let taken = claim(&f, token, 60.0).await;
    let hasty = RetrySchedule { give_up_s: 0.0, ..patient };
    assert!(f.store.end_attempt(taken[0].id, token, &again(None), hasty).await.expect("end"));
    let failed = DeliveryFilter { state: Some(DeliveryState::Failed), ..DeliveryFilter::default() };
    let log = f.store.deliveries(f.scope(), failed, 10).await.expect("log");
    assert_eq!((log[0].id, log[0].last_status), (taken[0].id, Some(500)), "given up");
    assert!(f.store.redeliver(f.scope(), taken[0].id).await.expect("redeliver"));
    assert_eq!(claim(&f, token, 60.0).await[0].id, taken[0].id, "its owner asked for another attempt");
    let stranger = Scope::Tenant(TenantId::fresh());
    assert!(!f.store.redeliver(stranger, taken[0].id).await.expect("redeliver"));
}

#[tokio::test]
async fn a_slow_receiver_leaves_room_for_the_others() {
    let f = Fixture::new().await;
    for _ in 0..8 {
        f.insert(hooked("https://slow", Some("queued"))).await;
    }
    f.insert(hooked("https://quick", Some("queued"))).await;
    let urls = |claimed: Vec<ClaimedDelivery>| claimed.into_iter().filter(|one| one.url == "https://slow").count();
    let first = claim(&f, Uuid::new_v4(), 60.0).await;
    assert_eq!((first.len(), urls(first)), (5, 4));
    assert_eq!(claim(&f, Uuid::new_v4(), 60.0).await, [], "those being sent count");
}

#[tokio::test]
async fn a_tenant_with_many_slow_receivers_leaves_room_for_the_others() {
    let f = Fixture::new().await;
    for n in 0..12 {
        f.insert(hooked(&format!("https://slow/{n}"), Some("queued"))).await;
    }
    let other = f.store.ensure_tenant("other").await.expect("tenant").id;
    f.insert(NewJob { tenant_id: other, ..hooked("https://quick", Some("queued")) }).await;
    let claim = async |limit: u32| {
        let claimed = f.store.claim_deliveries(Uuid::new_v4(), 60.0, limit, 4, 5).await.expect("claim");
        (claimed.len(), claimed.iter().filter(|one| one.tenant_id == other).count())
    };
    assert_eq!(claim(2).await, (2, 1), "tenants take turns");
    assert_eq!(claim(10).await, (4, 0), "those being sent count");
    assert_eq!(claim(10).await, (0, 0));
}

#[tokio::test]
async fn gone_disables_the_endpoint_until_it_is_put_again() {
    let f = Fixture::new().await;
    let id = endpoint(&f, f.tenant, "https://x", &[JobEventKind::Queued]).await;
    f.queued().await;
    let token = Uuid::new_v4();
    let taken = claim(&f, token, 60.0).await;
    assert!(end(&f, &taken[0], token, DeliveryOutcome::Gone).await);
    assert!(f.store.webhooks(f.tenant).await.expect("list")[0].disabled_at.is_some());
    f.queued().await;
    assert_eq!(outbox(&f, "https://x").await.len(), 1, "nothing new while disabled");
    assert_eq!(endpoint(&f, f.tenant, "https://x", &[JobEventKind::Queued]).await, id);
    f.queued().await;
    assert_eq!(outbox(&f, "https://x").await.len(), 2);
    assert!(f.store.delete_webhook(f.tenant, id).await.expect("delete"));
    assert_eq!(claim(&f, token, 60.0).await, [], "its deliveries are dropped");
}

#[tokio::test]
async fn secrets_overlap_after_a_rotation() {
    let f = Fixture::new().await;
    assert_eq!(f.store.webhook_secret(f.tenant, b"one").await.expect("secret").current, b"one");
    assert_eq!(f.store.webhook_secret(f.tenant, b"two").await.expect("secret").current, b"one", "the first stays");
    let rotated = f.store.rotate_webhook_secret(f.tenant, b"two", 60.0).await.expect("rotate");
    assert_eq!(
        (rotated.current.as_slice(), rotated.previous.map(|(old, _)| old)),
        (b"two".as_slice(), Some(b"one".to_vec()))
    );
}

#[tokio::test]
async fn ended_deliveries_leave_the_log_after_their_time() {
    let f = Fixture::new().await;
    let job: JobId = f.insert(hooked("https://x", Some("queued,cancelled"))).await.id;
    f.store.cancel(f.scope(), job).await.expect("cancel");
    let token = Uuid::new_v4();
    let taken = claim(&f, token, 60.0).await;
    assert!(end(&f, &taken[0], token, DELIVERED).await);
    assert_eq!(f.store.purge_deliveries(3_600.0, 10).await.expect("purge"), 0);
    assert_eq!(f.store.purge_deliveries(0.0, 10).await.expect("purge"), 1);
    assert_eq!(outbox(&f, "https://x").await, ["cancelled"], "what is to be sent stays");
}
