//! A real nginx in front of the API, with the headers that docs/operations.md names and with nginx's own defaults.

use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::{Nginx, http_client};

use crate::app::{TestApp, answer};

/// The directives in docs/operations.md.
fn documented() -> String {
    let text = std::fs::read_to_string(testkit::repository().join("docs/operations.md")).unwrap();
    let (_, block) = text.split_once("<!-- nginx -->\n```nginx\n").expect("the document names the directives");
    let (block, _) = block.split_once("```").unwrap();
    let ours = |line: &&str| line.trim_start().starts_with("proxy_") && !line.contains("proxy_pass");
    block.lines().filter(ours).map(|line| format!("{line}\n")).collect()
}

/// What a page sends that was loaded through the proxy as `fleet.example`, by a browser that has no `Sec-Fetch-Site`.
async fn submit(proxy: &Nginx, more: &[(&str, &str)]) -> (StatusCode, Value) {
    let request = http_client().build().unwrap().post(format!("{}/api/generate", proxy.url()));
    let request = request.header("Host", "fleet.example").header("Origin", "https://fleet.example");
    let request = more.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    answer(request.json(&json!({"prompt": "a rose"}))).await
}

async fn app(trusted: &[&str]) -> TestApp {
    TestApp::spawn_with(|settings| {
        settings.server.hosts = vec!["fleet.example".to_owned()];
        settings.server.trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
    })
    .await
}

#[tokio::test]
async fn the_page_works_behind_nginx_with_the_documented_headers() {
    let app = app(&[]).await;
    let nginx = Nginx::start(&app.url, &documented());
    nginx.until_ready().await;
    let (status, job) = submit(&nginx, &[]).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
}

#[tokio::test]
async fn forwarded_headers_count_only_from_a_trusted_proxy() {
    let forwarding = "proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Proto https;";
    let trusting = app(&["127.0.0.0/8"]).await;
    let nginx = Nginx::start(&trusting.url, forwarding);
    nginx.until_ready().await;
    let (status, job) = submit(&nginx, &[]).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");

    // The same headers, sent by a client itself or by a proxy that nobody trusts, change nothing.
    let wary = app(&["192.0.2.0/24"]).await;
    let nginx = Nginx::start(&wary.url, forwarding);
    nginx.until_ready().await;
    let (status, problem) = submit(&nginx, &[]).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    let plain = Nginx::start(&wary.url, "");
    plain.until_ready().await;
    let (status, problem) = submit(&plain, &[("X-Forwarded-Host", "fleet.example")]).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
}

#[tokio::test]
async fn pages_of_other_sites_need_the_setting() {
    let ask = |app: &TestApp, origin: &'static str| {
        let call = app.call(reqwest::Method::OPTIONS, "/api/generate").header("Origin", origin);
        call.header("Access-Control-Request-Method", "POST").send()
    };
    let closed = TestApp::spawn().await;
    let answered = ask(&closed, "https://studio.example").await.unwrap();
    assert!(!answered.headers().contains_key("access-control-allow-origin"));

    let open = TestApp::spawn_with(|settings| {
        settings.server.cors_origins = vec!["https://studio.example".to_owned()];
    })
    .await;
    let answered = ask(&open, "https://studio.example").await.unwrap();
    assert_eq!(answered.headers()["access-control-allow-origin"], "https://studio.example");
    let sendable = answered.headers()["access-control-allow-headers"].to_str().unwrap();
    let sendable: Vec<&str> = sendable.split(", ").collect();
    assert!(sendable.contains(&"authorization"), "{sendable:?}");
    // What OpenAI's JavaScript client sends from a browser; one that is missing fails every request.
    for name in ["lang", "package-version", "os", "arch", "runtime", "runtime-version", "retry-count", "timeout"] {
        assert!(sendable.contains(&format!("x-stainless-{name}").as_str()), "{name}: {sendable:?}");
    }
    for name in ["x-stainless-poll-helper", "x-stainless-custom-poll-interval", "openai-project"] {
        assert!(sendable.contains(&name), "{name}: {sendable:?}");
    }
    let read = open.call(reqwest::Method::GET, "/v1/models").header("Origin", "https://studio.example");
    let read = read.send().await.unwrap();
    let readable = read.headers()["access-control-expose-headers"].to_str().unwrap();
    assert!(readable.split(", ").any(|name| name == "openai-poll-after-ms"), "{readable}");
    assert!(!answered.headers().contains_key("access-control-allow-credentials"), "the cookie is never shared");
    assert!(!ask(&open, "https://evil.example").await.unwrap().headers().contains_key("access-control-allow-origin"));
    let submit = |origin: &'static str| {
        let call = open.call(reqwest::Method::POST, "/api/generate").header("Origin", origin);
        answer(call.header("Sec-Fetch-Site", "cross-site").json(&json!({"prompt": "a rose"})))
    };
    assert_eq!(submit("https://studio.example").await.0, StatusCode::ACCEPTED);
    assert_ne!(submit("https://evil.example").await.0, StatusCode::ACCEPTED);
}

/// Goal: the fleet works below a path of its host. Method: a real nginx that passes the path on, and one that removes it.
#[tokio::test]
async fn the_fleet_works_below_a_path_prefix() {
    let web = tempfile::tempdir().unwrap();
    let html = r#"<html><head><link href="/icon.svg" /><script src="/assets/x.js"></script></head></html>"#;
    std::fs::write(web.path().join("index.html"), html).unwrap();
    std::fs::create_dir(web.path().join("assets")).unwrap();
    std::fs::write(web.path().join("assets/x.js"), "1").unwrap();
    let app = TestApp::spawn_with(|settings| {
        settings.server.hosts = vec!["fleet.example".to_owned()];
        settings.server.path_prefix = "/a/fleet".to_owned();
        settings.server.web_dir = web.path().to_owned();
    })
    .await;
    for more in ["", "rewrite ^/a/fleet(/.*)$ $1 break;"] {
        let nginx = Nginx::start(&app.url, &format!("{}{more}", documented()));
        nginx.until_ready().await;
        let root = format!("{}/a/fleet", nginx.url());
        let client = http_client().build().unwrap();
        let get = |path: &str| client.get(format!("{root}{path}")).header("Host", "fleet.example").send();

        for place in ["/", "/dashboard"] {
            let page = get(place).await.unwrap().text().await.unwrap();
            assert!(page.contains(r#"<meta name="path-prefix" content="/a/fleet" />"#), "{place}: {page}");
            assert!(
                page.contains(r#"src="/a/fleet/assets/x.js""#) && page.contains(r#"href="/a/fleet/icon.svg""#),
                "{page}"
            );
        }
        assert_eq!(get("/assets/x.js").await.unwrap().text().await.unwrap(), "1");

        let request = client.post(format!("{root}/api/generate")).header("Host", "fleet.example");
        let submitted =
            request.header("Origin", "https://fleet.example").json(&json!({"prompt": "a rose"})).send().await.unwrap();
        assert_eq!(submitted.status(), StatusCode::ACCEPTED);
        let location = submitted.headers()["location"].to_str().unwrap().to_owned();
        let job: Value = submitted.json().await.unwrap();
        let id = job["job_id"].as_str().unwrap();
        assert_eq!(location, format!("/a/fleet/api/jobs/{id}"));
        let found: Value = get(&format!("/api/jobs/{id}")).await.unwrap().json().await.unwrap();
        assert_eq!(found["job_id"], id);
        assert_eq!(get("/api/nothing").await.unwrap().status(), StatusCode::NOT_FOUND);

        let mut stream = get(&format!("/api/jobs/{id}/events")).await.unwrap();
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let mut past = String::new();
        while !past.contains("event: ready") {
            let more = stream.chunk().await.unwrap().expect("the stream goes on");
            past.push_str(&String::from_utf8_lossy(&more));
        }
        assert!(past.contains("queued"), "{past}");

        let described: Value = get("/api/openapi.json").await.unwrap().json().await.unwrap();
        assert_eq!(described["servers"], json!([{"url": "/a/fleet"}]));
        let openai: Value = get("/v1/models").await.unwrap().json().await.unwrap();
        assert_eq!(openai["data"][0]["id"], "default", "{openai}");
    }
    // Metrics name the same routes as without a prefix.
    let metrics = app.call(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\"/api/jobs/{job_id}\"") && !metrics.contains("a/fleet"), "{metrics}");
}
