//! The two tensors that represent a prompt in this family.
//!
//! There is no mask: the language model's states are trimmed to the prompt's own tokens, and every token counts.

use tch::Tensor;

use crate::runtime::{
    embeddings::Embeddings,
    error::{Error, Result},
};

/// States of the language model, `[1, tokens, width]`.
pub const PROMPT: &str = "prompt_embeds";
/// CLIP's pooled state, `[1, width]`.
pub const POOLED: &str = "pooled_prompt_embeds";

/// A prompt's tensors, known to have the right number of axes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'e> {
    pub(crate) prompt: &'e Tensor,
    pub(crate) pooled: &'e Tensor,
}

impl<'e> Text<'e> {
    /// The tensors of `embeddings`; `field` names them in an error.
    ///
    /// # Errors
    /// A tensor that is absent, and one that is not of a single prompt.
    pub(crate) fn of(field: &'static str, embeddings: &'e Embeddings) -> Result<Self> {
        let (prompt, pooled) = (embeddings.get(PROMPT)?, embeddings.get(POOLED)?);
        let whole = |sizes: &[i64], axes: usize| sizes.len() == axes && sizes[0] == 1 && !sizes.contains(&0);
        if !whole(&prompt.size(), 3) || !whole(&pooled.size(), 2) {
            let (prompt, pooled) = (prompt.size(), pooled.size());
            let reason = format!("shapes {prompt:?} and {pooled:?}; give [1, tokens, width] and [1, width]");
            return Err(Error::input(field, reason));
        }
        Ok(Self { prompt, pooled })
    }

    /// Number of text tokens.
    pub(crate) fn tokens(self) -> i64 {
        self.prompt.size()[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_of_another_shape_are_refused_by_field() {
        let zeros = |sizes: &[i64]| Tensor::zeros(sizes, (tch::Kind::Float, tch::Device::Cpu));
        for (prompt, pooled) in [([1, 0, 4].as_slice(), [1, 4].as_slice()), (&[2, 3, 4], &[1, 4]), (&[1, 3, 4], &[4])] {
            let embeddings = Embeddings::new([(PROMPT, zeros(prompt)), (POOLED, zeros(pooled))]).unwrap();
            let error = Text::of("negative", &embeddings).unwrap_err();
            assert!(matches!(error, Error::Input { field: "negative", .. }), "{error}");
        }
        let other = Embeddings::new([(PROMPT, zeros(&[1, 3, 4]))]).unwrap();
        let error = Text::of("embeddings", &other).unwrap_err().to_string();
        assert!(error.contains(POOLED), "{error}");
    }
}
