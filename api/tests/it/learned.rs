//! Learned steps: every caller can see them, every forecast uses them, only admins can change them.

use optimizer::Learned;
use reqwest::{Method, StatusCode};
use serde_json::json;
use settings::KeysMode;
use store::Learning;
use store::keys::Role;
use testkit::eventually_seen;
use uuid::Uuid;

use crate::app::{TestApp, answer};
use crate::auth::issue;

/// Stores what the scheduler would store after runs: moderate prompts in tier `auto` need two steps fewer.
async fn teach(app: &TestApp) {
    let epoch = app.store.try_lead(Uuid::nil(), 60.0).await.unwrap().expect("no other scheduler leads");
    let read: Learning<Learned> = app.store.learning().await.unwrap();
    let group = json!({
        "model_id": "default", "requested": "auto", "complexity": "moderate",
        "lower_by": 2, "runs": 40, "fresh": 0, "spare": [],
    });
    let learned = serde_json::from_value(json!({ "frozen": false, "groups": [group] })).unwrap();
    assert!(app.store.save_learning(&Learning { learned, ..read }, epoch).await.unwrap());
}

#[tokio::test]
async fn a_forecast_uses_what_was_learned_until_it_is_reset() {
    let app = TestApp::spawn().await;
    let steps = async || {
        let (_, body) = app
            .get("/api/optimization/analyze?prompt=a%20zebra%20running%20to%20join%20a%20herd%20of%20its%20kind")
            .await;
        (body["analysis"]["infer_steps"].as_u64().unwrap(), body["analysis"]["steps_reason"].clone())
    };
    let (before, reason) = steps().await;
    assert_eq!(reason, "adaptive");
    teach(&app).await;
    eventually_seen("the forecast uses it", || async {
        let now = steps().await;
        if now == (before - 2, json!("learned")) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    let (_, shown) = app.get("/api/optimization/learned").await;
    assert_eq!((&shown["enabled"], &shown["frozen"]), (&json!(true), &json!(false)));
    let group =
        json!({ "model": "default", "quality_tier": "auto", "complexity": "moderate", "lower_by": 2, "runs": 40 });
    assert_eq!(shown["groups"], json!([group]));

    let frozen = app.call(Method::PUT, "/api/optimization/learned").json(&json!({ "frozen": true }));
    let (status, frozen) = answer(frozen).await;
    assert_eq!((status, &frozen["frozen"], &frozen["groups"]), (StatusCode::OK, &json!(true), &json!([group])));
    let (_, other) = answer(app.call(Method::DELETE, "/api/optimization/learned?model=another")).await;
    assert_eq!(other["groups"], json!([group]), "resetting another model changes nothing for this one");
    let (_, reset) = answer(app.call(Method::DELETE, "/api/optimization/learned")).await;
    assert_eq!(reset["groups"], json!([]));
    eventually_seen("the forecast forgets it", || async {
        let now = steps().await;
        if now == (before, json!("adaptive")) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
}

#[tokio::test]
async fn only_admins_change_it() {
    let app = TestApp::spawn_with(|settings| settings.server.keys = KeysMode::On).await;
    let (_, user) = issue(&app, "red", Role::User).await;
    let (_, admin) = issue(&app, "ops", Role::Admin).await;
    let call = async |method: Method, key: &str| {
        let request = app.call(method.clone(), "/api/optimization/learned").bearer_auth(key);
        let request = if method == Method::PUT { request.json(&json!({ "frozen": true })) } else { request };
        answer(request).await.0
    };
    assert_eq!(call(Method::GET, &user).await, StatusCode::OK);
    for method in [Method::PUT, Method::DELETE] {
        assert_eq!(call(method.clone(), &user).await, StatusCode::FORBIDDEN);
        assert_eq!(call(method, &admin).await, StatusCode::OK);
    }
}
