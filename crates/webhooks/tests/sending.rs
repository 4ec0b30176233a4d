//! Goal: no delivery reaches an internal address, by whatever spelling or name; and what is sent does not change between
//! attempts. Method: real sockets on this machine.

use std::time::Duration;

use chrono::DateTime;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;
use webhooks::{Attempt, Guard, Message, Sender, SigningSecret};

fn message() -> Message {
    let at = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
    Message { id: Uuid::nil(), job_id: Uuid::nil(), kind: "completed".into(), detail: json!({ "steps": 25 }), at }
}

fn sender(allowed: &[&str]) -> Sender {
    let allowed: Vec<String> = allowed.iter().map(|&text| text.to_owned()).collect();
    Sender::new(Guard::new(&allowed).expect("ranges"), Duration::from_secs(20)).expect("a sender")
}

/// A receiver that gives every connection this response; returns its port and the requests that it got.
async fn receiver(response: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (out, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = vec![0; 65_536];
            let mut text = String::new();
            while !text.ends_with('}') {
                let count = socket.read(&mut bytes).await.expect("a request");
                if count == 0 {
                    break;
                }
                text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            socket.write_all(response.as_bytes()).await.expect("a response");
            drop(out.send(text));
        }
    });
    (port, requests)
}

async fn send(sender: &Sender, url: &str) -> Attempt {
    let now = DateTime::from_timestamp(1_700_000_100, 0).expect("a time");
    sender.send(url, &message(), &[SigningSecret::from_bytes(vec![7; 32])], now).await
}

#[tokio::test]
async fn internal_addresses_are_refused_in_every_spelling_and_by_name() {
    let (port, mut requests) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let sender = sender(&[]);
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0x7f000001",
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "0.0.0.0",
    ] {
        let attempt = send(&sender, &format!("http://{host}:{port}/hook")).await;
        let Attempt::Failed(reason) = attempt else { panic!("{host}: {attempt:?}") };
        assert!(reason.contains("internal address"), "{host}: {reason}");
    }
    assert!(requests.try_recv().is_err(), "nothing was sent");
}

#[tokio::test]
async fn an_allowed_receiver_gets_the_headers_of_the_standard() {
    let (port, mut requests) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let sender = sender(&["127.0.0.0/8", "::1"]);
    assert_eq!(send(&sender, &format!("http://localhost:{port}/hook?x=1")).await, Attempt::Delivered(204));
    let request = requests.recv().await.expect("a request");
    let signature =
        SigningSecret::from_bytes(vec![7; 32]).sign(&Uuid::nil().to_string(), 1_700_000_100, &message().body());
    for part in [
        "POST /hook?x=1 HTTP/1.1",
        "webhook-id: 00000000-0000-0000-0000-000000000000",
        "webhook-timestamp: 1700000100",
        &format!("webhook-signature: {signature}"),
        "\"type\":\"job.completed\"",
    ] {
        assert!(request.contains(part), "{part} is missing: {request}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed_and_refusals_keep_their_meaning() {
    let (inner, mut reached) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{inner}/\r\ncontent-length: 0\r\n\r\n");
    let (port, _requests) = receiver(Box::leak(redirect.into_boxed_str())).await;
    let sender = sender(&["127.0.0.0/8"]);
    let url = |port: u16| format!("http://127.0.0.1:{port}/");
    assert_eq!(send(&sender, &url(port)).await, Attempt::Refused { status: 302, wait: None });
    assert!(reached.try_recv().is_err());
    let (port, _requests) = receiver("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(send(&sender, &url(port)).await, Attempt::Refused { status: 503, wait: Some(Duration::from_secs(7)) });
    let (port, _requests) = receiver("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(send(&sender, &url(port)).await, Attempt::Gone);
}
