//! Which prompts ask for the same video in other words, so that one may use the embeddings of the other.
//!
//! The test is deliberately one-sided. A prompt is reduced to its *content*: case, punctuation, articles, spelling
//! variants, verb endings, praise ("stunning", "4k") and openings ("a video of") are removed, consecutive adjectives are
//! sorted, and phrases that say when or where are moved from the front to the end. Two prompts are similar only if their
//! contents are equal word for word. Everything that `lexicon/similar.toml` does not list is content, so a different colour,
//! number, subject, negation or role ("a dog chases a cat") makes a different prompt. The score says how much of the rest
//! is equal too.
//!
//! Requiring equality bounds the search: candidates share one hash, so a prompt is never compared with all others, and there
//! is no index that grows. A [`Sketch`] contains only hashes, no words.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::inflect;
use crate::lexicon::LEXICON;
use crate::tokens::{TokenKind, for_each_token};

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    Rules::parse(include_str!("../lexicon/similar.toml")).expect("the embedded word lists do not parse; this is a bug")
});

/// The parts of a prompt that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    /// Hash of the content, hex. Equal contents have equal hashes.
    pub content: String,
    /// Hashes of all words but articles and auxiliaries, sorted.
    pub words: Vec<u32>,
}

impl Sketch {
    /// The sketch of a prompt; `None` if it has no content to compare.
    #[must_use]
    pub fn of(prompt: &str) -> Option<Self> {
        let content = content_of(prompt);
        if content.words.is_empty() {
            return None;
        }
        let hash = blake3::hash(content.words.join(" ").as_bytes());
        let mut words: Vec<u32> = content.words.iter().chain(&content.praise).map(|word| word_hash(word)).collect();
        words.sort_unstable();
        Some(Self { content: hash.to_hex()[..32].to_owned(), words })
    }

    /// How similar two prompts of equal content are: the share of all their words that both have, above 0 and at most 1.
    /// `None` if the contents differ.
    #[must_use]
    pub fn score(&self, other: &Self) -> Option<f64> {
        (self.content == other.content).then(|| overlap(&self.words, &other.words))
    }
}

/// Share of the words of two sorted lists that are in both.
#[must_use]
pub fn overlap(a: &[u32], b: &[u32]) -> f64 {
    let (mut i, mut j, mut both) = (0, 0, 0_usize);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        both += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    let all = a.len() + b.len() - both;
    #[expect(clippy::cast_precision_loss, reason = "numbers of words")]
    let share = both as f64 / all.max(1) as f64;
    share
}

fn word_hash(word: &str) -> u32 {
    let hash = blake3::hash(word.as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Words in their normal form and order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    words: Vec<String>,
    praise: Vec<String>,
}

/// What a word does to the phrase that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Begins a phrase that says where or when.
    Place,
    /// Begins a phrase that belongs to what precedes it.
    Joint,
    /// Anything else.
    Plain,
}

/// How a word continues what precedes it.
enum Join {
    /// In the same phrase.
    Goes,
    /// In a phrase of its own.
    Begins,
    /// In a phrase of its own that a punctuation mark separates from what precedes it.
    StandsApart,
}

/// A sequence of words up to the next preposition, article or punctuation mark.
#[derive(Debug, Clone)]
struct Phrase {
    words: Vec<String>,
    role: Role,
}

impl Phrase {
    fn begin(role: Role) -> Self {
        Self { words: Vec::new(), role }
    }

    /// Whether it contains more than its preposition.
    fn has_begun(&self) -> bool {
        self.words.len() > usize::from(self.role != Role::Plain)
    }
}

fn content_of(prompt: &str) -> Content {
    let rules = &*RULES;
    let mut tokens = Vec::new();
    for_each_token(prompt, &LEXICON.simplified, |kind, _, _, normal| {
        let word = if kind == TokenKind::Break { BREAK } else { normal };
        let spelt = rules.spelling.get(word).map_or(word, String::as_str);
        tokens.extend(spelt.split(' ').map(str::to_owned));
    });
    let (tokens, praise) = without_praise(rules, &tokens);
    let begin = opening_end(rules, &tokens);
    let mut phrases = phrases_of(rules, &tokens[begin..]);
    move_time(rules, &mut phrases);
    move_front(&mut phrases);
    for phrase in &mut phrases {
        sort_adjectives(rules, &mut phrase.words);
    }
    Content { words: phrases.into_iter().flat_map(|phrase| phrase.words).collect(), praise }
}

/// A punctuation mark among words; no word is empty.
const BREAK: &str = "";
/// What a punctuation mark leaves where it separates things: "an orange, a clock" is not an "orange clock".
const APART: &str = ",";
/// Most tokens of an opening, including articles.
const OPENING_TOKENS_MAX: usize = 8;

/// Index of the first token after the longest opening. Articles inside an opening do not matter.
fn opening_end(rules: &Rules, tokens: &[String]) -> usize {
    let (mut said, mut end) = (String::new(), 0);
    for (index, token) in tokens.iter().enumerate().take(OPENING_TOKENS_MAX) {
        if token == BREAK || rules.articles.contains(token) {
            continue;
        }
        if !said.is_empty() {
            said.push(' ');
        }
        said.push_str(token);
        if rules.openings.contains(&said) {
            end = index + 1;
        }
    }
    end
}

fn without_praise(rules: &Rules, tokens: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut praise) = (Vec::new(), Vec::new());
    let mut rest = tokens;
    while let Some(first) = rest.first() {
        let longest = (1..=rules.praise_longest.min(rest.len())).rev().find(|n| rules.praise.contains(&rest[..*n]));
        let taken = longest.unwrap_or(1);
        if longest.is_some() {
            praise.extend_from_slice(&rest[..taken]);
        } else {
            kept.push(first.clone());
        }
        rest = &rest[taken..];
    }
    (kept, praise)
}

fn phrases_of(rules: &Rules, tokens: &[String]) -> Vec<Phrase> {
    let mut phrases: Vec<Phrase> = Vec::new();
    let (mut after_break, mut after_article) = (false, false);
    for token in tokens {
        if token == BREAK {
            after_break = true;
        } else if rules.articles.contains(token) {
            after_article = true;
        } else if !rules.dropped.contains(token) {
            match rules.joins(&phrases, token, after_break, after_article) {
                Join::Goes => {}
                Join::Begins => phrases.push(Phrase::begin(rules.role(token))),
                Join::StandsApart => {
                    let mut phrase = Phrase::begin(rules.role(token));
                    phrase.words.push(APART.to_owned());
                    phrases.push(phrase);
                }
            }
            let last = phrases.last_mut().expect("the first word begins a phrase; this is a bug");
            last.words.push(rules.verbs.get(token).unwrap_or(token).clone());
            (after_break, after_article) = (false, false);
        }
    }
    phrases
}

/// Moves "at night" to the end, unless it is negated or there are several such phrases.
fn move_time(rules: &Rules, phrases: &mut Vec<Phrase>) {
    let is_time = |phrase: &Phrase| matches!(&phrase.words[..], [_, time] if phrase.role == Role::Place && rules.times.contains(time));
    let mut found = phrases.iter().enumerate().filter(|(_, phrase)| is_time(phrase)).map(|(index, _)| index);
    let (Some(index), None) = (found.next(), found.next()) else { return };
    let negated = index > 0 && phrases[index - 1].words.last().is_some_and(|word| word == "not" || word == "no");
    if !negated && phrases.len() > 1 {
        let phrase = phrases.remove(index);
        phrases.push(phrase);
    }
}

/// Turns "on the grass, a cat sits" into "a cat sits on the grass", unless it could then belong to something else.
fn move_front(phrases: &mut [Phrase]) {
    let front = phrases.iter().take_while(|phrase| phrase.role == Role::Place).count();
    let rest = &phrases[front..];
    if front == 0 || rest.is_empty() || rest[0].role == Role::Joint {
        return;
    }
    let bare = rest.iter().filter(|phrase| phrase.role == Role::Plain).count();
    if bare == 1 || bare == rest.len() {
        phrases.rotate_left(front);
    }
}

fn sort_adjectives(rules: &Rules, words: &mut [String]) {
    for run in words.split_mut(|word| !rules.adjectives.contains(word)) {
        run.sort_unstable();
    }
}

/// The word lists, prepared for lookups.
#[derive(Debug)]
struct Rules {
    articles: HashSet<String>,
    dropped: HashSet<String>,
    openings: HashSet<String>,
    praise: HashSet<Vec<String>>,
    praise_longest: usize,
    spelling: HashMap<String, String>,
    verbs: HashMap<String, String>,
    adjectives: HashSet<String>,
    roles: HashMap<String, Role>,
    times: HashSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    articles: HashSet<String>,
    auxiliaries: Vec<String>,
    openings: HashSet<String>,
    praise: Vec<String>,
    particles: Vec<String>,
    spelling: HashMap<String, String>,
    verbs: Verbs,
    words: Words,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verbs {
    all: Vec<String>,
    moving: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    adjectives: HashSet<String>,
    places: Vec<String>,
    joints: Vec<String>,
    times: HashSet<String>,
}

impl Rules {
    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let file: File = toml::from_str(text)?;
        let mut verbs = HashMap::new();
        for entry in &file.verbs.all {
            let mut forms = entry.split('/').map(str::to_owned);
            let Some(base) = forms.next() else { continue };
            let regular = inflect::past_and_ing(&base).into_iter().chain([inflect::with_s(&base), base.clone()]);
            verbs.extend(regular.chain(forms).map(|form| (form, base.clone())));
        }
        for base in &file.verbs.moving {
            let ing = inflect::past_and_ing(base).into_iter().filter(|form| form.ends_with("ing"));
            // The mark distinguishes it from the word itself, which may name a thing.
            verbs.extend(ing.chain([inflect::with_s(base)]).map(|form| (form, format!("{base}+"))));
        }
        let praise: HashSet<Vec<String>> = file.praise.iter().map(|entry| pieces(entry)).collect();
        let role = |words: Vec<String>, role| words.into_iter().map(move |word| (word, role));
        Ok(Self {
            praise_longest: praise.iter().map(Vec::len).max().unwrap_or(0),
            praise,
            articles: file.articles,
            dropped: file.auxiliaries.into_iter().chain(file.particles).collect(),
            openings: file.openings,
            spelling: file.spelling,
            verbs,
            adjectives: file.words.adjectives,
            roles: role(file.words.places, Role::Place).chain(role(file.words.joints, Role::Joint)).collect(),
            times: file.words.times,
        })
    }

    fn joins(&self, phrases: &[Phrase], word: &str, after_break: bool, after_article: bool) -> Join {
        let Some(last) = phrases.last() else { return Join::Begins };
        if self.role(word) != Role::Plain || word == "and" {
            return Join::Begins;
        }
        // Directly after a preposition, an article or a punctuation mark begins nothing.
        if !last.has_begun() || !(after_break || after_article) {
            return Join::Goes;
        }
        let leading = phrases.iter().all(|phrase| phrase.role == Role::Place);
        let is_adjective = |word: &String| self.adjectives.contains(word);
        let adjectives = last.words.last().is_some_and(is_adjective) && self.adjectives.contains(word);
        let goes_on = adjectives || self.verbs.contains_key(word) && !after_article;
        match (after_break && !goes_on, after_article) {
            _ if leading => Join::Begins,
            (true, _) => Join::StandsApart,
            (false, true) => Join::Begins,
            (false, false) => Join::Goes,
        }
    }

    fn role(&self, word: &str) -> Role {
        self.roles.get(word).copied().unwrap_or(Role::Plain)
    }
}

/// The tokens that an entry is found by: words, or single Chinese characters.
fn pieces(entry: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for_each_token(entry, &LEXICON.simplified, |_, _, _, normal| tokens.push(normal.to_owned()));
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(prompt: &str) -> String {
        content_of(prompt).words.join(" ")
    }

    #[test]
    fn what_shows_nothing_is_dropped() {
        assert_eq!(content("A video of a STUNNING red cat, 4K!"), "red cat");
        assert_eq!(content("There are two cats that are walking"), "two cats walk");
        assert_eq!(content("a person watches a video"), "person watches video", "an opening only at the beginning");
    }

    #[test]
    fn places_and_times_move_to_the_end_where_nothing_else_could_own_them() {
        assert_eq!(content("on the grass, a red cat sits"), content("a red cat sits on the grass"));
        assert_eq!(content("a cat sits at night on the grass"), content("At night a cat sits on the grass"));
        assert_ne!(
            content("on a boat, a man on a horse and a woman"),
            content("a man on a horse and a woman on a boat")
        );
        assert_ne!(content("a man not at night"), content("a man at night"));
    }

    #[test]
    fn a_score_counts_all_words_of_equal_contents() {
        let sketch = |prompt| Sketch::of(prompt).expect("it has content");
        assert_eq!(sketch("a red cat").score(&sketch("Red cat.")), Some(1.0));
        assert_eq!(sketch("a red cat").score(&sketch("a beautiful red cat")), Some(2.0 / 3.0));
        assert_eq!(sketch("a red cat").score(&sketch("a blue cat")), None);
        assert_eq!(Sketch::of("the beautiful"), None);
    }
}
