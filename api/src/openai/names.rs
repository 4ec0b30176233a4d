//! The names under which a client sent what became a field of a request, so that errors name what it sent.

use domain::FieldError;

/// Pairs of a request's field and the client's name for it.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(&'static str, &'static str)>);

impl Names {
    /// The client called `own` by another name.
    pub(super) fn note(&mut self, own: &'static str, client: &'static str) {
        self.0.push((own, client));
    }

    /// The same errors, about the client's fields. A field of which the client knows nothing keeps its name.
    pub(super) fn translate(&self, errors: Vec<FieldError>) -> Vec<FieldError> {
        let translated = |mut error: FieldError| {
            if let Some((_, client)) = self.0.iter().find(|(own, _)| *own == error.field) {
                (*client).clone_into(&mut error.field);
            }
            error
        };
        errors.into_iter().map(translated).collect()
    }
}
