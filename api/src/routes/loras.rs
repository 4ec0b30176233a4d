//! `/api/loras`: adapters that requests may name.

use axum::Json;
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::{StatusCode, header};
use uuid::Uuid;

use crate::auth::{Caller, Role};
use crate::dto::lora::{ListParameters, LoraListView, LoraView, PeftForm, ShareRequest, UploadParameters};
use crate::extract::{JsonBody, QueryString};
use crate::loras::peft;
use crate::loras::upload::{self, Wanted};
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::state::{App, AppState};

/// Lists the adapters that you may use: your own and shared ones.
#[utoipa::path(
    get, path = "/api/loras", tag = "loras", params(ListParameters),
    responses(
        (status = 200, body = LoraListView),
        (status = 422, description = "A parameter is not known", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_loras(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(parameters): QueryString<ListParameters>,
) -> Answer<Json<LoraListView>> {
    let loras = app.store.loras(caller.tenant_id, parameters.model.as_deref()).await;
    let loras = loras.map_err(|error| Problem::from_store(&error))?;
    Ok(Json(LoraListView { loras: loras.into_iter().map(|lora| LoraView::new(lora, caller.tenant_id)).collect() }))
}

/// Stores an adapter: the body is the safetensors file. Its header is checked against the model before anything is stored.
///
/// Adapters as PEFT saves them have their scale in a second file. Send them as a form with the parts `config`
/// (adapter_config.json) and `file` (adapter_model.safetensors); the two are stored as one file.
///
/// LoRA files with the key names of diffusers, PEFT, diffusion-pipe, musubi-tuner, kohya and ComfyUI are accepted; everything else
/// is refused with the reason. Only you can use it, until an admin shares it.
#[utoipa::path(
    post, path = "/api/loras", tag = "loras", params(UploadParameters),
    request_body(
        description = "The safetensors file, or a form with PEFT's two files",
        content((Vec<u8> = "application/octet-stream"), (PeftForm = "multipart/form-data")),
    ),
    responses(
        (status = 201, description = "Stored", body = LoraView),
        (status = 413, description = "The file is larger than the limit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong, the file cannot be used with the model, or the quota is used up", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put_lora(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(parameters): QueryString<UploadParameters>,
    request: Request,
) -> Answer<(StatusCode, Json<LoraView>)> {
    let wanted = Wanted::new(&app, parameters)?;
    let headers = request.headers();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.to_ascii_lowercase().starts_with("multipart/form-data") {
        let form = Multipart::from_request(request, &()).await.map_err(|rejection| {
            Problem::new(ProblemKind::Malformed, format!("the form cannot be read: {}", rejection.body_text()))
        })?;
        let id = peft::store(&app, &caller, &wanted, form).await?;
        tracing::info!(lora.id = %id, "adapter stored");
        return Ok((StatusCode::CREATED, Json(find(&app, &caller, id).await?)));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let Some(length) = length else {
        return Err(Problem::field("Content-Length", "is missing; send the file with its length"));
    };
    let id = upload::store(&app, &caller, &wanted, length, request.into_body()).await?;
    tracing::info!(lora.id = %id, bytes = length, "adapter stored");
    Ok((StatusCode::CREATED, Json(find(&app, &caller, id).await?)))
}

/// Deletes an adapter. Jobs that wait for it fail; finished videos stay.
#[utoipa::path(
    delete, path = "/api/loras/{id}", tag = "loras", params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "The adapter does not exist or is not yours", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_lora(
    State(app): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let deleted = app.store.delete_lora(caller.scope(), read_id(&id)?).await;
    let Some((model_id, unused)) = deleted.map_err(|error| Problem::from_store(&error))? else {
        return Err(no_lora());
    };
    if let Some(fingerprint) = unused {
        upload::remove(&app, &model_id, &fingerprint).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Lets every tenant use an adapter, or only its owner again. For admins.
#[utoipa::path(
    put, path = "/api/loras/{id}/shared", tag = "loras", params(("id" = Uuid, Path)), request_body = ShareRequest,
    responses(
        (status = 422, description = "A field is missing, wrong or not known", body = ProblemBody, content_type = "application/problem+json"),
        (status = 204, description = "Done"),
        (status = 403, description = "Only admins can share", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "The adapter does not exist", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn share_lora(
    State(app): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<ShareRequest>,
) -> Answer<StatusCode> {
    if caller.role != Role::Admin {
        return Err(Problem::new(ProblemKind::Forbidden, "only an admin can share an adapter with all tenants"));
    }
    match app.store.share_lora(read_id(&id)?, request.shared).await.map_err(|error| Problem::from_store(&error))? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(no_lora()),
    }
}

fn read_id(text: &str) -> Answer<Uuid> {
    text.parse().map_err(|_| no_lora())
}

fn no_lora() -> Problem {
    Problem::new(ProblemKind::NotFound, "no adapter of yours has this id; GET /api/loras lists them")
}

async fn find(app: &App, caller: &Caller, id: Uuid) -> Answer<LoraView> {
    let loras = app.store.loras(caller.tenant_id, None).await.map_err(|error| Problem::from_store(&error))?;
    let found = loras.into_iter().find(|lora| lora.id == id).ok_or_else(no_lora)?;
    Ok(LoraView::new(found, caller.tenant_id))
}
