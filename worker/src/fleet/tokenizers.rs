//! Stores the model's tokenizers for machines without its files: the API counts the tokens of prompts with them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use artifacts::keys;
use prompts::Bundle;
use tracing::{info, warn};

use super::Fleet;

/// Puts them into the object store unless they are there. Nothing depends on it, so a failure is only logged; the next worker of the
/// model tries again.
pub(super) async fn publish(fleet: Arc<Fleet>, model_dir: PathBuf) {
    if let Err(error) = try_to(&fleet, model_dir).await {
        let error = format!("{error:#}");
        warn!(error, "the tokenizers could not be stored; an API without the model's files cannot count tokens");
    }
}

async fn try_to(fleet: &Fleet, model_dir: PathBuf) -> anyhow::Result<()> {
    let key = keys::tokenizers(&fleet.manifest.fingerprint.encoders);
    match fleet.artifacts.size(&key).await {
        Ok(_) => return Ok(()),
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error).context(key),
    }
    let bundle = tokio::task::spawn_blocking(move || Bundle::of_folder(&model_dir)).await??;
    fleet.artifacts.put(&key, bundle.to_json().into()).await?;
    info!(key, "stored the tokenizers for the API");
    Ok(())
}
