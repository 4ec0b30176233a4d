//! RabbitMQ misbehaves: the connection is killed, queues vanish, publishers are blocked, messages cannot be read.

use std::time::Duration;

use broker::{Broker, BrokerError, JobSubmitted};
use domain::JobId;
use serde_json::json;
use testkit::rabbitmq::Vhost;
use testkit::{PrivateStack, builders, eventually};

use crate::flow::{PATIENCE, connected, ready};

async fn kill(vhost: &Vhost, broker: &Broker) {
    let mut health = broker.health();
    // The management API lists a connection only some seconds after it was opened.
    eventually("the connection can be killed", PATIENCE, || async {
        (vhost.kill_connections().await > 0).then_some(())
    })
    .await;
    tokio::time::timeout(PATIENCE, health.wait_for(|up| !*up))
        .await
        .expect("it is noticed")
        .expect("the broker exists");
    tokio::time::timeout(PATIENCE, health.wait_for(|up| *up)).await.expect("it reconnects").expect("the broker exists");
}

#[tokio::test]
async fn a_killed_connection_comes_back_with_all_its_listeners() {
    let vhost = Vhost::create().await;
    let broker = connected(&vhost).await;
    broker.publish_ready(ready(1), None).await.expect("published");
    let mut consumer = broker.ready(builders::pool());
    let held = consumer.next().await;
    kill(&vhost, &broker).await;
    assert!(!held.ack().await, "the message went back with the connection");
    let again = consumer.next().await;
    assert_eq!(again.ready.dispatch_no, 1);
    assert!(again.ack().await);

    let mut doorbells = broker.doorbells();
    broker
        .publish_submitted(JobSubmitted { job_ids: Vec::new() }, None)
        .await
        .expect("published on the new connection");
    tokio::time::timeout(PATIENCE, doorbells.ring()).await.expect("it rings");
}

#[tokio::test]
async fn a_message_that_no_queue_accepts_is_an_error() {
    let vhost = Vhost::create().await;
    let broker = connected(&vhost).await;
    vhost.delete("submitted").await;
    let error = broker.publish_submitted(JobSubmitted { job_ids: Vec::new() }, None).await.expect_err("no queue");
    assert!(matches!(&error, BrokerError::Unroutable { routing_key } if routing_key == "submitted"), "{error}");
}

#[tokio::test]
async fn a_deleted_ready_queue_is_declared_again_by_both_sides() {
    let vhost = Vhost::create().await;
    let broker = connected(&vhost).await;
    let mut consumer = broker.ready(builders::pool());
    for dispatch_no in 1..=3 {
        broker.publish_ready(ready(dispatch_no), None).await.expect("published");
        let delivered = consumer.next().await;
        assert_eq!(delivered.ready.dispatch_no, dispatch_no);
        assert!(delivered.ack().await);
        vhost.delete("ready.default.4g").await;
    }
}

#[tokio::test]
async fn a_queue_of_another_shape_is_an_error_until_it_is_deleted() {
    let vhost = Vhost::create().await;
    let broker = connected(&vhost).await;
    vhost.declare("ready.default.4g", json!({"x-queue-type": "classic"})).await;
    // RabbitMQ refuses our declaration with 406 and closes the channel.
    let error = broker.publish_ready(ready(1), None).await.expect_err("another shape");
    assert!(matches!(error, BrokerError::Client(_)), "{error}");
    let mut consumer = broker.ready(builders::pool());
    let waiting = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await;
    assert!(waiting.is_err(), "there is nothing to take");
    assert!(broker.is_connected(), "the connection was never at fault");
    vhost.delete("ready.default.4g").await;
    broker.publish_ready(ready(2), None).await.expect("published");
    let delivered = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("it consumes");
    assert_eq!(delivered.ready.dispatch_no, 2);
    assert!(delivered.ack().await);
}

#[tokio::test]
async fn an_unreadable_message_is_dead_lettered_and_counted() {
    let vhost = Vhost::create().await;
    let broker = connected(&vhost).await;
    broker.publish_ready(ready(1), None).await.expect("published");
    let mut consumer = broker.ready(builders::pool());
    assert!(consumer.next().await.ack().await);
    let of_newer_release = json!({"v": 2, "type": "job.ready", "anything": true}).to_string();
    let bad = ["not json", of_newer_release.as_str(), "{\"v\":1,\"type\":\"job.gone\"}"];
    for payload in bad {
        assert!(vhost.publish_raw("fleet.work", "ready.default.4g", payload).await);
    }
    broker.publish_ready(ready(2), None).await.expect("published");
    let good = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("it gets past them");
    assert_eq!(good.ready.dispatch_no, 2);
    assert!(good.ack().await);
    assert_eq!(broker.unreadable(), 3);
    assert_eq!(broker.dead_letters().await.expect("counted"), 3);
    let dead = vhost.take("dead-letter", 10).await;
    let payloads: Vec<_> = dead.iter().map(|(payload, _)| payload.as_str()).collect();
    assert_eq!(payloads, bad);
    assert!(dead[1].1["x-fleet-reason"].as_str().expect("a reason").contains("version 2"), "{dead:?}");

    assert!(vhost.publish_raw("fleet.work", "submitted", "not json").await);
    // The listener may be dropped before the message is dead-lettered.
    tokio::time::timeout(PATIENCE, broker.doorbells().ring()).await.expect("it rings all the same");
    let buried = || async { vhost.take("dead-letter", 10).await.first().map(|(payload, _)| payload.clone()) };
    assert_eq!(eventually("the bell is in the dead-letter queue", PATIENCE, buried).await, "not json");
    assert_eq!(broker.unreadable(), 4);
}

#[tokio::test]
async fn an_oversized_message_is_neither_sent_nor_read() {
    let vhost = Vhost::create().await;
    let mut settings = vhost.settings();
    settings.message_max_bytes = 400;
    let broker = Broker::connect(&settings, "test");
    let small = || async { broker.publish_ready(ready(1), None).await.ok() };
    eventually("connected", PATIENCE, small).await;
    let many = JobSubmitted { job_ids: (0..100).map(|_| JobId::fresh()).collect() };
    let error = broker.publish_submitted(many, None).await.expect_err("too large");
    assert!(matches!(error, BrokerError::Message(_)), "{error}");
    assert!(vhost.publish_raw("fleet.work", "ready.default.4g", &"x".repeat(5_000)).await);
    broker.publish_ready(ready(2), None).await.expect("published");
    let mut consumer = broker.ready(builders::pool());
    for dispatch_no in 1..=2 {
        let delivered = consumer.next().await;
        assert_eq!(delivered.ready.dispatch_no, dispatch_no);
        assert!(delivered.ack().await);
    }
    assert_eq!(broker.unreadable(), 1);
}

/// RabbitMQ is frozen in the middle of a publish and resumes later, as when its host was paused: all users are back on one
/// connection, whatever was tried meanwhile. Then it is frozen again and dies.
#[tokio::test]
async fn a_frozen_rabbitmq_is_used_again_when_it_wakes_up_and_given_up_when_it_dies() {
    let mut stack = PrivateStack::only(&["rabbitmq"]);
    let vhost = Vhost::create_on(&stack.services).await;
    let mut settings = vhost.settings();
    (settings.publish_timeout_ms, settings.rpc_timeout_ms, settings.connect_timeout_ms) = (300, 600, 600);
    let broker = Broker::connect(&settings, "test");
    eventually("connected", PATIENCE, || async { broker.publish_ready(ready(1), None).await.ok() }).await;
    let mut consumer = broker.ready(builders::pool());
    assert!(consumer.next().await.ack().await);
    let (mut doorbells, mut events) = (broker.doorbells(), broker.events());
    let frozen = async {
        stack.pause("rabbitmq");
        let mut health = broker.health();
        while *health.borrow_and_update() {
            let error = broker.publish_ready(ready(2), None).await.expect_err("nothing confirms");
            assert!(matches!(error, BrokerError::Timeout { .. } | BrokerError::NotConnected), "{error}");
        }
        // Several connection attempts meet the frozen server; it responds to all of them when it resumes.
        for _ in 0..4 {
            let error = broker.publish_ready(ready(2), None).await.expect_err("not connected");
            assert!(matches!(error, BrokerError::NotConnected), "{error}");
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        stack.resume("rabbitmq");
    };
    tokio::select! {
        () = frozen => {}
        () = doorbells.ring() => panic!("no bell was rung"),
        event = events.next() => panic!("no event was published: {event:?}"),
    }
    eventually("publishing comes back", PATIENCE, || async { broker.publish_ready(ready(3), None).await.ok() }).await;
    // A message published during the freeze may or may not have arrived.
    let again = async {
        loop {
            let delivered = consumer.next().await;
            let number = delivered.ready.dispatch_no;
            assert!(delivered.ack().await);
            if number == 3 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the consumer is back");
    let ring = async {
        let submitted = JobSubmitted { job_ids: Vec::new() };
        broker.publish_submitted(submitted, None).await.expect("published");
        doorbells.ring().await;
    };
    tokio::time::timeout(PATIENCE, ring).await.expect("the doorbell is back");
    let heard = async {
        loop {
            broker.tell(broker::FleetEvent::Progress(builders::progress(JobId::fresh())));
            if tokio::time::timeout(Duration::from_millis(200), events.next()).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("events are back");
    eventually("one connection is left", PATIENCE, || async { (vhost.connections().await == 1).then_some(()) }).await;

    // As under a disk or memory alarm, the connection stays open and no confirm arrives.
    stack.pause("rabbitmq");
    let error = broker.publish_ready(ready(4), None).await.expect_err("nothing confirms");
    assert!(matches!(error, BrokerError::Timeout { .. }), "{error}");
    broker.tell(broker::FleetEvent::Progress(builders::progress(JobId::fresh())));
    stack.kill("rabbitmq");
    let mut health = broker.health();
    health.wait_for(|up| !*up).await.expect("the broker exists");
    let error = broker.publish_ready(ready(5), None).await.expect_err("not connected");
    assert!(matches!(error, BrokerError::NotConnected), "{error}");
}
