//! What a prompt demands of the model: seven factors, each with its score and the words that gave it.
//!
//! The analysis is one pass, linear in the prompt's length: at every position it looks up the longest lexicon entry, and no
//! entry is longer than a few words. Nothing ever subtracts: a negated word does not count, and a negator only reaches
//! forward within its clause. So text that is added after a comma can raise the score but never lower it.

use domain::Complexity;
use domain::plan::FactorScore;
use serde::{Deserialize, Serialize};

use crate::lexicon::{LEXICON, Lexicon, Meaning, UNKNOWN, WordFactor};
use crate::scoring::{self, SCORING, Scoring};
use crate::tokens::{TokenKind, for_each_token};

/// The result of analysing a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The prompt's class.
    pub complexity: Complexity,
    /// Sum of the factors.
    pub score: f64,
    /// All seven factors, always in the order motion, scene, camera, lighting, quality, length, subjects.
    pub factors: Vec<FactorScore>,
}

/// Analyses a prompt: any text, of any language and length.
#[must_use]
pub fn analyze(prompt: &str) -> Analysis {
    let mut scan = Scan::new(prompt, &LEXICON, &SCORING);
    scan.run();
    scan.finish()
}

#[derive(Clone, Copy)]
struct Token {
    kind: TokenKind,
    start: usize,
    end: usize,
    word: u32,
    /// Value of a word that consists of digits; 0 for any other word.
    number: u32,
}

/// One factor while its words are added up.
#[derive(Default)]
struct Tally {
    score: f64,
    seen: Vec<u32>,
    words: Vec<String>,
}

/// A counted subject: a lexicon entry, or a number of something that the lexicon does not contain.
struct Subject {
    entry: Option<u32>,
    count: u32,
    word: String,
}

/// A number whose noun has not been found yet.
struct PendingNumber {
    count: u32,
    left: u32,
    /// Where it is written; `None` for digits, which mean nothing on their own ("4k", "1800").
    at: Option<(usize, usize)>,
}

struct Scan<'a> {
    prompt: &'a str,
    lexicon: &'static Lexicon,
    scoring: &'static Scoring,
    tokens: Vec<Token>,
    tallies: [Tally; 5],
    subjects: Vec<Subject>,
    subject_count: u32,
    /// How many more tokens the last negator reaches.
    negated: u32,
    number: Option<PendingNumber>,
    /// Length of the prompt in words.
    words: f64,
}

/// Most tokens between a number and what it counts: "two large brown dogs", "3只猫".
const NUMBER_REACH: u32 = 4;
/// Larger counts of one thing are treated as this count; it also keeps sums small.
const COUNT_MAX: u32 = 10;

impl<'a> Scan<'a> {
    fn new(prompt: &'a str, lexicon: &'static Lexicon, scoring: &'static Scoring) -> Self {
        let mut tokens = Vec::with_capacity(prompt.len() / 5 + 8);
        let mut words = 0.0;
        for_each_token(prompt, &lexicon.simplified, |kind, start, end, normal| {
            words += match kind {
                TokenKind::Word => 1.0,
                TokenKind::Han => scoring.length.han,
                TokenKind::Break => 0.0,
            };
            let word = if kind == TokenKind::Break { UNKNOWN } else { lexicon.word(normal) };
            let digits = word == UNKNOWN
                && normal.len() <= 4
                && !normal.is_empty()
                && normal.bytes().all(|b| b.is_ascii_digit());
            let number = if digits { normal.parse().unwrap_or(0) } else { 0 };
            tokens.push(Token { kind, start, end, word, number });
        });
        Self {
            prompt,
            lexicon,
            scoring,
            tokens,
            tallies: Default::default(),
            subjects: Vec::new(),
            subject_count: 0,
            negated: 0,
            number: None,
            words,
        }
    }

    fn run(&mut self) {
        let mut at = 0;
        while let Some(token) = self.tokens.get(at).copied() {
            if token.kind == TokenKind::Break {
                self.negated = 0;
                self.settle_number();
                at += 1;
                continue;
            }
            let lexicon = self.lexicon;
            let found = lexicon.longest_match(self.tokens[at..].iter().map(|t| t.word));
            let (taken, meanings) = found.unwrap_or((1, &[]));
            self.take(at, taken, meanings);
            if meanings.is_empty() && token.number >= 2 {
                self.settle_number();
                self.number = Some(PendingNumber { count: token.number.min(COUNT_MAX), left: NUMBER_REACH, at: None });
            }
            at += taken;
        }
        self.settle_number();
    }

    /// Applies one match, or one unknown word when `meanings` is empty.
    fn take(&mut self, at: usize, taken: usize, meanings: &[Meaning]) {
        let span = (self.tokens[at].start, self.tokens[at + taken - 1].end);
        let has = |meaning: Meaning| meanings.contains(&meaning);
        if has(Meaning::Negator) {
            let han = self.tokens[at].kind == TokenKind::Han;
            self.negated = if han { self.scoring.negation.han } else { self.scoring.negation.words };
            return;
        }
        let finite = |m: &Meaning| matches!(m, Meaning::Demand { finite: true, .. });
        if has(Meaning::Stop) || meanings.iter().any(finite) {
            self.negated = 0;
        }
        if self.negated == 0 {
            for meaning in meanings {
                match *meaning {
                    Meaning::Demand { factor, entry, weight, .. } => self.demand(factor, entry, weight, span),
                    Meaning::Subject { entry, count } => self.subject(entry, count, span),
                    Meaning::Number(count) => {
                        self.settle_number();
                        self.number =
                            Some(PendingNumber { count: count.min(COUNT_MAX), left: NUMBER_REACH + 1, at: Some(span) });
                    }
                    Meaning::Negator | Meaning::Stop | Meaning::Filler | Meaning::Ignore => {}
                }
            }
        } else if !has(Meaning::Filler) {
            self.negated = self.negated.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        }
        if let Some(number) = &mut self.number {
            number.left = number.left.saturating_sub(1);
            if number.left == 0 {
                self.settle_number();
            }
        }
    }

    fn text(&self, (start, end): (usize, usize)) -> String {
        self.prompt[start..end].to_owned()
    }

    fn demand(&mut self, factor: WordFactor, entry: u32, weight: f64, span: (usize, usize)) {
        let caps = &self.scoring.caps;
        let (index, cap) = match factor {
            WordFactor::Motion => (0, caps.motion),
            WordFactor::Scene => (1, caps.scene),
            WordFactor::Camera => (2, caps.camera),
            WordFactor::Lighting => (3, caps.lighting),
            WordFactor::Quality => (4, caps.quality),
        };
        // A factor at its cap takes no more words, which also bounds how many entries are remembered.
        if self.tallies[index].score >= cap || self.tallies[index].seen.contains(&entry) {
            return;
        }
        let word = self.text(span);
        let tally = &mut self.tallies[index];
        tally.score = (tally.score + weight).min(cap);
        tally.seen.push(entry);
        tally.words.push(word);
    }

    fn subjects_full(&self) -> bool {
        let rule = &self.scoring.subjects;
        f64::from(self.subject_count.saturating_sub(1)) * rule.each >= rule.cap
    }

    fn subject(&mut self, entry: u32, count: u32, (start, end): (usize, usize)) {
        let number = self.number.take();
        if self.subjects_full() {
            return;
        }
        let count = number.as_ref().map_or(count, |number| number.count.max(count));
        let start = number.and_then(|number| number.at).map_or(start, |(number_start, _)| number_start);
        match self.subjects.iter_mut().find(|subject| subject.entry == Some(entry)) {
            Some(known) => {
                // The same word again is the same subject, unless it now means a larger number.
                self.subject_count += count.saturating_sub(known.count);
                known.count = known.count.max(count);
            }
            None => {
                self.subject_count += count;
                let word = self.text((start, end));
                self.subjects.push(Subject { entry: Some(entry), count, word });
            }
        }
    }

    /// A number whose noun is not in the lexicon still says that there are several subjects.
    fn settle_number(&mut self) {
        let Some(PendingNumber { count, at: Some(span), .. }) = self.number.take() else { return };
        if !self.subjects_full() {
            self.subject_count += count;
            let word = self.text(span);
            self.subjects.push(Subject { entry: None, count, word });
        }
    }

    fn finish(self) -> Analysis {
        let rule = &self.scoring.length;
        let length = ((self.words - rule.free).max(0.0) * rule.each).min(rule.cap);
        let rule = &self.scoring.subjects;
        let several = (f64::from(self.subject_count.saturating_sub(1)) * rule.each).min(rule.cap);
        // A single subject is not a demand, so it is not shown as the reason for one.
        let subjects = self.subjects.into_iter().map(|subject| subject.word).filter(|_| several > 0.0).collect();
        let factor = |name: &str, score, words| FactorScore { factor: name.to_owned(), score, words };
        let names = ["motion", "scene", "camera", "lighting", "quality"];
        let mut factors: Vec<_> =
            names.into_iter().zip(self.tallies).map(|(name, tally)| factor(name, tally.score, tally.words)).collect();
        factors.push(factor("length", length, Vec::new()));
        factors.push(factor("subjects", several, subjects));
        let score = factors.iter().map(|factor| factor.score).sum();
        Analysis { complexity: scoring::complexity(score), score, factors }
    }
}
