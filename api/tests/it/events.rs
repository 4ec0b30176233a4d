//! Event streams: replay, live events, change of replica, end of stream.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use settings::KeysMode;
use store::keys::Role;
use testkit::http_client;
use tokio::time::timeout;

use crate::app::{TestApp, answer};
use crate::auth::issue;

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
struct Received {
    event: String,
    id: Option<String>,
    data: Value,
}

/// An open stream.
struct Stream {
    body: futures::stream::BoxStream<'static, reqwest::Result<axum::body::Bytes>>,
    buffer: String,
}

/// Longest wait for an event. It only matters if the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

impl Stream {
    async fn open(url: &str, after: Option<&str>) -> Self {
        let mut request = http_client().build().unwrap().get(url);
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        Self::of(request).await
    }

    async fn of(request: RequestBuilder) -> Self {
        let response = timeout(PATIENCE, request.send()).await.expect("a response").unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.bytes_stream().boxed(), buffer: String::new() }
    }

    /// The next event; `None` at the end of the stream. Pings are left out and do not prolong the wait.
    async fn next(&mut self) -> Option<Received> {
        let reading = async {
            loop {
                let received = self.read().await;
                if received.as_ref().is_none_or(|received| received.event != "ping") {
                    return received;
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("an event or the end")
    }

    async fn read(&mut self) -> Option<Received> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let fields: BTreeMap<_, _> = block.lines().filter_map(|line| line.split_once(": ")).collect();
                let received = fields.get("event").map(|event| Received {
                    event: (*event).to_owned(),
                    id: fields.get("id").map(|id| (*id).to_owned()),
                    data: serde_json::from_str(fields["data"]).unwrap(),
                });
                self.buffer = rest.to_owned();
                match received {
                    Some(received) => return Some(received),
                    None => continue,
                }
            }
            let more = self.body.next().await?;
            self.buffer.push_str(std::str::from_utf8(&more.unwrap()).unwrap());
        }
    }

    /// Kinds of the state events up to the `ready` that ends the replay, or the end of the stream.
    async fn replay(&mut self) -> Vec<String> {
        let mut kinds = Vec::new();
        while let Some(received) = self.next().await {
            match received.event.as_str() {
                "state" => kinds.push(received.data["kind"].as_str().unwrap().to_owned()),
                "ready" => return kinds,
                _ => {}
            }
        }
        kinds
    }
}

#[tokio::test]
async fn a_job_stream_reports_every_state_and_ends_with_the_job() {
    let app = TestApp::spawn().await;
    let job = app.submit("a comet").await;
    let url = format!("{}/api/jobs/{job}/events", app.url);
    let mut stream = Stream::open(&url, None).await;
    assert_eq!(stream.replay().await, ["queued"]);
    let lease = app.claim(job).await;
    app.complete(lease, b"video").await;
    let (mut kinds, mut last) = (Vec::new(), None);
    while let Some(received) = stream.next().await {
        kinds.push(received.data["kind"].as_str().unwrap_or_default().to_owned());
        last = received.id;
    }
    assert_eq!(kinds, ["planned", "scheduled", "running", "completed"]);
    // All events were received: 204 makes the browser stop reconnecting.
    let again = http_client().build().unwrap().get(&url).header("Last-Event-ID", last.unwrap()).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
    // A client that connects later gets all events and then the end of the stream.
    assert_eq!(
        Stream::open(&url, None).await.replay().await,
        ["queued", "planned", "scheduled", "running", "completed"]
    );
}

/// Browsers hide comments from pages, and drop events without data.
#[tokio::test]
async fn a_stream_begins_with_a_ping_and_sends_more_while_it_is_silent() {
    let app = TestApp::spawn_with(|settings| settings.server.sse_keepalive_s = 1).await;
    let job = app.submit("a comet").await;
    let ping = Received { event: "ping".to_owned(), id: None, data: json!({}) };
    for (path, past) in [("/api/events".to_owned(), vec![]), (format!("/api/jobs/{job}/events"), vec!["queued"])] {
        let mut stream = Stream::open(&format!("{}{path}", app.url), None).await;
        assert_eq!(timeout(PATIENCE, stream.read()).await.expect("a ping"), Some(ping.clone()), "{path}");
        assert_eq!(stream.replay().await, past, "{path}");
        for _ in 0..2 {
            assert_eq!(timeout(PATIENCE, stream.read()).await.expect("a ping"), Some(ping.clone()), "{path}");
        }
    }
}

#[tokio::test]
async fn a_page_that_moves_between_replicas_misses_nothing_and_sees_nothing_twice() {
    let app = TestApp::spawn().await;
    let replicas = [app.url.clone(), app.replica().await];
    let mut stream = Stream::open(&format!("{}/api/events", replicas[0]), None).await;
    let ready = stream.next().await.unwrap();
    assert_eq!(ready.event, "ready");
    let mut last = ready.id.unwrap();
    let (mut submitted, mut seen) = (Vec::new(), Vec::new());
    for round in 0..6 {
        for n in 0..5 {
            submitted.push(app.submit(&format!("move {round} {n}")).await.to_string());
        }
        // Read some events, leave the rest unread, and continue at the other replica.
        for _ in 0..3 {
            let received = stream.next().await.unwrap();
            if received.event == "state" {
                seen.push(received.data["job_id"].as_str().unwrap().to_owned());
                last = received.id.unwrap();
            }
        }
        stream = Stream::open(&format!("{}/api/events", replicas[(round + 1) % 2]), Some(&last)).await;
    }
    while seen.len() < submitted.len() {
        let received = stream.next().await.unwrap();
        if received.event == "state" {
            seen.push(received.data["job_id"].as_str().unwrap().to_owned());
        }
    }
    seen.sort();
    submitted.sort();
    assert_eq!(seen, submitted);
}

#[tokio::test]
async fn progress_arrives_by_message() {
    let app = TestApp::spawn().await;
    let job = app.submit("a spark").await;
    app.claim(job).await;
    let mut stream = Stream::open(&format!("{}/api/jobs/{job}/events", app.url), None).await;
    stream.replay().await;
    let progress = testkit::builders::progress(job);
    // Progress may be lost by design, and the stream may start to receive it slightly after it opens. So it is sent repeatedly.
    let sending = async {
        loop {
            app.state.broker.tell(broker::FleetEvent::Progress(progress.clone()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let received = tokio::select! {
        received = stream.next() => received.unwrap(),
        () = sending => unreachable!(),
    };
    assert_eq!((received.event.as_str(), received.id), ("progress", None));
    assert_eq!(received.data["step"], 7);
    assert_eq!(received.data["remaining_s"], 3.5);
}

/// Another machine's user may publish events. Only progress and previews of jobs that its worker holds are shown, and only to the
/// job's owner.
#[tokio::test]
async fn messages_of_another_users_machine_are_shown_for_its_own_jobs_only() {
    let app = TestApp::spawn().await;
    let (own, others) = (app.submit("a spark").await, app.submit("a flame").await);
    let worker = app.claim_as_worker(own, testkit::builders::plan()).await.1;
    app.claim(others).await;
    let rights = broker::topology::worker_rights();
    let joined = app.vhost().settings_with_rights(rights.configure, rights.write, rights.read).await;
    let machine = broker::Broker::connect(&joined, "worker");
    app.store.set_broker_user(worker, &machine.user()).await.unwrap();
    let mut stream = Stream::open(&format!("{}/api/events", app.url), None).await;
    let progress = |job, step| domain::Progress { step, ..testkit::builders::progress(job) };
    let (default, foreign) = (domain::TenantId::DEFAULT, domain::TenantId(uuid::Uuid::from_u128(7)));
    let preview =
        |job_id, tenant_id, step| domain::Preview { job_id, tenant_id, step, steps: 25, webp: "UklGRg==".to_owned() };
    // They may be lost, so they are sent repeatedly: the forged before the true ones each time.
    let sending = async {
        loop {
            machine.tell(broker::FleetEvent::Preview(preview(own, foreign, 99)));
            for (job, step) in [(others, 99), (own, 3)] {
                machine.tell(broker::FleetEvent::Progress(progress(job, step)));
                machine.tell(broker::FleetEvent::Preview(preview(job, default, step)));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let receiving = async {
        let (mut progresses, mut previews) = (0, 0);
        while progresses < 3 || previews < 3 {
            let received = stream.next().await.unwrap();
            match received.event.as_str() {
                "progress" => progresses += 1,
                "preview" => previews += 1,
                _ => continue,
            }
            assert_eq!((&received.data["job_id"], &received.data["step"]), (&json!(own), &json!(3)), "{received:?}");
        }
    };
    tokio::select! {
        () = receiving => {}
        () = sending => unreachable!(),
    }
}

/// A stream outlives the request that opened it, so the end of its key or sign-in must end it too.
#[tokio::test]
async fn a_revoked_key_or_an_ended_sign_in_ends_its_streams() {
    let app = TestApp::spawn_with(|settings| {
        settings.server.keys = KeysMode::On;
        settings.server.key_cache_s = 1;
    })
    .await;
    let (revoked_id, revoked) = issue(&app, "red", Role::User).await;
    let (_, kept) = issue(&app, "red", Role::User).await;
    let by_key = |key: &str| app.call(Method::GET, "/api/events").bearer_auth(key);
    let (mut ending, mut going) = (Stream::of(by_key(&revoked)).await, Stream::of(by_key(&kept)).await);
    let signed_in = answer(app.call(Method::POST, "/api/session").json(&json!({"key": kept}))).await;
    let csrf = signed_in.1["csrf_token"].as_str().unwrap().to_owned();
    let mut page = Stream::of(app.call(Method::GET, "/api/events")).await;
    for stream in [&mut ending, &mut going, &mut page] {
        assert_eq!(stream.next().await.unwrap().event, "ready");
    }
    app.store.revoke_key(revoked_id).await.unwrap();
    assert!(ending.next().await.is_none(), "the stream of a revoked key ends");
    answer(app.call(Method::DELETE, "/api/session").header("X-CSRF-Token", csrf)).await;
    assert!(page.next().await.is_none(), "the stream of a page that signed out ends");
    let submit = app.call(Method::POST, "/api/generate").bearer_auth(&kept).json(&json!({"prompt": "a rose"}));
    assert_eq!(answer(submit).await.0, StatusCode::ACCEPTED);
    assert_eq!(going.next().await.unwrap().data["kind"], "queued", "the other stream of the tenant goes on");
}

#[tokio::test]
async fn a_preview_arrives_as_a_picture() {
    let app = TestApp::spawn().await;
    let job = app.submit("a spark").await;
    let mut stream = Stream::open(&format!("{}/api/jobs/{job}/events", app.url), None).await;
    stream.replay().await;
    let preview = domain::Preview {
        job_id: job,
        tenant_id: domain::TenantId::DEFAULT,
        step: 9,
        steps: 25,
        webp: "UklGRg==".to_owned(),
    };
    let other = domain::Preview { job_id: domain::JobId::fresh(), ..preview.clone() };
    // It may be lost like progress.
    let sending = async {
        loop {
            app.state.broker.tell(broker::FleetEvent::Preview(other.clone()));
            app.state.broker.tell(broker::FleetEvent::Preview(preview.clone()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let received = tokio::select! {
        received = stream.next() => received.unwrap(),
        () = sending => unreachable!(),
    };
    assert_eq!((received.event.as_str(), received.id), ("preview", None));
    assert_eq!(received.data["job_id"], json!(job));
    assert_eq!(received.data["image"], "data:image/webp;base64,UklGRg==");
}

#[tokio::test]
async fn a_wrong_last_event_id_is_named() {
    let app = TestApp::spawn().await;
    let (status, problem) = app.get("/api/events?last_event_id=yesterday").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["errors"][0]["field"], json!("Last-Event-ID"));
}

#[tokio::test]
async fn no_more_streams_than_allowed() {
    let app = TestApp::spawn_with(|settings| settings.server.sse_streams_max = 1).await;
    let url = format!("{}/api/events", app.url);
    let mut first = Stream::open(&url, None).await;
    first.next().await.unwrap();
    let second = http_client().build().unwrap().get(&url).send().await.unwrap();
    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(first);
    testkit::eventually_seen("a stream can be opened again", || async {
        let status = http_client().build().unwrap().get(&url).send().await.unwrap().status();
        if status == StatusCode::OK { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn one_tenant_leaves_streams_to_others() {
    let app = TestApp::spawn_with(|settings| {
        settings.server.keys = KeysMode::On;
        settings.server.sse_streams_max = 4;
    })
    .await;
    let (_, red) = issue(&app, "red", Role::User).await;
    let (_, blue) = issue(&app, "blue", Role::User).await;
    let open = |key: &str| app.call(Method::GET, "/api/events").bearer_auth(key);
    let _held = Stream::of(open(&red)).await;
    let refused = open(&red).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let problem: Value = refused.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("this key's tenant"), "{problem}");
    let _other = Stream::of(open(&blue)).await;
}
