//! The models that requests may name: those in this machine's model folders and those that workers have registered.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use domain::{FieldError, ModelManifest};

/// Manifests by id. The map is replaced as a whole when models are added, so that readers never wait.
#[derive(Debug)]
pub struct Models {
    default_id: String,
    known: RwLock<Arc<BTreeMap<String, Arc<ModelManifest>>>>,
}

impl Models {
    /// A set of models, with the id of the default one.
    #[must_use]
    pub fn new(default_id: String, manifests: Vec<ModelManifest>) -> Self {
        let models = Self { default_id, known: RwLock::default() };
        models.add(manifests);
        models
    }

    /// Adds models. A model with a known id replaces the old one.
    pub fn add(&self, manifests: Vec<ModelManifest>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = BTreeMap::clone(&known);
        fresh.extend(manifests.into_iter().map(|manifest| (manifest.id.clone(), Arc::new(manifest))));
        *known = Arc::new(fresh);
    }

    /// All models by id.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<String, Arc<ModelManifest>>> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Id of the model for requests that name none.
    #[must_use]
    pub(crate) fn default_id(&self) -> &str {
        &self.default_id
    }

    /// The model with this id, or the default one.
    ///
    /// # Errors
    /// The model is unknown; the error is about the field `model` and lists the known ones.
    pub fn find(&self, wanted: Option<&str>) -> Result<Arc<ModelManifest>, FieldError> {
        let id = wanted.unwrap_or(&self.default_id);
        let known = self.all();
        known.get(id).cloned().ok_or_else(|| {
            let ids: Vec<_> = known.keys().map(String::as_str).collect();
            FieldError::new("model", format!("'{id}' is not one of {}", ids.join(", ")))
        })
    }
}
