//! Goal: what was learned is one document that is never overwritten unseen.

use serde_json::{Value, json};
use store::{Epoch, Learning};

use crate::support::Fixture;

async fn read(f: &Fixture) -> Learning<Value> {
    f.store.learning().await.expect("learning")
}

fn group(model: &str) -> Value {
    json!({ "model_id": model, "lower_by": 2 })
}

#[tokio::test]
async fn the_leader_updates_it_and_a_stale_writer_changes_nothing() {
    let f = Fixture::new().await;
    let first = read(&f).await;
    assert_eq!((&first.learned, first.taught_until), (&json!({ "frozen": false, "groups": [] }), None));
    let (now, _) = f.store.server_times().await.expect("times");
    let next = Learning {
        learned: json!({ "frozen": false, "groups": [group("a")] }),
        taught_until: Some(now),
        ..first.clone()
    };
    assert!(!f.store.save_learning(&next, Epoch(f.epoch.0 - 1)).await.expect("save"), "does not lead");
    assert!(f.store.save_learning(&next, f.epoch).await.expect("save"));
    assert!(!f.store.save_learning(&first, f.epoch).await.expect("save"), "read before the change");
    let kept = read(&f).await;
    assert_eq!((kept.learned, kept.taught_until), (next.learned, Some(now)));
}

#[tokio::test]
async fn it_can_be_frozen_and_reset_model_by_model() {
    let f = Fixture::new().await;
    let learned = json!({ "frozen": false, "groups": [group("a"), group("b")] });
    let start = read(&f).await;
    assert!(f.store.save_learning(&Learning { learned, ..start }, f.epoch).await.expect("save"));
    let seen_before = read(&f).await;
    f.store.freeze_learning(true).await.expect("freeze");
    f.store.reset_learning(Some("a")).await.expect("reset");
    assert!(!f.store.save_learning(&seen_before, f.epoch).await.expect("save"), "an admin's change is not lost");
    let kept = read(&f).await;
    assert_eq!(kept.learned, json!({ "frozen": true, "groups": [group("b")] }));
    assert!(kept.taught_until.is_some(), "earlier runs are not evaluated again");
    f.store.reset_learning(None).await.expect("reset");
    f.store.freeze_learning(false).await.expect("unfreeze");
    assert_eq!(read(&f).await.learned, json!({ "frozen": false, "groups": [] }));
}
