//! Opens the object store that the settings name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use settings::ArtifactsSettings;

use crate::ArtifactError;

/// Handle to the object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifacts {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) part_bytes: usize,
    pub(crate) timeout: Duration,
    folder: Option<PathBuf>,
}

impl Artifacts {
    /// Opens the store; a folder is created if it does not exist. Uses no network.
    ///
    /// # Errors
    /// [`ArtifactError::Settings`], which names the URL and the accepted forms.
    pub fn open(settings: &ArtifactsSettings) -> Result<Self, ArtifactError> {
        let wrong = |reason: &dyn std::fmt::Display| ArtifactError::Settings {
            url: settings.url.clone(),
            reason: reason.to_string(),
        };
        let (store, folder): (Arc<dyn ObjectStore>, _) = match settings.url.split_once("://") {
            Some(("s3", rest)) => (open_s3(settings, rest).map_err(|error| wrong(&error))?, None),
            Some(("file", path)) if path.starts_with('/') => {
                open_folder(Path::new(path)).map_err(|error| wrong(&*error))?
            }
            Some(("file", _)) => return Err(wrong(&"a file URL needs a full path")),
            Some((scheme, _)) => {
                return Err(wrong(&format!(
                    "'{scheme}' is not a supported kind of store; use a folder, file:///path or s3://bucket/prefix"
                )));
            }
            None if settings.url.is_empty() => return Err(wrong(&"it is empty; name a folder or s3://bucket/prefix")),
            None => open_folder(Path::new(&settings.url)).map_err(|error| wrong(&*error))?,
        };
        let timeout = Duration::from_secs(settings.timeout_s);
        Ok(Self { store, part_bytes: settings.part_bytes.max(1), timeout, folder })
    }

    /// The folder, if the store is one. Workers on other machines cannot use it.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }
}

type Opened = (Arc<dyn ObjectStore>, Option<PathBuf>);

fn open_folder(path: &Path) -> Result<Opened, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(path)?;
    let path = path.canonicalize()?;
    let store = LocalFileSystem::new_with_prefix(&path)?.with_automatic_cleanup(true);
    Ok((Arc::new(store), Some(path)))
}

fn open_s3(settings: &ArtifactsSettings, rest: &str) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    // The HTTP client uses the process's TLS implementation. Installing fails only if one is already installed, which is
    // fine.
    drop(rustls::crypto::ring::default_provider().install_default());
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let client = ClientOptions::new()
        .with_timeout(Duration::from_secs(settings.timeout_s))
        .with_allow_http(settings.s3_allow_http);
    let retry = RetryConfig { max_retries: settings.retries_max, ..RetryConfig::default() };
    // Keys from the settings are used alone: a session token in the environment belongs to other keys, and S3 refuses the
    // pair.
    let credentials = if settings.s3_access_key_id.is_empty() {
        AmazonS3Builder::from_env()
    } else {
        AmazonS3Builder::new()
            .with_access_key_id(&settings.s3_access_key_id)
            .with_secret_access_key(settings.s3_secret_access_key.expose())
    };
    let mut builder = credentials
        .with_bucket_name(bucket)
        .with_region(&settings.s3_region)
        .with_client_options(client)
        .with_retry(retry);
    if !settings.s3_endpoint.is_empty() {
        builder = builder.with_endpoint(&settings.s3_endpoint);
    }
    let store = builder.build()?;
    Ok(if prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) })
}
