//! Responses of RabbitMQ that arrive when nothing waits for them any more.

use broker::Broker;
use settings::{BrokerSettings, SecretUrl};
use testkit::rabbitmq::Vhost;
use testkit::{Catch, Protocol, Proxy, builders};

use crate::flow::{PATIENCE, connected, ready};

/// `basic.consume` in AMQP: class 60, method 20.
const CONSUME: &str = "\0\x3C\0\x14";

/// Goal: a worker that found its job by polling while its consumer was still being opened holds no message while it works;
/// a free worker gets the message.
#[tokio::test]
async fn a_consumer_that_opens_too_late_takes_nothing() {
    let vhost = Vhost::create().await;
    let free = connected(&vhost).await;
    let proxy = Proxy::start(Protocol::Bytes, vhost.settings().url.expose());
    let url = SecretUrl::new(proxy.through(vhost.settings().url.expose()));
    let busy = Broker::connect(&BrokerSettings { url, ..vhost.settings() }, "busy");
    let mut consumer = busy.ready(builders::pool());
    proxy.arm(CONSUME, Catch::HoldReply);
    tokio::select! {
        _ = consumer.next() => panic!("nothing was published"),
        () = proxy.until_sprung() => {}
    }
    free.publish_ready(ready(1), None).await.expect("published");
    consumer.stop_consuming().await;
    assert!(consumer.take_extra().is_empty(), "nothing was delivered to it");
    proxy.release();
    let mut other = free.ready(builders::pool());
    let delivered = tokio::time::timeout(PATIENCE, other.next()).await.expect("no other worker holds the message");
    assert_eq!(delivered.ready.dispatch_no, 1);
    assert!(delivered.ack().await);
}
