//! An upload as PEFT saves adapters: a form with `adapter_config.json`, which holds the scale, and the weights.
//!
//! Both become one file: the configuration goes into the metadata of the weights, where diffusers writes it. So the scale is part
//! of the fingerprint, and workers fetch one object as for any other adapter.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use axum::body::Bytes;
use axum::extract::Multipart;
use axum::extract::multipart::Field;
use domain::ModelManifest;
use formats::lora::with_config;
use formats::{Header, Refused, kind::SNIFF_BYTES};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;

use super::check;
use super::upload::{self, FILE, HEADER_BYTES_MAX, Received, Wanted};
use crate::auth::Caller;
use crate::problem::{Answer, Problem, ProblemKind};
use crate::state::App;

/// The configuration's part, and its largest size: names of all layers of the released model have a tenth of it.
const CONFIG: &str = "config";
const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Receives, checks and stores an adapter from a form. Returns the new row's id.
///
/// # Errors
/// As [`upload::store`]; 422 for a form without one of the two parts, or with another one.
pub(crate) async fn store(app: &App, caller: &Caller, wanted: &Wanted, mut form: Multipart) -> Answer<uuid::Uuid> {
    let (mut config, mut weights) = (None, None);
    while let Some(part) = form.next_field().await.map_err(|error| unreadable(&error))? {
        let name = part.name().unwrap_or_default().to_owned();
        match name.as_str() {
            CONFIG => config = Some(read_config(part).await?),
            FILE => weights = Some(receive(part, app.settings.limits.lora_bytes_max).await?),
            other => {
                let reason =
                    "is not known; send adapter_config.json as `config` and adapter_model.safetensors as `file`";
                return Err(Problem::field(other, reason));
            }
        }
    }
    let missing = |part, name| Problem::field(part, format!("is missing; send {name} as this part of the form"));
    let config = config.ok_or_else(|| missing(CONFIG, "adapter_config.json"))?;
    let weights = weights.ok_or_else(|| missing(FILE, "adapter_model.safetensors"))?;
    let manifest = std::sync::Arc::clone(&wanted.manifest);
    let joined = tokio::task::spawn_blocking(move || join(weights, &config, &manifest)).await;
    let received = joined.map_err(|error| Problem::internal("an adapter could not be joined", &error))??;
    upload::check_quota(app, caller, wanted, received.bytes).await?;
    upload::keep(app, caller, wanted, received).await
}

async fn read_config(mut part: Field<'_>) -> Answer<Map<String, Value>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next(&mut part).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > CONFIG_BYTES_MAX {
            return Err(Problem::field(
                CONFIG,
                format!("has more than {CONFIG_BYTES_MAX} bytes; send adapter_config.json"),
            ));
        }
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::field(CONFIG, format!("is not a JSON object ({error}); send adapter_config.json")))
}

/// The weights in a temporary file.
async fn receive(mut part: Field<'_>, bytes_max: u64) -> Answer<tempfile::NamedTempFile> {
    let disk = |error: std::io::Error| Problem::internal("an upload could not be buffered", &error);
    let file = tempfile::Builder::new().prefix("fleet-lora-").tempfile().map_err(disk)?;
    let mut writer = tokio::fs::File::from_std(file.reopen().map_err(disk)?);
    let mut received = 0;
    while let Some(chunk) = next(&mut part).await? {
        received += chunk.len() as u64;
        if received > bytes_max {
            let detail = format!("the file has more than the {bytes_max} bytes that are accepted");
            return Err(Problem::new(ProblemKind::TooLarge, detail));
        }
        writer.write_all(&chunk).await.map_err(disk)?;
    }
    writer.flush().await.map_err(disk)?;
    Ok(file)
}

async fn next(part: &mut Field<'_>) -> Answer<Option<Bytes>> {
    part.chunk().await.map_err(|error| unreadable(&error))
}

fn unreadable(error: &axum::extract::multipart::MultipartError) -> Problem {
    Problem::new(ProblemKind::Malformed, format!("the form cannot be read: {}", error.body_text()))
}

/// Weights and configuration as one file, checked against the model.
fn join(weights: tempfile::NamedTempFile, config: &Map<String, Value>, manifest: &ModelManifest) -> Answer<Received> {
    let disk = |error: std::io::Error| Problem::internal("an upload could not be buffered", &error);
    let refused = |refused: Refused| Problem::field(FILE, refused.0);
    let mut old = weights.into_file();
    let length = old.metadata().map_err(disk)?.len();
    let start = start(&mut old, length).map_err(disk)?.map_err(refused)?;
    let header = Header::parse(&start, length).map_err(refused)?;
    let extent = Header::extent(&start).map_err(refused)?;
    let lora = check(&header, Some(config), manifest).map_err(refused)?;
    let start = with_config(&start, config).map_err(refused)?;
    let file = tempfile::Builder::new().prefix("fleet-lora-").tempfile().map_err(disk)?;
    let mut out = Hashing { file: file.reopen().map_err(disk)?, hasher: blake3::Hasher::new() };
    out.write_all(&start).map_err(disk)?;
    old.seek(SeekFrom::Start(extent)).map_err(disk)?;
    let tensors = std::io::copy(&mut old, &mut out).map_err(disk)?;
    let fingerprint = out.hasher.finalize().to_hex().to_string();
    Ok(Received { file, fingerprint, bytes: start.len() as u64 + tensors, lora })
}

/// The bytes up to the first tensor, or why there are none.
fn start(file: &mut File, length: u64) -> std::io::Result<Result<Vec<u8>, Refused>> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    Read::by_ref(file).take(SNIFF_BYTES as u64).read_to_end(&mut bytes)?;
    let extent = match Header::extent(&bytes) {
        Ok(extent) if extent > HEADER_BYTES_MAX => {
            let reason = format!("has a header of {extent} bytes; adapters have at most {HEADER_BYTES_MAX}");
            return Ok(Err(Refused::new(reason)));
        }
        Ok(extent) => extent,
        Err(refused) => return Ok(Err(refused)),
    };
    Read::by_ref(file).take(extent.min(length).saturating_sub(bytes.len() as u64)).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

/// A file whose content is hashed as it is written.
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
