//! `fleet generate`: submits one video.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::api::{Api, Tries};
use crate::args::GenerateArgs;
use crate::commands::waiting::{Waiting, can_save, wait};
use crate::failure::Failure;
use crate::job::Job;
use crate::out::Out;
use crate::prompt_tokens;

/// Uploads the picture; returns its id. The API recognises a picture that it has, so a repeated command leaves nothing behind, and
/// its hash is what counts for the idempotency key.
async fn upload(api: &Api, out: Out, path: &Path) -> Result<Value, Failure> {
    let bytes = tokio::fs::read(path).await;
    let bytes = bytes.map_err(|error| Failure::Local(format!("cannot read {}: {error}", path.display())))?;
    let image = api.upload(&bytes).await?;
    let id =
        image["id"].as_str().ok_or_else(|| Failure::Refused("the server returned no id for the picture".to_owned()))?;
    out.hint(&format!("uploaded {} as {id}", path.display()));
    Ok(id.into())
}

/// Submits the request, and waits for it if asked to.
pub(crate) async fn generate(api: &Api, out: Out, args: GenerateArgs) -> Result<(), Failure> {
    let how = &args.waiting;
    if let Some(path) = &how.output {
        can_save(path)?;
    }
    let mut request = args.request.fields()?;
    request.insert("prompt".to_owned(), args.prompt.into());
    if let Some(path) = &args.image {
        request.insert("image".to_owned(), upload(api, out, path).await?);
    }
    // With a key of its own, the request can be repeated after a lost response without a second video.
    let key = args.idempotency_key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let job = api.submit(&Value::Object(request), &key, Tries::Patient).await?;
    let id = Job(&job).id().to_owned();
    for warning in prompt_tokens::warnings(&job) {
        out.hint(&warning);
    }
    if !how.wait && how.output.is_none() {
        out.result(&job, |job| Job(job).id().to_owned())?;
        out.hint(&format!("submitted; follow it with: fleet watch {id}"));
        return Ok(());
    }
    let waiting =
        Waiting { timeout: how.timeout_s.map(Duration::from_secs), save_to: how.output.as_deref(), events: false };
    wait(api, out, &id, waiting).await
}
