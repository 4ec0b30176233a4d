//! The tensors that a prompt is to this family.
//!
//! There is no mask: states are trimmed to their true length. A prompt that quotes no text has no glyph states at all.

use tch::Tensor;

use crate::runtime::{
    embeddings::Embeddings,
    error::{Error, Result},
};

/// States of the language model, `[1, tokens, width]`.
pub const PROMPT: &str = "prompt_embeds";
/// States of the quoted text, `[1, bytes, width]`; absent without quoted text.
pub const GLYPH: &str = "glyph_embeds";

/// A prompt's tensors, known to have the right number of axes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'e> {
    pub(crate) prompt: &'e Tensor,
    pub(crate) glyph: Option<&'e Tensor>,
}

impl<'e> Text<'e> {
    /// The tensors of `embeddings`; `field` names them in an error.
    ///
    /// # Errors
    /// A tensor that is absent, and one that is not of a single prompt.
    pub(crate) fn of(field: &'static str, embeddings: &'e Embeddings) -> Result<Self> {
        let prompt = embeddings.get(PROMPT)?;
        let glyph = embeddings.tensors().find(|(name, _)| *name == GLYPH).map(|(_, tensor)| tensor);
        for (name, tensor) in [(PROMPT, Some(prompt)), (GLYPH, glyph)] {
            let Some(size) = tensor.map(Tensor::size) else { continue };
            if size.len() != 3 || size[0] != 1 || size.contains(&0) {
                return Err(Error::input(field, format!("{name} has the shape {size:?}; give [1, tokens, width]")));
            }
        }
        Ok(Self { prompt, glyph })
    }

    /// Numbers of tokens: of the quoted text, then of the prompt.
    pub(crate) fn lengths(self) -> [i64; 2] {
        [self.glyph.map_or(0, |glyph| glyph.size()[1]), self.prompt.size()[1]]
    }

    /// Number of text tokens.
    pub(crate) fn tokens(self) -> i64 {
        self.lengths().iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glyph_states_may_be_absent_and_other_shapes_are_refused_by_field() {
        let zeros = |sizes: &[i64]| Tensor::zeros(sizes, (tch::Kind::Float, tch::Device::Cpu));
        let plain = Embeddings::new([(PROMPT, zeros(&[1, 3, 4]))]).unwrap();
        assert_eq!(Text::of("embeddings", &plain).unwrap().lengths(), [0, 3]);
        let quoted = Embeddings::new([(PROMPT, zeros(&[1, 3, 4])), (GLYPH, zeros(&[1, 5, 2]))]).unwrap();
        assert_eq!(Text::of("embeddings", &quoted).unwrap().tokens(), 8);
        let empty = Embeddings::new([(PROMPT, zeros(&[1, 3, 4])), (GLYPH, zeros(&[1, 0, 2]))]).unwrap();
        let error = Text::of("negative", &empty).unwrap_err();
        assert!(
            matches!(error, Error::Input { field: "negative", .. }) && error.to_string().contains(GLYPH),
            "{error}"
        );
    }
}
