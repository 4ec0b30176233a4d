//! Connections that send nothing, and more connections than the server takes.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::app::TestApp;

/// It only matters if the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap()
}

/// Everything that the server sends until it closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    // A reset closes it, too.
    drop(timeout(PATIENCE, stream.read_to_end(&mut received)).await.expect("the server closes the connection"));
    String::from_utf8_lossy(&received).into_owned()
}

#[tokio::test]
async fn a_connection_without_a_complete_header_is_closed() {
    let app = TestApp::spawn_with(|settings| settings.server.header_timeout_s = 1).await;
    let (mut silent, mut half) = (connect(&app).await, connect(&app).await);
    half.write_all(b"GET /livez HTTP/1.1\r\nHost: local").await.unwrap();
    for stream in [&mut silent, &mut half] {
        assert!(!until_closed(stream).await.contains("200 OK"));
    }
    // A complete request is served as before.
    let mut whole = connect(&app).await;
    whole.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(until_closed(&mut whole).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn one_connection_too_many_gets_a_503_and_a_free_place_is_used_again() {
    let app = TestApp::spawn_with(|settings| settings.server.connections_max = 2).await;
    let held = (connect(&app).await, connect(&app).await);
    let ask = async || {
        let mut stream = connect(&app).await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        until_closed(&mut stream).await
    };
    let refused = ask().await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("server.connections_max"), "{refused}");
    assert!(refused.contains("retry-after: 1"), "{refused}");
    drop(held);
    testkit::eventually_seen("a place is free", || async {
        let answer = ask().await;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
    })
    .await;
}
