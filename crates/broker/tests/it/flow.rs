//! Publishing and receiving while everything works.

use std::time::Duration;

use broker::{Broker, FleetEvent, JobReady, JobSubmitted};
use domain::{JobId, TenantId};
use testkit::builders;
use testkit::rabbitmq::Vhost;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn connected(vhost: &Vhost) -> Broker {
    let broker = Broker::connect(&vhost.settings(), "test");
    let mut health = broker.health();
    tokio::time::timeout(PATIENCE, health.wait_for(|up| *up))
        .await
        .expect("RabbitMQ is reachable")
        .expect("the broker exists");
    broker
}

pub(crate) fn ready(dispatch_no: i32) -> JobReady {
    JobReady { job_id: JobId::fresh(), dispatch_no, pool: builders::pool() }
}

#[tokio::test]
async fn declaring_everything_twice_changes_nothing() {
    let vhost = Vhost::create().await;
    let first = connected(&vhost).await;
    first.publish_ready(ready(1), None).await.expect("published");
    let mut queues = vhost.queues().await;
    queues.sort();
    assert_eq!(queues, ["dead-letter", "ready.default.4g", "submitted"]);
    let second = connected(&vhost).await;
    second.publish_ready(ready(2), None).await.expect("published");
    let mut again = vhost.queues().await;
    again.sort();
    assert_eq!(again, queues);
    let mut consumer = second.ready(builders::pool());
    for dispatch_no in 1..=2 {
        let delivered = consumer.next().await;
        assert_eq!(delivered.ready.dispatch_no, dispatch_no, "nothing was lost, and the order kept");
        assert!(delivered.ack().await);
    }
}

#[tokio::test]
async fn an_acked_message_is_gone_and_another_is_redelivered() {
    let vhost = Vhost::create().await;
    let broker = connected(&vhost).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    broker.publish_ready(ready(1), Some(trace.clone())).await.expect("published");
    broker.publish_ready(ready(2), None).await.expect("published");
    let mut consumer = broker.ready(builders::pool());
    let held = consumer.next().await;
    assert_eq!((held.ready.dispatch_no, held.traceparent.clone()), (1, Some(trace)));
    assert!(!consumer.is_consuming(), "a busy worker does not consume");
    let next = consumer.next().await;
    assert_eq!(next.ready.dispatch_no, 2, "a held message is not delivered again");
    assert!(next.ack().await && held.ack().await);
    // A worker dies with a delivery: the next worker gets it.
    broker.publish_ready(ready(3), None).await.expect("published");
    let held = consumer.next().await;
    drop((held, consumer));
    let again = broker.ready(builders::pool()).next().await;
    assert_eq!(again.ready.dispatch_no, 3);
    assert!(again.ack().await);
    assert!(vhost.take("ready.default.4g", 10).await.is_empty());
}

#[tokio::test]
async fn a_call_that_was_dropped_loses_nothing() {
    let vhost = Vhost::create().await;
    let broker = connected(&vhost).await;
    let mut consumer = broker.ready(builders::pool());
    for dispatch_no in 1..=20_i32 {
        // Dropped again and again, at whichever await it has reached.
        for polls in 0..u64::from(dispatch_no.unsigned_abs()) {
            let dropped = tokio::time::timeout(Duration::from_micros(200 * polls), consumer.next());
            assert!(dropped.await.is_err(), "there was nothing to take");
        }
        broker.publish_ready(ready(dispatch_no), None).await.expect("published");
        let taken = async {
            // Opening a consumer takes as long as RabbitMQ takes; in the end a call lives long enough.
            let mut life = Duration::from_millis(3);
            loop {
                if let Ok(delivered) = tokio::time::timeout(life, consumer.next()).await {
                    return delivered;
                }
                life *= 2;
            }
        };
        let delivered = tokio::time::timeout(PATIENCE, taken).await.expect("the message arrives");
        assert_eq!(delivered.ready.dispatch_no, dispatch_no);
        assert!(delivered.ack().await);
    }
}

#[tokio::test]
async fn the_doorbell_rings() {
    let vhost = Vhost::create().await;
    let broker = connected(&vhost).await;
    let mut doorbells = broker.doorbells();
    for _ in 0..3 {
        broker.publish_submitted(JobSubmitted { job_ids: vec![JobId::fresh()] }, None).await.expect("published");
        tokio::time::timeout(PATIENCE, doorbells.ring()).await.expect("it rings");
    }
}

#[tokio::test]
async fn events_reach_everyone_who_listens_for_them() {
    let vhost = Vhost::create().await;
    let (worker, api, other_api) = (connected(&vhost).await, connected(&vhost).await, connected(&vhost).await);
    let (mut one, mut two, mut cancels) = (api.events(), other_api.events(), worker.cancels());
    let progress = FleetEvent::Progress(builders::progress(JobId::fresh()));
    let cancel = FleetEvent::CancelRequested { job_id: JobId::fresh(), tenant_id: TenantId::DEFAULT };
    // Repeated until received, because listeners miss what was published before they listened.
    let heard = async { tokio::join!(one.next(), two.next(), cancels.next()) };
    tokio::pin!(heard);
    let (first, second, stopped) = loop {
        worker.tell(progress.clone());
        api.tell(cancel.clone());
        if let Ok(heard) = tokio::time::timeout(Duration::from_millis(100), &mut heard).await {
            break heard;
        }
    };
    assert_eq!((&first, &second, &stopped), (&progress, &progress, &cancel));
    assert_eq!(worker.dropped_tells(), 0);
}
