//! Adapters in the model folders of this machine: `loras/NAME.safetensors`, perhaps with `NAME.toml` beside it.
//!
//! They belong to the default tenant and everybody may use them. The file is copied into the object store, from where workers
//! fetch it as they fetch any other.

use std::path::{Path, PathBuf};

use anyhow::Context;
use domain::lora::is_lora_name;
use domain::{LoraSampling, ModelManifest, TenantId};
use formats::Header;
use serde::Deserialize;
use store::loras::NewLora;

use super::{check, layers, upload};
use crate::state::{App, AppState};

/// Below a model folder.
const FOLDER: &str = "loras";

/// `NAME.toml`: what an adapter needs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beside {
    #[serde(default)]
    description: String,
    #[serde(default)]
    steps: Option<u32>,
    #[serde(default)]
    flow_shift: Option<f64>,
    #[serde(default)]
    guidance: Option<f64>,
}

/// Registers all of them in the background. One that cannot be used is reported and left out.
pub(crate) fn start(app: &AppState) {
    let app = AppState::clone(app);
    tokio::spawn(async move {
        for folder in &app.settings.models.dirs {
            for path in files(folder) {
                if let Err(error) = register(&app, folder, &path).await {
                    tracing::warn!(adapter = %path.display(), error = format!("{error:#}"), "adapter not offered");
                }
            }
        }
    });
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join(FOLDER)).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    paths
}

async fn register(app: &App, folder: &Path, path: &Path) -> anyhow::Result<()> {
    let manifest = settings::read_manifest(folder)?;
    let file = path.to_owned();
    let lora = tokio::task::spawn_blocking(move || read(&file, &manifest)).await.context("read the file")??;
    let key = artifacts::keys::lora(&lora.model_id, &lora.fingerprint);
    upload::put(app, &key, path).await.map_err(|problem| anyhow::anyhow!("{}", problem.body().detail))?;
    let (_, unused) = app.store.put_lora(uuid::Uuid::now_v7(), &lora).await.context("register it")?;
    if let Some(fingerprint) = unused {
        upload::remove(app, &lora.model_id, &fingerprint).await;
    }
    tracing::info!(adapter = lora.name, model = lora.model_id, rank = lora.rank, "adapter offered");
    Ok(())
}

fn read(path: &Path, manifest: &ModelManifest) -> anyhow::Result<NewLora> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    anyhow::ensure!(is_lora_name(&name), "the name may have letters, digits, dots, dashes and underscores only");
    let bytes = std::fs::read(path)?;
    let header = Header::parse(&bytes, bytes.len() as u64)?;
    let lora = check(&header, None, manifest)?;
    let beside = path.with_extension("toml");
    let beside: Beside = match std::fs::read_to_string(&beside) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("read {}", beside.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Beside::default(),
        Err(error) => return Err(error).with_context(|| format!("read {}", beside.display())),
    };
    let sampling = LoraSampling { steps: beside.steps, flow_shift: beside.flow_shift, guidance: beside.guidance };
    if let Some(wrong) = sampling.problem() {
        anyhow::bail!("{} {}", wrong.field, wrong.reason);
    }
    Ok(NewLora {
        tenant_id: TenantId::DEFAULT,
        model_id: manifest.id.clone(),
        name,
        fingerprint: blake3::hash(&bytes).to_hex().to_string(),
        bytes: bytes.len() as u64,
        rank: u32::try_from(lora.rank).unwrap_or(u32::MAX),
        layers: layers(&lora),
        description: beside.description,
        sampling,
        shared: true,
    })
}
