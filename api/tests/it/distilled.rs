//! A model that is limited to six steps: no forecast of the API exceeds them.

use domain::QualityTier;
use reqwest::StatusCode;
use serde_json::json;
use testkit::repository;

use crate::app::TestApp;

/// The API with the default model, limited to six steps. Its manifest has no `[sampling.steps]`, like manifests from before that
/// section existed.
async fn six_steps(adaptive_steps: bool) -> TestApp {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(repository().join("models/default/fleet.toml")).unwrap();
    let start = text.find("[sampling.steps]").unwrap();
    let end = start + text[start..].find("\n[[sizes]]").unwrap();
    let text = format!("{}{}", &text[..start], &text[end..]).replace("steps_max = 100", "steps_max = 6");
    std::fs::write(folder.path().join("fleet.toml"), text).unwrap();
    // The folder may be removed afterwards, because the manifest is only read while the API starts.
    TestApp::spawn_with(|settings| {
        settings.models.dirs = vec![folder.path().to_owned()];
        settings.optimization.adaptive_steps = adaptive_steps;
    })
    .await
}

#[tokio::test]
async fn no_forecast_exceeds_the_models_steps() {
    for adaptive_steps in [true, false] {
        let app = six_steps(adaptive_steps).await;
        let (_, tiers) = app.get("/api/tiers").await;
        for tier in tiers["tiers"].as_array().unwrap() {
            assert_eq!((&tier["steps_min"], &tier["steps_max"]), (&json!(6), &json!(6)), "{tier}");
        }
        let (_, models) = app.get("/api/models").await;
        assert_eq!(models["models"][0]["baseline_steps"], 6);
        for tier in QualityTier::ALL {
            let (_, body) = app.get(&format!("/api/optimization/analyze?prompt=a%20storm&quality_tier={tier}")).await;
            assert_eq!(body["analysis"]["infer_steps"], 6, "{body}");
        }
        let (status, _) = app.get("/api/optimization/analyze?prompt=a%20storm&infer_steps=7").await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}
