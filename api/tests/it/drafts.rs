//! Drafts, candidates and previews: what the API accepts, shows and refuses.

use std::collections::BTreeSet;

use domain::{CheckpointRef, DraftRecord, DraftScores, JobId, JobStatus, Plan};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::Lease;
use store::keys::Role;
use testkit::builders;

use crate::app::{TestApp, answer, blamed, id};
use crate::auth::issue;

/// A draft of six steps that waits, with the lease that made it.
async fn drafted(app: &TestApp, job_id: JobId) -> Lease {
    let plan = Plan { draft_steps: Some(6), ..builders::plan() };
    let lease = app.claim_planned(job_id, plan).await;
    let key = artifacts::keys::preview(lease.job_id, lease.token, 6);
    app.state.artifacts.put(&key, b"a picture".to_vec().into()).await.unwrap();
    app.store.save_preview(lease, &key, 6).await.unwrap();
    let key = artifacts::keys::checkpoint(lease.job_id, lease.token, 6);
    let checkpoint = CheckpointRef { key, step: 6, checksum: "c".to_owned(), resumes: 0 };
    app.store.save_checkpoint(lease, &checkpoint).await.unwrap();
    let scores = DraftScores { motion: 0.1, flicker: 0.01, sharpness: 0.002, contrast: 0.2 };
    let draft = DraftRecord { step: 6, scores: Some(scores), gpu_seconds: 2.5, cost_usd: 0.01 };
    let ended = app.store.pause(lease, &draft, 2.5).await.unwrap();
    assert_eq!(ended.status, JobStatus::Drafted);
    lease
}

#[tokio::test]
async fn a_draft_shows_what_it_covers_and_is_continued_once() {
    let app = TestApp::spawn().await;
    let (status, job) = app.post("/api/generate", &json!({ "prompt": "a lamp", "mode": "draft" })).await;
    assert_eq!((status, &job["request"]["mode"]), (StatusCode::ACCEPTED, &json!("draft")), "{job}");
    let job_id = id(&job);
    let path = format!("/api/jobs/{job_id}");
    assert_eq!(app.post(&format!("{path}/continue"), &json!({})).await.0, StatusCode::CONFLICT);
    assert_eq!(app.get(&format!("{path}/preview")).await.0, StatusCode::NOT_FOUND);
    drafted(&app, job_id).await;

    let (_, job) = app.get(&path).await;
    assert_eq!((&job["status"], &job["draft"]["step"]), (&json!("drafted"), &json!(6)), "{job}");
    assert_eq!(job["links"]["continue"], json!(format!("{path}/continue")));
    let picture = app.call(Method::GET, job["preview"]["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(picture.headers()["content-type"], "image/webp");
    assert_eq!(picture.bytes().await.unwrap(), "a picture");

    let (status, job) = app.post(&format!("{path}/continue"), &json!({})).await;
    assert_eq!((status, &job["status"]), (StatusCode::ACCEPTED, &json!("queued")), "{job}");
    assert_eq!(app.post(&format!("{path}/continue"), &json!({})).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_draft_goes_on_in_a_higher_tier_only() {
    let app = TestApp::spawn().await;
    let job_id = app.submit("a lamp").await;
    drafted(&app, job_id).await;
    let path = format!("/api/jobs/{job_id}/continue");
    for tier in ["preview", "standard", "best"] {
        let (status, problem) = app.post(&format!("{path}?quality_tier={tier}"), &json!({})).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["quality_tier"]), "{problem}");
    }
    let (status, job) = app.post(&format!("{path}?quality_tier=premium"), &json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    assert_eq!(job["optimization"]["quality_tier"], "premium");
    let plan = app.store.get(store::jobs::Scope::Fleet, job_id).await.unwrap().unwrap().plan.unwrap();
    let schedule = plan.continues.unwrap();
    assert_eq!((schedule.steps, schedule.after, schedule.total()), (25, 6, plan.steps));
    assert!(schedule.then >= 45, "{schedule:?}");
}

fn ids(group: &Value) -> Vec<JobId> {
    group["jobs"].as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn candidates_are_accepted_together_and_found_again_by_their_key() {
    let app = TestApp::spawn().await;
    let request = json!({ "prompt": "a lamp", "seed": 7, "candidates": 4 });
    let submit = || app.call(Method::POST, "/api/generate").header("Idempotency-Key", "k1").json(&request);
    let (status, first) = answer(submit()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    let group_path = first["links"]["group"].as_str().unwrap();
    let (_, group) = app.get(group_path).await;
    let jobs = group["jobs"].as_array().unwrap();
    let seeds: BTreeSet<_> = jobs.iter().map(|job| job["request"]["seed"].as_i64().unwrap()).collect();
    assert_eq!((jobs.len(), seeds.len(), &group["chosen"]), (4, 4, &Value::Null), "{group}");
    assert_eq!((&jobs[0]["request"]["seed"], &jobs[0]["job_id"]), (&json!(7), &first["job_id"]));
    assert!(jobs.iter().all(|job| job["request"]["mode"] == "draft" && job["request"]["candidates"] == 1), "{group}");

    let (status, again) = answer(submit()).await;
    assert_eq!((status, &again["job_id"]), (StatusCode::ACCEPTED, &first["job_id"]));
    assert_eq!(app.store.backlog_count(store::jobs::Scope::Fleet, 100).await.unwrap(), 4);
    let other = json!({ "prompt": "a lamp", "seed": 7, "candidates": 3 });
    let reused = app.call(Method::POST, "/api/generate").header("Idempotency-Key", "k1").json(&other);
    assert_eq!(answer(reused).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn choosing_a_candidate_by_hand_ends_the_others_and_keeps_all_measurements() {
    let app = TestApp::spawn().await;
    let request = json!({ "prompt": "a lamp", "candidates": 3, "judge": "person" });
    let (_, first) = app.post("/api/generate", &request).await;
    let group_path = first["links"]["group"].as_str().unwrap();
    let (_, group) = app.get(group_path).await;
    let jobs = ids(&group);
    for job in &jobs[..2] {
        drafted(&app, *job).await;
    }
    assert!(app.store.groups_to_judge(10).await.unwrap().is_empty(), "it is for a person");
    let (status, chosen) = app.post(&format!("/api/jobs/{}/continue", jobs[1]), &json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{chosen}");
    let choice = &chosen["choice"];
    assert_eq!((&choice["by"], choice["candidates"].as_array().unwrap().len()), (&json!("person"), 3));
    assert_eq!(choice["candidates"][0]["draft"]["scores"]["contrast"], 0.2);
    let (_, group) = app.get(group_path).await;
    let statuses: Vec<_> =
        group["jobs"].as_array().unwrap().iter().map(|job| job["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["cancelled", "queued", "cancelled"]);
    assert_eq!((&group["chosen"], &group["gpu_seconds"]), (&json!(jobs[1].to_string()), &json!(5.0)));
}

#[tokio::test]
async fn a_group_can_be_cancelled_and_belongs_to_its_tenant() {
    let app = TestApp::spawn_with(|settings| settings.server.keys = settings::KeysMode::On).await;
    let (_, red) = issue(&app, "red", Role::User).await;
    let (_, blue) = issue(&app, "blue", Role::User).await;
    let request = json!({ "prompt": "a lamp", "candidates": 2 });
    let (_, first) = answer(app.call(Method::POST, "/api/generate").bearer_auth(&red).json(&request)).await;
    let group = first["links"]["group"].as_str().unwrap().to_owned();
    let call = async |method: Method, path: &str, key: &str| answer(app.call(method, path).bearer_auth(key)).await;
    let cancel = format!("{group}/cancel");
    assert_eq!(call(Method::GET, &group, &blue).await.0, StatusCode::NOT_FOUND);
    assert_eq!(call(Method::POST, &cancel, &blue).await.0, StatusCode::NOT_FOUND);
    assert_eq!(call(Method::GET, "/api/groups/none", &red).await.0, StatusCode::NOT_FOUND);
    let (status, cancelled) = call(Method::POST, &cancel, &red).await;
    assert_eq!(status, StatusCode::OK);
    assert!(cancelled["jobs"].as_array().unwrap().iter().all(|job| job["status"] == "cancelled"), "{cancelled}");
    let own = format!("{}/continue", first["links"]["self"].as_str().unwrap());
    assert_eq!(call(Method::POST, &own, &blue).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn wrong_numbers_of_candidates_are_named() {
    let app = TestApp::spawn().await;
    for candidates in [0, 9] {
        let (status, problem) =
            app.post("/api/generate", &json!({ "prompt": "a lamp", "candidates": candidates })).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["candidates"]), "{problem}");
    }
    let batch = json!({ "requests": [{ "prompt": "a lamp" }, { "prompt": "a lamp", "candidates": 2 }] });
    let (status, problem) = app.post("/api/generate/batch", &batch).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(blamed(&problem), ["requests[1].candidates"]);
}
