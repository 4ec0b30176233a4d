//! The words that a small model understands, for models that draw only what they were trained on.

use serde::{Deserialize, Serialize};

use crate::manifest_error::ManifestError;

/// `[world]` of a `fleet.toml`. Leave it out for a model that was trained on everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// Words in lower case: English ones in their base form, Chinese ones of any length.
    pub words: Vec<String>,
}

impl World {
    /// Checks the form of the words; a word that cannot occur in a prompt would be a mistake nobody notices.
    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        let wrong = |reason: String| Err(ManifestError::Value { key: "world.words".to_owned(), reason });
        if self.words.is_empty() {
            return wrong("name at least one word, or leave out [world]".to_owned());
        }
        let odd =
            |word: &&String| word.is_empty() || word.chars().any(char::is_whitespace) || word.to_lowercase() != **word;
        match self.words.iter().find(odd) {
            Some(word) => wrong(format!("'{word}' must be one word in lower case")),
            None => Ok(()),
        }
    }
}
