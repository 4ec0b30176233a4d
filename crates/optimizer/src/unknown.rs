//! Which words of a prompt a model with a small world does not understand.
//!
//! A word counts as understood in any regular form of a word of the manifest; words that carry no picture of their own ("the",
//! "is") always do. Chinese is not written with blanks, so known words are taken out of it from left to right, the longest first,
//! and what is left over counts.

use std::collections::HashSet;

use domain::World;

use crate::inflect;
use crate::lexicon::LEXICON;
use crate::tokens::{TokenKind, for_each_token};

/// Most words that are reported: enough to explain a prompt that has nothing to do with the model.
const REPORTED_MAX: usize = 8;

/// English words without a picture of their own.
const LITTLE_WORDS: &str = "a an the this that these those it its he his she her they their there here and or but as is are was \
    were be been being am do does did has have had having will would can could of to in on at by for from with into onto over \
    under up down out off through across along around near behind beside between while when then where which who whose what \
    very some one no not please show me i we you my our your s";

/// The prompt's words that the model was not trained on, as the user wrote them, each once, at most eight.
#[must_use]
pub fn unknown_words(prompt: &str, world: &World) -> Vec<String> {
    let known = Known::new(world);
    let mut found = Found { prompt, words: Vec::new(), seen: HashSet::new() };
    let mut chinese: Vec<(usize, usize, char)> = Vec::new();
    for_each_token(prompt, &LEXICON.simplified, |kind, start, end, normal| {
        let goes_on = kind == TokenKind::Han && chinese.last().is_none_or(|last| last.1 == start);
        if !goes_on {
            known.leave_out(&chinese, &mut found);
            chinese.clear();
        }
        match kind {
            TokenKind::Han => chinese.extend(normal.chars().next().map(|character| (start, end, character))),
            TokenKind::Word if !known.words.contains(normal) => found.add(start, end),
            TokenKind::Word | TokenKind::Break => {}
        }
    });
    known.leave_out(&chinese, &mut found);
    found.words
}

struct Found<'a> {
    prompt: &'a str,
    words: Vec<String>,
    seen: HashSet<String>,
}

impl Found<'_> {
    fn add(&mut self, start: usize, end: usize) {
        let word = &self.prompt[start..end];
        if self.words.len() < REPORTED_MAX && self.seen.insert(word.to_lowercase()) {
            self.words.push(word.to_owned());
        }
    }
}

struct Known {
    words: HashSet<String>,
    /// Length of the longest word in characters.
    longest: usize,
}

impl Known {
    fn new(world: &World) -> Self {
        let mut words: HashSet<String> = LITTLE_WORDS.split_whitespace().map(str::to_owned).collect();
        for word in &world.words {
            // "five-pointed" is split in prompts too.
            for part in word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()) {
                words.extend([part.to_owned(), inflect::with_s(part)]);
                words.extend(inflect::past_and_ing(part));
            }
        }
        let longest = words.iter().map(|word| word.chars().count()).max().unwrap_or_default();
        Self { words, longest }
    }

    /// Adds the stretches of a run of Chinese characters that belong to no known word.
    fn leave_out(&self, run: &[(usize, usize, char)], found: &mut Found<'_>) {
        let (mut at, mut unknown_from) = (0, None);
        while at < run.len() {
            let matching = (1..=self.longest.min(run.len() - at)).rev().find(|length| {
                let word: String = run[at..at + length].iter().map(|(_, _, character)| character).collect();
                self.words.contains(&word)
            });
            if matching.is_some() {
                if let Some(from) = unknown_from.take() {
                    found.add(from, run[at].0);
                }
            } else {
                unknown_from.get_or_insert(run[at].0);
            }
            at += matching.unwrap_or(1);
        }
        if let (Some(from), Some((_, end, _))) = (unknown_from, run.last()) {
            found.add(from, *end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(prompt: &str) -> Vec<String> {
        let words = ["cat", "walk", "grass", "fly", "five-pointed", "猫", "草地"];
        unknown_words(prompt, &World { words: words.map(str::to_owned).to_vec() })
    }

    #[test]
    fn forms_of_known_words_and_little_words_are_understood() {
        assert_eq!(unknown("The cats are walking, one flies over the grass: a FIVE-pointed cat's"), [""; 0]);
    }

    #[test]
    fn other_words_are_reported_once_and_as_written() {
        assert_eq!(unknown("A Dragon walks. The dragon burns a castle"), ["Dragon", "burns", "castle"]);
    }

    #[test]
    fn known_words_are_taken_out_of_chinese() {
        assert_eq!(unknown("猫在草地, 飞龙"), ["在", "飞龙"]);
    }

    #[test]
    fn few_of_many_are_reported() {
        let prompt = (0..100).map(|number| format!("word{number}")).collect::<Vec<_>>().join(" ");
        assert_eq!(unknown(&prompt).len(), REPORTED_MAX);
    }
}
