//! Goal: a job's record reports what the optimisations did, on the real fleet.

use serde_json::json;
use testkit::{Fleet, FleetOptions};

#[tokio::test]
async fn a_similar_prompt_lends_its_embeddings_only_where_that_is_asked_for() {
    // Encoders are loaded for a miss only, since a hit must work without them.
    let options = FleetOptions::default().with("FLEET__WORKER__ENCODERS", "on_demand");
    let (fleet, _processes) = Fleet::start(options).await;
    let finished = async |prompt: &str, similar: bool| {
        let mut request = Fleet::small_request(prompt, 5, 4);
        request["similar_prompts"] = json!(similar);
        let job = fleet.submit(&request).await;
        fleet.until_status(job["job_id"].as_str().expect("an id"), &["completed", "failed"]).await
    };
    let first = finished("a tiny violet pyramid twirls in the desert", false).await;
    assert_eq!(first["optimization"]["cache_match"], "miss", "{first}");

    let lent = finished("In the desert, a lovely tiny violet pyramid is twirling!", true).await;
    let optimization = &lent["optimization"];
    assert_eq!((&optimization["cache_hit"], &optimization["cache_match"]), (&json!(true), &json!("similar")), "{lent}");
    assert!(optimization["cache_score"].as_f64().is_some_and(|score| (0.6..1.0).contains(&score)), "{lent}");

    let own = finished("In the desert, a lovely tiny violet pyramid is twirling!", false).await;
    assert_eq!(own["optimization"]["cache_match"], "miss", "{own}");
    let other = finished("a tiny violet star twirls in the desert", true).await;
    assert_eq!(other["optimization"]["cache_match"], "miss", "another shape is another video: {other}");
}
