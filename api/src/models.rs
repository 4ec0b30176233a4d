//! The models that requests may name: those of this machine's model folders and those that workers have registered.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use domain::{FieldError, ModelManifest};

/// Manifests by id. Replaced as a whole when the database knows more.
#[derive(Debug)]
pub struct Models {
    default_id: String,
    known: RwLock<Arc<BTreeMap<String, Arc<ModelManifest>>>>,
}

impl Models {
    /// Models with one of them as the default.
    #[must_use]
    pub fn new(default_id: String, manifests: Vec<ModelManifest>) -> Self {
        let models = Self { default_id, known: RwLock::default() };
        models.add(manifests);
        models
    }

    /// Adds models; one with a known id replaces it.
    pub fn add(&self, manifests: Vec<ModelManifest>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = BTreeMap::clone(&known);
        fresh.extend(manifests.into_iter().map(|manifest| (manifest.id.clone(), Arc::new(manifest))));
        *known = Arc::new(fresh);
    }

    /// All of them, by id.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<String, Arc<ModelManifest>>> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Id of the model of requests that name none.
    #[must_use]
    pub(crate) fn default_id(&self) -> &str {
        &self.default_id
    }

    /// The model that a request means.
    ///
    /// # Errors
    /// Names `model` and the models there are.
    pub fn find(&self, wanted: Option<&str>) -> Result<Arc<ModelManifest>, FieldError> {
        let id = wanted.unwrap_or(&self.default_id);
        let known = self.all();
        known.get(id).cloned().ok_or_else(|| {
            let ids: Vec<_> = known.keys().map(String::as_str).collect();
            FieldError::new("model", format!("'{id}' is not one of {}", ids.join(", ")))
        })
    }
}
