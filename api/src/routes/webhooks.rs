//! `/api/webhooks`: receivers of the events of all jobs of a tenant, and the secret that deliveries are signed with.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::{Clock, DEFAULT_EVENTS, FieldError, JobEventKind, SystemClock, check_webhook_url, read_webhook_events};
use store::webhooks::NewEndpoint;
use webhooks::SigningSecret;

use crate::auth::Caller;
use crate::dto::webhook::{PutWebhook, WebhookListView, WebhookSecretView, WebhookView};
use crate::extract::JsonBody;
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::state::AppState;

/// Most receivers of a tenant: each event of each job is sent to all of them.
const WEBHOOKS_MAX: usize = 20;

/// Lists the webhooks of the caller's tenant.
#[utoipa::path(get, path = "/api/webhooks", tag = "webhooks", responses((status = 200, body = WebhookListView)))]
pub(crate) async fn list(State(app): State<AppState>, caller: Caller) -> Answer<Json<WebhookListView>> {
    let found = app.store.webhooks(caller.tenant_id).await.map_err(|error| Problem::from_store(&error))?;
    Ok(Json(WebhookListView { webhooks: found.into_iter().map(WebhookView::from).collect() }))
}

/// Creates a webhook, which is notified of the events of all jobs of the caller's tenant from now on, or of the jobs that are submitted
/// with the caller's key. If there is one with this URL, it gets the new list of events and is enabled again.
#[utoipa::path(
    post, path = "/api/webhooks", tag = "webhooks", request_body = PutWebhook,
    responses(
        (status = 201, body = WebhookView, description = "Created or changed"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The tenant has the largest number of webhooks"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A field is invalid"),
    )
)]
pub(crate) async fn put(
    State(app): State<AppState>,
    caller: Caller,
    JsonBody(body): JsonBody<PutWebhook>,
) -> Answer<(StatusCode, Json<WebhookView>)> {
    let mut wrong = Vec::new();
    if let Err(reason) = check_webhook_url(&body.url) {
        wrong.push(FieldError::new("url", reason));
    }
    let events = events(body.events).unwrap_or_else(|reason| {
        wrong.push(FieldError::new("events", reason));
        Vec::new()
    });
    if !wrong.is_empty() {
        return Err(Problem::fields(wrong));
    }
    let key_id = caller.key_id().filter(|_| body.own_jobs_only);
    if body.own_jobs_only && key_id.is_none() {
        return Err(Problem::field("own_jobs_only", "needs an API key; this fleet does not use keys"));
    }
    let existing = app.store.webhooks(caller.tenant_id).await.map_err(|error| Problem::from_store(&error))?;
    if existing.len() >= WEBHOOKS_MAX && existing.iter().all(|webhook| webhook.url != body.url) {
        let detail = format!("there are already {WEBHOOKS_MAX} webhooks; delete one first");
        return Err(Problem::new(ProblemKind::Conflict, detail));
    }
    let endpoint = NewEndpoint { tenant_id: caller.tenant_id, url: body.url, events, key_id };
    let created = app.store.put_webhook(&endpoint).await.map_err(|error| Problem::from_store(&error))?;
    Ok((StatusCode::CREATED, Json(created.into())))
}

fn events(words: Option<Vec<String>>) -> Result<Vec<JobEventKind>, String> {
    match words {
        None => Ok(DEFAULT_EVENTS.to_vec()),
        Some(words) if words.is_empty() => Err("is empty; name at least one kind of event, or leave it out".to_owned()),
        Some(words) => read_webhook_events(&words.join(",")),
    }
}

/// Deletes a webhook. Deliveries to it that have not been sent are dropped.
#[utoipa::path(
    delete, path = "/api/webhooks/{webhook_id}", tag = "webhooks",
    params(("webhook_id" = uuid::Uuid, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The webhook does not exist"),
    )
)]
pub(crate) async fn delete(
    State(app): State<AppState>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Answer<StatusCode> {
    let unknown =
        || Problem::new(ProblemKind::NotFound, "there is no webhook with this id; GET /api/webhooks lists yours");
    let id = id.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(unknown)?;
    match app.store.delete_webhook(caller.tenant_id, id).await.map_err(|error| Problem::from_store(&error))? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown()),
    }
}

/// Returns the secret that all deliveries of the caller's tenant are signed with, also those of single jobs.
#[utoipa::path(get, path = "/api/webhooks/secret", tag = "webhooks", responses((status = 200, body = WebhookSecretView)))]
pub(crate) async fn secret(State(app): State<AppState>, caller: Caller) -> Answer<Json<WebhookSecretView>> {
    let fresh = SigningSecret::random();
    let secret = app.store.webhook_secret(caller.tenant_id, fresh.bytes()).await;
    let secret = secret.map_err(|error| Problem::from_store(&error))?;
    Ok(Json(WebhookSecretView::new(secret, SystemClock.now())))
}

/// Replaces the secret. For some time, deliveries carry a signature with the old secret, too, so that receivers can be changed
/// without losing any.
#[utoipa::path(
    post, path = "/api/webhooks/secret/rotate", tag = "webhooks",
    responses((status = 200, body = WebhookSecretView, description = "The new secret"))
)]
pub(crate) async fn rotate(State(app): State<AppState>, caller: Caller) -> Answer<Json<WebhookSecretView>> {
    let fresh = SigningSecret::random();
    #[expect(clippy::cast_precision_loss, reason = "a setting of seconds")]
    let overlap_s = app.settings.webhooks.rotation_overlap_s as f64;
    let secret = app.store.rotate_webhook_secret(caller.tenant_id, fresh.bytes(), overlap_s).await;
    let secret = secret.map_err(|error| Problem::from_store(&error))?;
    Ok(Json(WebhookSecretView::new(secret, SystemClock.now())))
}
