//! Names of adapters in a request, turned into hashes of files.
//!
//! The hash is what identifies a video. So a job keeps its adapters even if somebody stores another file under the same name.

use domain::{FieldError, VideoRequest};
use store::loras::StoredLora;

use crate::auth::Caller;
use crate::problem::{Answer, Problem};
use crate::state::App;

/// Fills in the fingerprints and the sampling of a request's adapters.
///
/// # Errors
/// 422 for a name that the caller has no adapter for, or another fingerprint than that adapter's; the database's error.
pub(crate) async fn resolve(app: &App, caller: &Caller, request: &mut VideoRequest) -> Answer<()> {
    resolve_all(app, caller, std::slice::from_mut(request), |_| String::new()).await
}

/// The same for a batch, whose errors name the request.
///
/// # Errors
/// As [`resolve`].
pub(crate) async fn resolve_batch(app: &App, caller: &Caller, requests: &mut [VideoRequest]) -> Answer<()> {
    resolve_all(app, caller, requests, |index| format!("requests[{index}].")).await
}

async fn resolve_all(
    app: &App,
    caller: &Caller,
    requests: &mut [VideoRequest],
    prefix: impl Fn(usize) -> String,
) -> Answer<()> {
    if requests.iter().all(|request| request.loras.is_empty()) {
        return Ok(());
    }
    let known = app.store.loras(caller.tenant_id, None).await.map_err(|error| Problem::from_store(&error))?;
    let mut wrong = Vec::new();
    for (index, request) in requests.iter_mut().enumerate() {
        let model = request.model.clone().unwrap_or_else(|| app.models.default_id().to_owned());
        let prefix = prefix(index);
        wrong.extend(
            fill(request, &model, &known)
                .into_iter()
                .map(|error| FieldError { field: format!("{prefix}{}", error.field), ..error }),
        );
    }
    if wrong.is_empty() { Ok(()) } else { Err(Problem::fields(wrong)) }
}

fn fill(request: &mut VideoRequest, model: &str, known: &[StoredLora]) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    for (at, lora) in request.loras.iter_mut().enumerate() {
        // The caller's own come first.
        let found = known.iter().find(|stored| stored.lora.model_id == model && stored.lora.name == lora.name);
        let Some(found) = found else {
            let mut names: Vec<&str> =
                known.iter().filter(|one| one.lora.model_id == model).map(|one| one.lora.name.as_str()).collect();
            names.dedup();
            let choices = if names.is_empty() { "there is none yet".to_owned() } else { formats::listed(&names) };
            let reason = format!(
                "'{}' is not an adapter of the model '{model}' that you may use ({choices})",
                lora.name.escape_debug()
            );
            wrong.push(FieldError::new(&format!("loras[{at}].name"), reason));
            continue;
        };
        if lora.fingerprint.as_ref().is_some_and(|wanted| *wanted != found.lora.fingerprint) {
            let reason = format!("'{}' is now another file; leave the fingerprint out to use it", lora.name);
            wrong.push(FieldError::new(&format!("loras[{at}].fingerprint"), reason));
            continue;
        }
        lora.fingerprint = Some(found.lora.fingerprint.clone());
        lora.sampling = Some(found.lora.sampling).filter(|sampling| !sampling.is_empty());
    }
    wrong
}
