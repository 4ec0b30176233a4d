//! The models that requests may name: those of this machine's model folders and those that the database has registered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use domain::{FieldError, ModelManifest};
use store::models::RegisteredModel;

/// Manifests by id.
type Manifests = BTreeMap<String, Arc<ModelManifest>>;

/// Manifests by id. The map is replaced as a whole when models are added, so that readers never wait.
#[derive(Debug)]
pub struct Models {
    default_id: String,
    known: RwLock<Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    manifests: Arc<Manifests>,
    /// Ids of models that accept no new jobs.
    retired: Arc<BTreeSet<String>>,
}

impl Models {
    /// A set of models, with the id of the default one.
    #[must_use]
    pub fn new(default_id: String, manifests: Vec<ModelManifest>) -> Self {
        let by_id = manifests.into_iter().map(|manifest| (manifest.id.clone(), Arc::new(manifest))).collect();
        let known = Known { manifests: Arc::new(by_id), retired: Arc::default() };
        Self { default_id, known: RwLock::new(known) }
    }

    /// Takes over what the database has registered. A model with a known id replaces it; one whose manifest cannot be read
    /// keeps its last description.
    pub fn take_over(&self, registered: Vec<RegisteredModel>) {
        let retired =
            registered.iter().filter(|model| model.retired_at.is_some()).map(|model| model.id.clone()).collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut manifests = Manifests::clone(&known.manifests);
        for model in registered {
            match model.manifest {
                Ok(manifest) => drop(manifests.insert(model.id, Arc::new(manifest))),
                Err(error) => {
                    tracing::warn!(
                        model = model.id, %error,
                        "this release cannot read the model's manifest; run the same release everywhere"
                    );
                }
            }
        }
        *known = Known { manifests: Arc::new(manifests), retired: Arc::new(retired) };
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of them, by id, also the retired ones.
    #[must_use]
    pub fn all(&self) -> Arc<Manifests> {
        self.known().manifests
    }

    /// Those that accept new jobs, by id.
    #[must_use]
    pub(crate) fn in_service(&self) -> Manifests {
        let Known { manifests, retired } = self.known();
        let open = manifests.iter().filter(|(id, _)| !retired.contains(*id));
        open.map(|(id, manifest)| (id.clone(), Arc::clone(manifest))).collect()
    }

    /// Id of the model for requests that name none.
    #[must_use]
    pub(crate) fn default_id(&self) -> &str {
        &self.default_id
    }

    /// The model of a stored job or of `None`, the default; also a retired one.
    ///
    /// # Errors
    /// The model is unknown; the error is about the field `model` and lists the known ones.
    pub fn find(&self, wanted: Option<&str>) -> Result<Arc<ModelManifest>, FieldError> {
        let id = wanted.unwrap_or(&self.default_id);
        self.all().get(id).cloned().ok_or_else(|| {
            let reason = format!("'{id}' is not a known model; use {}", self.choices());
            FieldError::new("model", reason)
        })
    }

    /// The model of a new job.
    ///
    /// # Errors
    /// As [`Models::find`], and for a retired model.
    pub(crate) fn for_new_job(&self, wanted: Option<&str>) -> Result<Arc<ModelManifest>, FieldError> {
        let manifest = self.find(wanted)?;
        if self.known().retired.contains(&manifest.id) {
            let reason = format!("'{}' is retired and accepts no new jobs; use {}", manifest.id, self.choices());
            return Err(FieldError::new("model", reason));
        }
        Ok(manifest)
    }

    /// The ids that a request may name, for error messages.
    fn choices(&self) -> String {
        let ids: Vec<String> = self.in_service().into_keys().collect();
        if ids.is_empty() { "no model until an operator restores one".to_owned() } else { ids.join(", ") }
    }
}
