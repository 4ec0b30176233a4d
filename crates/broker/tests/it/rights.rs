//! Goal: a worker's user on another machine can do what a worker does, and nothing else.
//! Method: the fleet's own user beside a user with the patterns that a joining worker gets.

use std::time::Duration;

use broker::topology::{WorkerRights, worker_rights};
use broker::{Broker, FleetEvent, JobSubmitted};
use domain::WorkerId;
use testkit::builders;
use testkit::rabbitmq::Vhost;

use crate::flow::{PATIENCE, connected, ready};

#[tokio::test]
async fn a_workers_user_can_take_work_and_publish_events_only() {
    let vhost = Vhost::create().await;
    let fleet = connected(&vhost).await;
    let WorkerRights { configure, write, read } = worker_rights();
    let worker = Broker::connect(&vhost.settings_with_rights(configure, write, read).await, "worker");
    let mut health = worker.health();
    let up = tokio::time::timeout(PATIENCE, health.wait_for(|up| *up)).await;
    up.expect("a missing right to declare does not prevent connecting").expect("the broker exists");

    // Work arrives, whichever side declared its queue.
    fleet.publish_ready(ready(1), None).await.expect("published");
    let mut consumer = worker.ready(builders::pool());
    let delivered = consumer.next().await;
    assert_eq!(delivered.ready.dispatch_no, 1);
    assert!(delivered.ack().await);
    // Both receive what either publishes.
    for (teller, listener) in [(&worker, &fleet), (&fleet, &worker)] {
        let event = FleetEvent::WorkerChanged { worker_id: WorkerId::fresh() };
        let (teller, said) = (teller.clone(), event.clone());
        // Repeated until the listener's queue exists.
        let telling = tokio::spawn(async move {
            loop {
                teller.tell(said.clone());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let heard = tokio::time::timeout(PATIENCE, listener.events().next()).await.expect("the event is received");
        telling.abort();
        assert_eq!(heard, event);
    }
    // It can neither release work nor ring or receive the scheduler's doorbell.
    worker.publish_ready(ready(2), None).await.expect_err("it may not release work");
    worker.publish_submitted(JobSubmitted { job_ids: Vec::new() }, None).await.expect_err("it may not ring the bell");
    assert!(vhost.take("submitted", 10).await.is_empty());
    assert!(vhost.take("ready.default.4g", 10).await.is_empty());
}
