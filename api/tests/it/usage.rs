//! Usage, budgets, runs and replays: what each key sees, and what is refused.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use settings::KeysMode;
use store::keys::Role;

use crate::app::{Answer, TestApp, answer, blamed, id};
use crate::auth::issue;

async fn with_keys() -> TestApp {
    TestApp::spawn_with(|settings| settings.server.keys = KeysMode::On).await
}

async fn ask(app: &TestApp, key: &str, method: Method, path: &str, body: &Value) -> Answer {
    let request = app.call(method, path).bearer_auth(key);
    answer(if body.is_null() { request } else { request.json(body) }).await
}

async fn look(app: &TestApp, key: &str, path: &str) -> Answer {
    ask(app, key, Method::GET, path, &Value::Null).await
}

/// Submits and completes a job: 312 GPU seconds, at 3.6 dollars an hour.
async fn render(app: &TestApp, key: &str) -> Value {
    let (status, job) = ask(app, key, Method::POST, "/api/generate", &json!({ "prompt": "a cat" })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let lease = app.claim(id(&job)).await;
    app.complete(lease, b"video").await;
    job
}

fn close(value: &Value, expected: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - expected).abs() < 1e-6)
}

#[tokio::test]
async fn a_tenant_sees_its_own_usage_and_an_admin_all() {
    let app = with_keys().await;
    let (red_id, red) = issue(&app, "red", Role::User).await;
    let (_, blue) = issue(&app, "blue", Role::User).await;
    let (_, admin) = issue(&app, "ops", Role::Admin).await;
    let job = render(&app, &red).await;
    render(&app, &blue).await;

    let (status, usage) = look(&app, &red, "/api/usage?group_by=tenant,key,model,tier").await;
    assert_eq!(status, StatusCode::OK, "{usage}");
    let rows = usage["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{usage}");
    assert_eq!((&rows[0]["tenant"], &rows[0]["key_id"]), (&json!("red"), &json!(red_id.0)));
    assert_eq!(
        (&rows[0]["videos"], &rows[0]["repeated_runs"], &rows[0]["period"]),
        (&json!(1), &json!(0), &Value::Null)
    );
    assert!(close(&usage["total"]["gpu_seconds"], 312.0) && close(&usage["total"]["cost_usd"], 0.312), "{usage}");
    assert_eq!(usage["workers"], Value::Null, "workers serve all tenants");
    let (status, problem) = look(&app, &red, "/api/usage?group_by=worker").await;
    assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["group_by"]));

    let (_, all) = look(&app, &admin, "/api/usage?group_by=month,tenant,worker").await;
    let tenants: Vec<_> = all["rows"].as_array().unwrap().iter().map(|row| row["tenant"].as_str().unwrap()).collect();
    assert_eq!(tenants, ["blue", "red"]);
    assert_eq!((&all["workers"][0]["worker"], &all["workers"][0]["runs"]), (&json!("test"), &json!(2)), "{all}");
    assert!(close(&all["workers"][0]["busy_s"], 624.0), "{all}");

    let path = format!("/api/jobs/{}/runs", job["job_id"].as_str().unwrap());
    let (_, runs) = look(&app, &red, &path).await;
    assert_eq!(
        (&runs["runs"][0]["outcome"], &runs["runs"][0]["worker"]),
        (&json!("completed"), &json!("test")),
        "{runs}"
    );
    assert_eq!(look(&app, &blue, &path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn usage_is_csv_on_request_and_its_parameters_are_validated() {
    let app = TestApp::spawn().await;
    let (_, job) = app.post("/api/generate", &json!({ "prompt": "a cat" })).await;
    let lease = app.claim(id(&job)).await;
    app.complete(lease, b"video").await;
    let response = app.call(Method::GET, "/api/usage?format=csv&group_by=day,tenant").send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
    let text = response.text().await.unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
    let at = |name: &str| lines[0].iter().position(|column| *column == name).unwrap();
    assert_eq!((lines[1][at("kind")], lines[1][at("tenant")], lines[1][at("videos")]), ("usage", "default", "1"));
    assert_eq!(lines[1][at("gpu_seconds")].parse::<f64>().unwrap(), 312.0);
    assert_eq!((lines[2][at("kind")], lines[2][at("runs")]), ("worker", "1"), "{text}");

    for (query, field) in [
        ("from=today", "from"),
        ("to=2026-02-30", "to"),
        ("from=2026-02-02&to=2026-02-01", "from"),
        ("from=2000-01-01", "from"),
        ("group_by=colour", "group_by"),
        ("group_by=day,month", "group_by"),
    ] {
        let (status, problem) = app.get(&format!("/api/usage?{query}")).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec![field]), "{problem}");
    }
    let (_, empty) = app.get("/api/usage?from=2020-01-01&to=2020-01-31").await;
    assert_eq!((&empty["rows"], &empty["total"]["runs"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn a_spent_budget_refuses_submissions_but_not_repeated_ones() {
    let app = with_keys().await;
    let (_, red) = issue(&app, "red", Role::User).await;
    let (_, blue) = issue(&app, "blue", Role::User).await;
    let (_, admin) = issue(&app, "ops", Role::Admin).await;
    let budget = json!({ "tenant": "red", "period": "month", "unit": "usd", "amount": 0.3 });
    assert_eq!(ask(&app, &red, Method::PUT, "/api/budgets", &budget).await.0, StatusCode::FORBIDDEN);
    let (status, set) = ask(&app, &admin, Method::PUT, "/api/budgets", &budget).await;
    assert_eq!((status, &set["state"], &set["stops"]), (StatusCode::OK, &json!("ok"), &json!(true)), "{set}");
    for (field, value) in [("amount", json!(0)), ("warn_share", json!(2)), ("tenant", json!("nobody"))] {
        let mut wrong = budget.clone();
        wrong[field] = value;
        let (status, problem) = ask(&app, &admin, Method::PUT, "/api/budgets", &wrong).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec![field]), "{problem}");
    }

    let submit = async |key: &str, idempotency: &str| {
        let call = app.call(Method::POST, "/api/generate").bearer_auth(key).header("Idempotency-Key", idempotency);
        answer(call.json(&json!({ "prompt": "a cat" }))).await
    };
    let (_, job) = submit(&red, "first").await;
    let lease = app.claim(id(&job)).await;
    app.complete(lease, b"video").await;
    app.state.budgets.forget().await;
    let (status, problem) = submit(&red, "second").await;
    assert_eq!(status, StatusCode::PAYMENT_REQUIRED, "{problem}");
    assert_eq!(problem["type"], "urn:hunyuan-fleet:problem:budget-spent");
    assert!(problem["detail"].as_str().unwrap().contains("budget of 0.3 usd per month"), "{problem}");
    assert_eq!(submit(&red, "first").await.1["job_id"], job["job_id"], "a repeated submission passes");
    assert_eq!(submit(&blue, "first").await.0, StatusCode::ACCEPTED, "another tenant's budget");
    let video = json!({ "prompt": "a cat" });
    let (status, error) = ask(&app, &red, Method::POST, "/v1/videos", &video).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::PAYMENT_REQUIRED, &json!("insufficient_quota")),
        "{error}"
    );

    let (_, own) = look(&app, &red, "/api/budgets").await;
    assert_eq!((&own["budgets"][0]["state"], own["budgets"].as_array().unwrap().len()), (&json!("spent"), 1), "{own}");
    assert_eq!(look(&app, &blue, "/api/budgets").await.1["budgets"], json!([]));
    let path = format!("/api/budgets/{}", set["budget_id"].as_str().unwrap());
    assert_eq!(ask(&app, &blue, Method::DELETE, &path, &Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ask(&app, &admin, Method::DELETE, &path, &Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&app, &admin, Method::DELETE, &path, &Value::Null).await.0, StatusCode::NOT_FOUND);
    assert_eq!(submit(&red, "third").await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_replay_is_compared_with_its_original() {
    let app = TestApp::spawn().await;
    let (_, job) = app.post("/api/generate", &json!({ "prompt": "a cat", "seed": 7 })).await;
    let original = job["job_id"].as_str().unwrap().to_owned();
    let path = format!("/api/jobs/{original}/replay");
    let (status, problem) = app.post(&path, &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert_eq!(app.get(&path).await.0, StatusCode::NOT_FOUND, "it is not a replay");
    let lease = app.claim(id(&job)).await;
    app.complete(lease, b"video").await;

    let send = async |key: &str| answer(app.call(Method::POST, &path).header("Idempotency-Key", key)).await;
    let (status, replay) = send("once").await;
    assert_eq!((status, &replay["replays"]), (StatusCode::ACCEPTED, &json!(original)), "{replay}");
    assert_eq!(send("once").await.1["job_id"], replay["job_id"]);
    let report = format!("/api/jobs/{}/replay", replay["job_id"].as_str().unwrap());
    assert_eq!(app.get(&report).await.1["verdict"], "pending");
    let lease = app.claim_released(id(&replay)).await;
    app.complete(lease, b"video").await;
    let (_, same) = app.get(&report).await;
    assert_eq!((&same["verdict"], &same["differences"]), (&json!("identical"), &json!([])), "{same}");

    let (_, replay) = send("twice").await;
    let lease = app.claim_released(id(&replay)).await;
    app.complete(lease, b"another").await;
    let (_, other) = app.get(&format!("/api/jobs/{}/replay", replay["job_id"].as_str().unwrap())).await;
    assert_eq!(
        (&other["verdict"], &other["differences"][0]["field"]),
        (&json!("different"), &json!("reproduction.frames"))
    );
    assert_eq!(other["differences"].as_array().unwrap().len(), 2, "{other}");
}

#[tokio::test]
async fn replays_count_against_the_quota_of_their_key() {
    let app = with_keys().await;
    let (key_id, red) = issue(&app, "red", Role::User).await;
    let (_, admin) = issue(&app, "operators", Role::Admin).await;
    let original = render(&app, &red).await;
    let path = format!("/api/jobs/{}/replay", original["job_id"].as_str().unwrap());
    let replay = async || ask(&app, &red, Method::POST, &path, &Value::Null).await;
    let allow = async |gpu_s: f64| {
        let quota = json!({ "gpu_seconds_per_day": gpu_s });
        let (status, body) = ask(&app, &admin, Method::PUT, &format!("/api/keys/{key_id}/quota"), &quota).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    };
    allow(1e6).await;
    let (status, job) = replay().await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let (_, own) = look(&app, &red, "/api/quota").await;
    assert!(own["reserved_gpu_seconds"].as_f64().unwrap() > 0.0, "{own}");
    allow(1.0).await;
    testkit::eventually_seen("the smaller quota takes effect", || async {
        let (status, problem) = replay().await;
        let refused = problem["type"] == "urn:hunyuan-fleet:problem:quota-exceeded";
        if status == StatusCode::TOO_MANY_REQUESTS && refused { Ok(()) } else { Err(problem.to_string()) }
    })
    .await;
}
