//! How long a job waited before each of its runs.

use domain::LeaseToken;
use store::Lease;

use crate::support::{Fixture, pool};

#[tokio::test]
async fn the_wait_of_each_run_begins_where_the_one_before_ended() {
    let f = Fixture::new().await;
    let (job_id, first) = f.scheduled().await;
    // A release that is taken back is the same wait.
    assert!(f.store.unrelease(job_id, first).await.expect("unrelease"));
    let released = f.store.release(&pool(), 1, f.epoch).await.expect("release");
    let lease = f.claim(job_id, released[0].dispatch_no, 60.0).await.lease;
    let wait = f.store.queue_wait(lease).await.expect("read").expect("it holds the lease");
    assert_eq!(wait.queued_at, f.get(job_id).await.created_at);
    let released_at = wait.released_at.expect("released");
    assert!(wait.queued_at < released_at && released_at < wait.claimed_at, "{wait:?}");

    f.store.hand_back(lease, 1.0).await.expect("hand back");
    assert_eq!(f.store.queue_wait(lease).await.expect("read"), None, "the lease has ended");
    let released = f.store.release(&pool(), 1, f.epoch).await.expect("release");
    let lease = f.claim(job_id, released[0].dispatch_no, 60.0).await.lease;
    let again = f.store.queue_wait(lease).await.expect("read").expect("it holds the lease");
    assert!(again.queued_at > wait.claimed_at && again.claimed_at > again.queued_at, "{wait:?} {again:?}");
    let other = Lease { job_id, token: LeaseToken::fresh() };
    assert_eq!(f.store.queue_wait(other).await.expect("read"), None);
}
