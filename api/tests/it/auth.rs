//! Keys, tenants and sessions.

use api::auth::secret::FreshKey;
use domain::KeyId;
use reqwest::{Method, StatusCode};
use serde_json::json;
use settings::KeysMode;
use store::keys::{NewKey, Role};
use testkit::http_client;

use crate::app::{TestApp, answer, id};

async fn with_keys() -> TestApp {
    TestApp::spawn_with(|settings| {
        settings.server.keys = KeysMode::On;
        settings.server.key_cache_s = 0;
    })
    .await
}

pub(crate) async fn issue(app: &TestApp, tenant: &str, role: Role) -> (KeyId, String) {
    let tenant = app.store.ensure_tenant(tenant).await.unwrap();
    let fresh = FreshKey::draw();
    let key = NewKey {
        id: KeyId::fresh(),
        tenant_id: tenant.id,
        role,
        label: String::new(),
        prefix: fresh.prefix,
        hash: fresh.hash.to_vec(),
    };
    app.store.issue_key(&key).await.unwrap();
    (key.id, fresh.key)
}

#[tokio::test]
async fn only_public_paths_are_available_without_a_key() {
    let app = with_keys().await;
    for path in ["/api/jobs", "/api/stats", "/api/events", "/api/workers", "/api/session", "/metrics"] {
        assert_eq!(app.get(path).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/livez", "/readyz", "/api/health", "/api/openapi.json"] {
        assert_eq!(app.get(path).await.0, StatusCode::OK, "{path}");
    }
    let wrong = answer(app.call(Method::GET, "/api/jobs").bearer_auth("hvf_wrong")).await;
    assert_eq!(wrong.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_tenant_sees_its_own_jobs_and_an_admin_all() {
    let app = with_keys().await;
    let (red_id, red) = issue(&app, "red", Role::User).await;
    let (_, blue) = issue(&app, "blue", Role::User).await;
    let (_, admin) = issue(&app, "ops", Role::Admin).await;
    let submit = app.call(Method::POST, "/api/generate").bearer_auth(&red).json(&json!({"prompt": "a rose"}));
    let (status, job) = answer(submit).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let path = format!("/api/jobs/{}", id(&job));
    let get = async |key: &str, path: &str| answer(app.call(Method::GET, path).bearer_auth(key)).await;
    assert_eq!(get(&red, &path).await.0, StatusCode::OK);
    for hidden in [path.clone(), format!("{path}/events"), format!("/api/videos/{}", id(&job))] {
        assert_eq!(get(&blue, &hidden).await.0, StatusCode::NOT_FOUND, "{hidden}");
    }
    for (method, hidden) in [
        (Method::POST, format!("{path}/cancel")),
        (Method::POST, format!("{path}/retry")),
        (Method::POST, format!("{path}/restore")),
        (Method::DELETE, path.clone()),
        (Method::GET, format!("/api/videos/{}/poster", id(&job))),
    ] {
        let (status, _) = answer(app.call(method.clone(), &hidden).bearer_auth(&blue)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method} {hidden}");
    }
    assert_eq!(get(&blue, "/api/jobs").await.1["jobs"], json!([]));
    assert_eq!(get(&red, &path).await.1["status"], "queued", "the rejected requests had no effect");
    // Tenants do not share idempotency keys.
    let keyed = |key: &str, prompt: &str| {
        let call = app.call(Method::POST, "/api/generate").bearer_auth(key).header("Idempotency-Key", "same");
        answer(call.json(&json!({"prompt": prompt})))
    };
    assert_eq!(keyed(&red, "a rose").await.0, StatusCode::ACCEPTED);
    assert_eq!(keyed(&blue, "a violet").await.0, StatusCode::ACCEPTED);

    assert_eq!(get(&admin, &path).await.0, StatusCode::OK);
    assert_eq!(get(&blue, "/api/stats").await.1["total_generations"], 1);
    assert_eq!(get(&admin, "/api/stats").await.1["total_generations"], 3);
    assert_eq!(get(&blue, "/metrics").await.0, StatusCode::FORBIDDEN);
    assert_eq!(get(&admin, "/metrics").await.0, StatusCode::OK);
    assert!(app.store.revoke_key(red_id).await.unwrap());
    assert_eq!(get(&red, &path).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_signed_in_page_reads_by_cookie_and_changes_only_with_its_token() {
    let app = with_keys().await;
    let (key_id, key) = issue(&app, "red", Role::User).await;
    assert_eq!(app.post("/api/session", &json!({"key": "hvf_wrong"})).await.0, StatusCode::UNAUTHORIZED);
    let response = app.call(Method::POST, "/api/session").json(&json!({"key": key})).send().await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let session: serde_json::Value = response.json().await.unwrap();
    let csrf = session["csrf_token"].as_str().unwrap();

    assert_eq!(app.get("/api/jobs").await.0, StatusCode::OK);
    assert_eq!(app.get("/api/session").await.1["csrf_token"], csrf);
    let body = json!({"prompt": "a rose"});
    assert_eq!(app.post("/api/generate", &body).await.0, StatusCode::FORBIDDEN);
    let submit = app.call(Method::POST, "/api/generate").header("X-CSRF-Token", csrf).json(&body);
    assert_eq!(answer(submit).await.0, StatusCode::ACCEPTED);

    let out = app.call(Method::DELETE, "/api/session").header("X-CSRF-Token", csrf);
    assert_eq!(answer(out).await.0, StatusCode::NO_CONTENT);
    // The session itself has ended, and not only its cookie in the browser.
    let value = cookie.split(';').next().unwrap();
    let stolen = http_client().build().unwrap().get(format!("{}/api/jobs", app.url)).header("Cookie", value);
    assert_eq!(answer(stolen).await.0, StatusCode::UNAUTHORIZED);

    // Revoking a key ends the sessions that were opened with it.
    app.post("/api/session", &json!({"key": key})).await;
    assert_eq!(app.get("/api/jobs").await.0, StatusCode::OK);
    app.store.revoke_key(key_id).await.unwrap();
    assert_eq!(app.get("/api/jobs").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn another_sites_page_cannot_use_an_open_api() {
    let app = TestApp::spawn().await;
    let foreign =
        app.call(Method::POST, "/api/generate").header("Sec-Fetch-Site", "cross-site").json(&json!({"prompt": "a"}));
    assert_eq!(answer(foreign).await.0, StatusCode::FORBIDDEN);
    let own =
        app.call(Method::POST, "/api/generate").header("Sec-Fetch-Site", "same-origin").json(&json!({"prompt": "a"}));
    assert_eq!(answer(own).await.0, StatusCode::ACCEPTED);
}

/// What a page of another site sends after its name was rebound to this machine: to the browser, both are one site.
#[tokio::test]
async fn a_rebound_name_opens_nothing_while_keys_are_off() {
    let app = TestApp::spawn_with(|settings| settings.server.hosts = vec!["fleet.example".to_owned()]).await;
    let call = |method: Method, path: &str, host: &'static str| {
        app.call(method, path).header("Host", host).header("Sec-Fetch-Site", "same-origin")
    };
    for path in ["/api/jobs", "/api/events", "/metrics", "/api/openapi.json", "/"] {
        let (status, problem) = answer(call(Method::GET, path, "evil.example:8000")).await;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{path}: {problem}");
        assert_eq!(problem["type"], "urn:hunyuan-fleet:problem:unknown-host");
        assert!(problem["detail"].as_str().unwrap().contains("server.hosts"), "{problem}");
    }
    let body = json!({"prompt": "a rose"});
    let submit = call(Method::POST, "/api/generate", "evil.example").json(&body);
    assert_eq!(answer(submit).await.0, StatusCode::MISDIRECTED_REQUEST);
    for host in ["fleet.example", "localhost:8000", "[::1]:8000"] {
        assert_eq!(answer(call(Method::GET, "/api/jobs", host)).await.0, StatusCode::OK, "{host}");
    }
    // Probes use the address of a pod.
    for path in ["/livez", "/readyz", "/api/health"] {
        assert_ne!(answer(call(Method::GET, path, "10.1.2.3:8000")).await.0, StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
    assert_eq!(app.get("/api/stats").await.1["total_generations"], 0, "nothing was submitted");
    // With keys on the key decides, whatever the name.
    let app = with_keys().await;
    let call = app.call(Method::GET, "/api/jobs").header("Host", "fleet.example");
    assert_eq!(answer(call).await.0, StatusCode::UNAUTHORIZED);
}
