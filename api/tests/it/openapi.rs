//! The OpenAPI description, as committed and as served. `UPDATE=1` writes the committed one.

use reqwest::StatusCode;

use crate::app::TestApp;

#[test]
fn the_committed_description_matches_the_router() {
    let path = testkit::repository().join("docs/openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, api::commands::openapi::text()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let current = api::commands::openapi::text();
    assert!(
        committed == current,
        "docs/openapi.json is out of date: run `target/release/api openapi > docs/openapi.json`"
    );
}

#[tokio::test]
async fn the_description_and_its_page_need_no_network() {
    let app = TestApp::spawn().await;
    let (status, document) = app.get("/api/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    for path in ["/api/generate", "/api/jobs/{job_id}", "/api/events", "/api/stats", "/api/optimization/analyze"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    let (status, page) = app.get("/api/docs/").await;
    assert_eq!(status, StatusCode::OK);
    let page = page.as_str().unwrap();
    assert!(!page.contains("http://") && !page.contains("https://"), "{page}");
}
