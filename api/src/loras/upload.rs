//! An uploaded adapter, from the first bytes of its header to its row.
//!
//! The body goes into a temporary file as it arrives. As soon as the header is there it is checked against the model, so a wrong
//! file is refused before it was received, and nothing of it reaches the object store.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use domain::lora::is_lora_name;
use domain::{FieldError, LoraSampling, ModelManifest};
use formats::lora::Lora;
use formats::{Header, kind::SNIFF_BYTES};
use futures::StreamExt;
use store::loras::NewLora;
use tokio::io::AsyncWriteExt;

use super::{DESCRIPTION_MAX, check, layers};
use crate::auth::Caller;
use crate::dto::lora::UploadParameters;
use crate::problem::{Answer, Problem, ProblemKind};
use crate::state::App;

/// Longest header that is buffered, bytes: that of an adapter for every layer of the released model has a tenth of it.
pub(super) const HEADER_BYTES_MAX: u64 = 4 << 20;

/// The body's name in errors.
pub(super) const FILE: &str = "file";

/// What the parameters of an upload mean.
pub(crate) struct Wanted {
    pub(super) manifest: Arc<ModelManifest>,
    name: String,
    description: String,
    sampling: LoraSampling,
}

impl Wanted {
    /// # Errors
    /// 422 with every wrong parameter.
    pub(crate) fn new(app: &App, parameters: UploadParameters) -> Answer<Self> {
        let mut wrong = Vec::new();
        let UploadParameters { name, model, description, steps, flow_shift, guidance } = parameters;
        if !is_lora_name(&name) {
            wrong.push(FieldError::new("name", "must be 1 to 64 letters, digits, dots, dashes and underscores"));
        }
        let description = description.unwrap_or_default();
        if description.chars().count() > DESCRIPTION_MAX || description.contains('\0') {
            let reason = format!("must have at most {DESCRIPTION_MAX} characters and no NUL");
            wrong.push(FieldError::new("description", reason));
        }
        let sampling = LoraSampling { steps, flow_shift, guidance };
        wrong.extend(sampling.problem());
        match app.models.for_new_job(model.as_deref()) {
            Ok(manifest) if wrong.is_empty() => Ok(Self { manifest, name, description, sampling }),
            found => {
                wrong.extend(found.err());
                Err(Problem::fields(wrong))
            }
        }
    }
}

/// A received and checked file.
pub(super) struct Received {
    pub(super) file: tempfile::NamedTempFile,
    pub(super) fingerprint: String,
    pub(super) bytes: u64,
    pub(super) lora: Lora,
}

/// Receives, checks and stores a file of `length` bytes. Returns the new row's id.
///
/// # Errors
/// 413 above the size limit, 422 for a file that does not fit the model or the tenant's quota; the store's errors.
pub(crate) async fn store(app: &App, caller: &Caller, wanted: &Wanted, length: u64, body: Body) -> Answer<uuid::Uuid> {
    check_quota(app, caller, wanted, length).await?;
    let received = receive(wanted, length, body).await?;
    keep(app, caller, wanted, received).await
}

/// Stores a checked file and its row. Returns the row's id.
pub(super) async fn keep(app: &App, caller: &Caller, wanted: &Wanted, received: Received) -> Answer<uuid::Uuid> {
    let key = artifacts::keys::lora(&wanted.manifest.id, &received.fingerprint);
    put(app, &key, received.file.path()).await?;
    let lora = NewLora {
        tenant_id: caller.tenant_id,
        model_id: wanted.manifest.id.clone(),
        name: wanted.name.clone(),
        fingerprint: received.fingerprint,
        bytes: received.bytes,
        rank: u32::try_from(received.lora.rank).unwrap_or(u32::MAX),
        layers: layers(&received.lora),
        description: wanted.description.clone(),
        sampling: wanted.sampling,
        shared: false,
    };
    let stored = app.store.put_lora(uuid::Uuid::now_v7(), &lora).await;
    let (id, unused) = stored.map_err(|error| Problem::from_store(&error))?;
    // Somebody may have deleted the last adapter with this file between the two writes.
    put(app, &key, received.file.path()).await?;
    if let Some(fingerprint) = unused {
        remove(app, &lora.model_id, &fingerprint).await;
    }
    Ok(id)
}

pub(super) async fn check_quota(app: &App, caller: &Caller, wanted: &Wanted, length: u64) -> Answer<()> {
    let limits = &app.settings.limits;
    if length > limits.lora_bytes_max {
        let detail = format!("the file has {length} bytes; at most {} are accepted", limits.lora_bytes_max);
        return Err(Problem::new(ProblemKind::TooLarge, detail));
    }
    let usage = app.store.lora_usage(caller.tenant_id, &wanted.manifest.id, &wanted.name).await;
    let usage = usage.map_err(|error| Problem::from_store(&error))?;
    if usage.count >= limits.loras_per_tenant_max {
        let reason = format!(
            "would be one more than the {} adapters that a tenant may have; delete one first",
            limits.loras_per_tenant_max
        );
        return Err(Problem::field(FILE, reason));
    }
    if usage.bytes.saturating_add(length) > limits.loras_tenant_bytes_max {
        let free = limits.loras_tenant_bytes_max.saturating_sub(usage.bytes);
        return Err(Problem::field(
            FILE,
            format!("has {length} bytes, but only {free} of your quota are left; delete an adapter first"),
        ));
    }
    Ok(())
}

async fn receive(wanted: &Wanted, length: u64, body: Body) -> Answer<Received> {
    let disk = |error: std::io::Error| Problem::internal("an upload could not be buffered", &error);
    let file = tempfile::Builder::new().prefix("fleet-lora-").tempfile().map_err(disk)?;
    let mut writer = tokio::fs::File::from_std(file.reopen().map_err(disk)?);
    let mut head = Head::default();
    let mut hasher = blake3::Hasher::new();
    let mut parts = body.into_data_stream();
    let mut received = 0;
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Problem::new(ProblemKind::Malformed, "the body could not be read to its end"))?;
        received += part.len() as u64;
        head.take(&part, wanted, length)?;
        hasher.update(&part);
        writer.write_all(&part).await.map_err(disk)?;
    }
    if received != length {
        let reason = format!("ended after {received} of {length} bytes; send it again");
        return Err(Problem::field(FILE, reason));
    }
    writer.flush().await.map_err(disk)?;
    let lora = head.finish(wanted, length)?;
    Ok(Received { file, fingerprint: hasher.finalize().to_hex().to_string(), bytes: length, lora })
}

/// The start of a file until its header was read.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    lora: Option<Lora>,
}

impl Head {
    /// Takes the next bytes; checks the header as soon as it is complete.
    fn take(&mut self, part: &[u8], wanted: &Wanted, length: u64) -> Answer<()> {
        if self.lora.is_some() {
            return Ok(());
        }
        self.bytes.extend_from_slice(part);
        if self.bytes.len() < SNIFF_BYTES {
            return Ok(());
        }
        let extent = Header::extent(&self.bytes).map_err(|refused| Problem::field(FILE, refused.0))?;
        if extent > length {
            return Err(Problem::field(FILE, "ends within its header; download it again"));
        }
        if extent > HEADER_BYTES_MAX {
            let reason = format!("has a header of {extent} bytes; adapters have at most {HEADER_BYTES_MAX}");
            return Err(Problem::field(FILE, reason));
        }
        if self.bytes.len() as u64 >= extent {
            self.read(wanted, length)?;
        }
        Ok(())
    }

    fn read(&mut self, wanted: &Wanted, length: u64) -> Answer<()> {
        let header = Header::parse(&self.bytes, length);
        let lora = header.and_then(|header| check(&header, None, &wanted.manifest));
        self.lora = Some(lora.map_err(|refused| Problem::field(FILE, refused.0))?);
        self.bytes = Vec::new();
        Ok(())
    }

    /// What the file changes; a file that is shorter than any header is read here.
    fn finish(mut self, wanted: &Wanted, length: u64) -> Answer<Lora> {
        if self.lora.is_none() {
            self.read(wanted, length)?;
        }
        self.lora.ok_or_else(|| Problem::field(FILE, "holds no header"))
    }
}

/// Writes the object unless it is there: its key is its content.
pub(super) async fn put(app: &App, key: &str, file: &Path) -> Answer<()> {
    let failed = |error: artifacts::ArtifactError| {
        tracing::warn!(key, %error, "an adapter could not be stored");
        Problem::unavailable("the object store", 5)
    };
    match app.artifacts.size(key).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_missing() => app.artifacts.put_file(key, file, &|| true).await.map(drop).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

/// Removes a file that no row names any more. Jobs that still wait for it fail and say so.
pub(crate) async fn remove(app: &App, model_id: &str, fingerprint: &str) {
    let key = artifacts::keys::lora(model_id, fingerprint);
    if let Err(error) = app.artifacts.delete(&key).await {
        tracing::warn!(key, %error, "an adapter's file was not deleted");
    }
}
