//! Deadlines, quotas and one's own queue, from outside.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::keys::Role;
use testkit::builders;

use crate::app::{TestApp, answer, blamed, id};
use crate::auth::issue;

/// Waits until the API has seen the worker's slot in use.
async fn until_seen(app: &TestApp) {
    testkit::eventually_seen("the API sees the busy worker", || async {
        let pools = app.state.pools();
        if pools.iter().any(|load| load.running == 1) { Ok(()) } else { Err(format!("{pools:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_deadline_that_cannot_be_met_is_rejected_only_on_request() {
    let app = TestApp::spawn().await;
    // A run of the default request takes longer than this.
    let request = json!({"prompt": "a wave", "deadline_s": 1, "deadline_policy": "reject"});
    let (status, problem) = app.post("/api/generate", &request).await;
    assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["deadline_s"]), "{problem}");
    assert_eq!(problem["type"], "urn:hunyuan-fleet:problem:deadline-infeasible");
    assert!(problem["detail"].as_str().unwrap().contains("no worker"), "{problem}");

    let busy = app.submit("the only slot is taken").await;
    app.claim(busy).await;
    until_seen(&app).await;
    let (_, analysis) = app.get("/api/optimization/analyze?prompt=a%20wave&deadline_s=1").await;
    let forecast = &analysis["forecast"];
    assert_eq!(forecast["deadline_met"], false, "{analysis}");
    let feasible = forecast["feasible_deadline_s"].as_u64().unwrap();
    let run_s = forecast["finish_s"].as_f64().unwrap() - forecast["start_s"].as_f64().unwrap();

    let refused = app.call(Method::POST, "/api/generate").json(&request).send().await.unwrap();
    assert!(!refused.headers().contains_key("retry-after"), "no wait makes a run of one second");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["feasible_deadline_s"], feasible, "{problem}");
    // Long enough for the run, but not for the queue before it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a small run")]
    let tight = run_s.ceil() as u64;
    if tight < feasible {
        let request = json!({"prompt": "a wave", "deadline_s": tight, "deadline_policy": "reject"});
        let refused = app.call(Method::POST, "/api/generate").json(&request).send().await.unwrap();
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=feasible).contains(&wait), "{wait}");
    }
    let accepted = json!({"prompt": "a wave", "deadline_s": 1});
    assert_eq!(app.post("/api/generate", &accepted).await.0, StatusCode::ACCEPTED, "accepting is the default");
    let possible = json!({"prompt": "a wave", "deadline_s": 100_000, "deadline_policy": "reject"});
    assert_eq!(app.post("/api/generate", &possible).await.0, StatusCode::ACCEPTED);

    // In a batch the error names the request, and nothing is accepted.
    let batch =
        json!({"requests": [{"prompt": "one"}, {"prompt": "two", "deadline_s": 1, "deadline_policy": "reject"}]});
    let (status, problem) = app.post("/api/generate/batch", &batch).await;
    assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["requests[1].deadline_s"]));
    let (status, problem) = app.post("/api/generate", &json!({"prompt": "a", "deadline_policy": "reject"})).await;
    assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["deadline_policy"]));
}

#[tokio::test]
async fn a_repeated_submission_passes_a_deadline_and_a_quota() {
    let app = TestApp::spawn_with(|settings| settings.server.keys = settings::KeysMode::On).await;
    let (key_id, key) = issue(&app, "red", Role::User).await;
    let (_, admin) = issue(&app, "operators", Role::Admin).await;
    let send = |idempotency: &'static str| {
        let call = app.call(Method::POST, "/api/generate").bearer_auth(&key).header("Idempotency-Key", idempotency);
        call.json(&json!({"prompt": "a wave"}))
    };
    let (status, first) = answer(send("one")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    let path = format!("/api/keys/{key_id}/quota");
    let quota = json!({"gpu_seconds_per_day": 0.5, "usd_per_day": null});
    let set = |key: &str| answer(app.call(Method::PUT, &path).bearer_auth(key).json(&quota));
    assert_eq!(set(&key).await.0, StatusCode::FORBIDDEN);
    assert_eq!(set(&admin).await, (StatusCode::OK, quota.clone()));
    let (_, keys) = answer(app.call(Method::GET, "/api/keys").bearer_auth(&admin)).await;
    let listed = keys["keys"].as_array().unwrap().iter().find(|listed| listed["key_id"] == key_id.to_string());
    assert_eq!(listed.unwrap()["quota"], quota, "{keys}");

    let problem = testkit::eventually_seen("the quota takes effect", || async {
        // Without a key of its own: what is accepted before the quota takes effect must not be repeated.
        let call = app.call(Method::POST, "/api/generate").bearer_auth(&key);
        let response = call.json(&json!({"prompt": "a wave"})).send().await.map_err(|error| error.to_string())?;
        let wait = response.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
        let status = response.status();
        let body: Value = response.json().await.map_err(|error| error.to_string())?;
        if status == StatusCode::TOO_MANY_REQUESTS { Ok((body, wait)) } else { Err(body.to_string()) }
    })
    .await;
    assert_eq!(problem.0["type"], "urn:hunyuan-fleet:problem:quota-exceeded");
    assert!(problem.0["detail"].as_str().unwrap().contains("renews at"), "{}", problem.0);
    assert!(problem.1.is_some_and(|wait| (1..=86_400).contains(&wait)));
    let (status, again) = answer(send("one")).await;
    assert_eq!((status, id(&again)), (StatusCode::ACCEPTED, id(&first)));
    let (_, own) = answer(app.call(Method::GET, "/api/quota").bearer_auth(&key)).await;
    assert_eq!(own["quota"], quota, "{own}");
    assert!(own["reserved_gpu_seconds"].as_f64().unwrap() > 0.0, "{own}");
    let negative = json!({"usd_per_day": -1});
    let refused = answer(app.call(Method::PUT, &path).bearer_auth(&admin).json(&negative)).await;
    assert_eq!((refused.0, blamed(&refused.1)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["usd_per_day"]));
    let unknown = format!("/api/keys/{}/quota", uuid::Uuid::nil());
    assert_eq!(answer(app.call(Method::PUT, &unknown).bearer_auth(&admin).json(&quota)).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_keys_there_is_no_quota() {
    let app = TestApp::spawn().await;
    assert_eq!(app.get("/api/quota").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_queue_is_paused_and_reordered_by_its_owner_only() {
    let app = TestApp::spawn_with(|settings| settings.server.keys = settings::KeysMode::On).await;
    let (_, red) = issue(&app, "red", Role::User).await;
    let (_, blue) = issue(&app, "blue", Role::User).await;
    let call = |method: Method, path: &str, key: &str| app.call(method, path).bearer_auth(key);
    let (_, state) = answer(call(Method::POST, "/api/queue/pause", &red)).await;
    assert_eq!(state["paused"], true);
    assert_eq!(answer(call(Method::GET, "/api/queue", &red)).await.1, state);
    assert_eq!(answer(call(Method::GET, "/api/queue", &blue)).await.1["paused"], false);

    let submit = async |prompt: &str| {
        let request = json!({ "prompt": prompt });
        id(&answer(call(Method::POST, "/api/generate", &red).json(&request)).await.1)
    };
    let (one, two) = (submit("one").await, submit("two").await);
    let path = format!("/api/jobs/{two}/move");
    let to_front = json!({"to": "front"});
    let (status, problem) = answer(call(Method::POST, &path, &red).json(&to_front)).await;
    assert_eq!(status, StatusCode::CONFLICT, "it is not planned yet: {problem}");
    let epoch = app.store.try_lead(uuid::Uuid::nil(), 60.0).await.unwrap().unwrap();
    let planned = [one, two].map(|job_id| store::planning::PlannedJob {
        job_id,
        plan: builders::plan(),
        order_delay_s: 0.0,
        deadline_lead_s: 3_600.0,
        share_s: 10.0,
        adapters: String::new(),
        batch_key: None,
    });
    app.store.save_plans(&planned, epoch).await.unwrap();
    assert_eq!(answer(call(Method::POST, &path, &blue).json(&to_front)).await.0, StatusCode::NOT_FOUND);
    for body in [json!({}), json!({"to": "front", "before": one.to_string()})] {
        let (status, problem) = answer(call(Method::POST, &path, &red).json(&body)).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["to"]), "{problem}");
    }
    let (status, job) = answer(call(Method::POST, &path, &red).json(&json!({"before": one.to_string()}))).await;
    assert_eq!((status, &job["queue_position"]), (StatusCode::OK, &json!(0)), "{job}");
    assert_eq!(app.store.release(&builders::pool(), 10, epoch).await.unwrap(), [], "the queue is paused");
    answer(call(Method::POST, "/api/queue/resume", &red)).await;
    let released = app.store.release(&builders::pool(), 10, epoch).await.unwrap();
    assert_eq!(released.iter().map(|one| one.job_id).collect::<Vec<_>>(), [two, one]);
}
