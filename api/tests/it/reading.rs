//! Read-only routes: analysis, tiers, models, workers, statistics, settings, health, metrics.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::eventually_seen;

use crate::app::{TestApp, blamed};

#[tokio::test]
async fn analyze_returns_the_documented_fields() {
    let app = TestApp::spawn().await;
    let (status, body) = app.get("/api/optimization/analyze?prompt=A%20cat%20walks&quality_tier=auto").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["prompt"], "A cat walks");
    assert_eq!(body["cache_available"], false);
    assert_eq!(body["unknown_words"], json!(["cat", "walks"]), "the test's model draws shapes only");
    let analysis = &body["analysis"];
    assert_eq!(analysis["complexity"], "simple");
    assert_eq!(analysis["infer_steps"], 18);
    assert_eq!(analysis["cfg_scale"], 6.0);
    assert_eq!(analysis["flow_reverse"], true);
    assert!(analysis["estimated_time_min"].as_f64().unwrap() > 0.0);
    assert_eq!(analysis["factors"].as_array().unwrap().len(), 7);
    for (query, field) in [
        ("quality_tier=auto", "prompt"),
        ("prompt=a&quality_tier=best", "quality_tier"),
        ("prompt=a&size=1", "size"),
        ("prompt=a&video_length=2", "video_length"),
        ("prompt=a&seed=-2", "seed"),
        ("prompt=a&deadline_s=0", "deadline_s"),
    ] {
        let (status, problem) = app.get(&format!("/api/optimization/analyze?{query}")).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec![field]), "{query}");
    }
}

#[tokio::test]
async fn stats_count_what_was_done() {
    let app = TestApp::spawn().await;
    for prompt in ["a drum", "a flute"] {
        let job = app.submit(prompt).await;
        let lease = app.claim(job).await;
        app.complete(lease, b"video").await;
        let (_, body) = app.get(&format!("/api/jobs/{job}")).await;
        assert_eq!(body["optimization"]["cache_hit"], true);
        assert_eq!(body["optimization"]["actual_time"], 5.2);
        assert_eq!(body["optimization"]["final_steps"], 25);
    }
    app.submit("a harp").await;
    let (status, stats) = app.get("/api/stats").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(stats["total_generations"], 3);
    assert_eq!(stats["completed"], 2);
    assert_eq!(stats["in_progress"], 1);
    assert_eq!(stats["optimization"]["cache_hits"], 2);
    assert_eq!(stats["optimization"]["cache_hit_rate"], 100.0);
    assert_eq!(stats["optimization"]["avg_steps"], 25.0);
    assert_eq!(stats["optimization"]["adaptive_enabled"], true);
    assert_eq!(stats["cache_stats"]["status"], "healthy");
    assert_eq!(stats["by_tier"][1]["name"], "standard");
    assert_eq!(stats["by_tier"][1]["completed"], 2);
    let (status, series) = app.get("/api/stats/series?hours=2&bucket=hour").await;
    assert_eq!(status, StatusCode::OK);
    let completed: i64 =
        series["points"].as_array().unwrap().iter().filter_map(|point| point["completed"].as_i64()).sum();
    assert_eq!(completed, 2);
    assert_eq!(app.get("/api/stats/series?hours=0").await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn models_tiers_settings_and_workers_are_shown() {
    let app = TestApp::spawn().await;
    let (_, models) = app.get("/api/models").await;
    assert_eq!(models["models"][0]["id"], "default");
    assert_eq!(models["models"][0]["default"], true);
    let (_, tiers) = app.get("/api/tiers?video_size=540p&video_length=129").await;
    let steps: Vec<_> = tiers["tiers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| json!([t["quality_tier"], t["steps_min"], t["steps_max"]]))
        .collect();
    assert_eq!(
        Value::from(steps),
        json!([["auto", 18, 45], ["preview", 15, 15], ["standard", 25, 35], ["premium", 45, 50]])
    );
    let (_, settings) = app.get("/api/settings").await;
    assert_eq!(settings["keys_required"], false);
    assert_eq!(settings["limits"]["prompt_chars_max"], 2000);
    let job = app.submit("a gate").await;
    app.claim(job).await;
    let (_, workers) = app.get("/api/workers").await;
    assert_eq!(workers["workers"][0]["job_ids"], json!([job.to_string()]));
    assert_eq!((&workers["total"], &workers["running"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn workers_come_in_pages() {
    let app = TestApp::spawn().await;
    for prompt in ["one", "two", "three"] {
        let job = app.submit(prompt).await;
        app.claim(job).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let path = cursor.map_or_else(
            || "/api/workers?limit=2".to_owned(),
            |cursor| format!("/api/workers?limit=2&cursor={}", cursor.replace(' ', "+")),
        );
        let (status, page) = app.get(&path).await;
        assert_eq!((status, &page["total"]), (StatusCode::OK, &json!(3)), "{page}");
        let workers = page["workers"].as_array().unwrap();
        assert!(workers.len() <= 2);
        seen.extend(workers.iter().map(|worker| worker["worker_id"].as_str().unwrap().to_owned()));
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "every worker is on one page");
    let (status, problem) = app.get("/api/workers?limit=0&cursor=x").await;
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!((status, fields), (StatusCode::UNPROCESSABLE_ENTITY, vec![json!("limit"), json!("cursor")]));
}

#[tokio::test]
async fn seeds_of_64_bits_are_kept_exactly() {
    let app = TestApp::spawn().await;
    for (sent, shown) in [
        (json!(7), json!(7)),
        (json!(9_007_199_254_740_993_u64), json!("9007199254740993")),
        (json!(u64::MAX), json!("18446744073709551615")),
        (json!("18446744073709551615"), json!("18446744073709551615")),
    ] {
        let (status, job) = app.post("/api/generate", &json!({"prompt": "a cat", "seed": sent})).await;
        assert_eq!(
            (status, &job["request"]["seed"], &job["seed_drawn"]),
            (StatusCode::ACCEPTED, &shown, &json!(false)),
            "{job}"
        );
        let (_, read) = app.get(&format!("/api/jobs/{}", job["job_id"].as_str().unwrap())).await;
        assert_eq!(read["request"]["seed"], shown);
        // What was shown can be sent again.
        let again = app.post("/api/generate", &json!({"prompt": "a cat", "seed": read["request"]["seed"]})).await;
        assert_eq!(again.1["request"]["seed"], shown);
    }
    let (_, drawn) = app.post("/api/generate", &json!({"prompt": "a cat", "seed": -1})).await;
    assert_eq!(drawn["seed_drawn"], true);
    assert!(drawn["request"]["seed"].as_u64().is_some_and(|seed| seed < 1 << 53), "{drawn}");
    for wrong in [json!(-2), json!(0.5), json!("18446744073709551616"), json!("x"), json!(1e30)] {
        let (status, problem) = app.post("/api/generate", &json!({"prompt": "a cat", "seed": wrong})).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("seed")),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn health_probes_and_metrics_respond() {
    let app = TestApp::spawn().await;
    assert_eq!(app.get("/livez").await.0, StatusCode::OK);
    assert_eq!(app.get("/readyz").await.0, StatusCode::OK);
    eventually_seen("everything is healthy", || async {
        let (status, health) = app.get("/api/health").await;
        if status == StatusCode::OK && health["status"] == "ok" { Ok(()) } else { Err(health.to_string()) }
    })
    .await;
    app.submit("a bell").await;
    let (_, metrics) = app.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("fleet_submissions_total"), "{metrics}");
    assert!(metrics.contains(r#"route="/api/generate""#), "{metrics}");
}

#[tokio::test]
async fn every_response_has_the_security_headers() {
    let app = TestApp::spawn().await;
    for path in ["/api/health", "/api/jobs/none", "/", "/api/docs/"] {
        let response = app.call(Method::GET, path).send().await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        let csp = headers["content-security-policy"].to_str().unwrap();
        assert!(csp.starts_with("default-src 'self'") && csp.contains("frame-ancestors 'none'"), "{path}: {csp}");
        assert!(headers.contains_key("x-request-id"), "{path}");
    }
}

#[tokio::test]
async fn the_page_is_served_and_its_hashed_files_are_cached() {
    let web = tempfile::tempdir().unwrap();
    std::fs::create_dir(web.path().join("assets")).unwrap();
    std::fs::write(web.path().join("index.html"), "<!doctype html>page").unwrap();
    std::fs::write(web.path().join("assets/app-1a2b.js"), "1").unwrap();
    let app = TestApp::spawn_with(|settings| settings.server.web_dir = web.path().to_owned()).await;
    for path in ["/", "/dashboard", "/dashboard/"] {
        let page = app.call(Method::GET, path).send().await.unwrap();
        assert_eq!(
            (page.status(), &page.headers()["cache-control"]),
            (StatusCode::OK, &"no-cache".parse().unwrap()),
            "{path}"
        );
    }
    let asset = app.call(Method::GET, "/assets/app-1a2b.js").send().await.unwrap();
    assert_eq!(asset.headers()["cache-control"], "public, max-age=31536000, immutable");
    // A program that requests an unknown path gets an error as JSON and not the page.
    for path in ["/api/nothing", "/v1/nothing", "/jobs/some/deep/link", "/assets/gone-1a2b.js"] {
        let (status, problem) = app.get(path).await;
        assert_eq!((status, &problem["status"]), (StatusCode::NOT_FOUND, &json!(404)), "{path}: {problem}");
    }
}
