//! Similar prompts against hand-labelled pairs, and against every pair of VBench's prompts.
//!
//! A wrong match gives a user the wrong video, while a missed one only costs an encode. So the tests require high precision,
//! and a lower recall.

use std::collections::HashMap;

use optimizer::similar::{Sketch, overlap};
use proptest::prelude::*;

const PAIRS: &str = include_str!("../similar.tsv");
const VBENCH: &str = include_str!("../data/vbench-prompts.txt");
/// `cache.similar_threshold`.
const THRESHOLD: f64 = 0.6;

fn pairs() -> Vec<(bool, &'static str, &'static str)> {
    let lines = PAIRS.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    fields.map(|fields| (fields[0] == "same", fields[1], fields[2])).collect()
}

fn sketch(prompt: &str) -> Sketch {
    Sketch::of(prompt).unwrap_or_else(|| panic!("'{prompt}' has content"))
}

fn matches(a: &str, b: &str) -> bool {
    sketch(a).score(&sketch(b)).is_some_and(|score| score >= THRESHOLD)
}

/// Precision and recall of a decision rule over the labelled pairs.
fn quality(decide: impl Fn(&str, &str) -> bool) -> (f64, f64) {
    let (mut right, mut wrong, mut missed) = (0.0, 0.0, 0.0);
    for (same, a, b) in pairs() {
        match (same, decide(a, b)) {
            (true, true) => right += 1.0,
            (false, true) => wrong += 1.0,
            (true, false) => missed += 1.0,
            (false, false) => {}
        }
    }
    (right / (right + wrong), right / (right + missed))
}

#[test]
fn hardly_any_match_is_wrong() {
    let wrong: Vec<_> = pairs().into_iter().filter(|(same, a, b)| !same && matches(a, b)).collect();
    let (precision, recall) = quality(matches);
    assert!(precision >= 0.99, "precision {precision:.3}: {wrong:#?}");
    let missed: Vec<_> = pairs().into_iter().filter(|(same, a, b)| *same && !matches(a, b)).collect();
    assert!(recall >= 0.8, "recall {recall:.3}: {missed:#?}");
}

#[test]
fn comparing_words_alone_would_not_do() {
    let words = |prompt: &str| sketch(prompt).words;
    let (precision, _) = quality(|a, b| overlap(&words(a), &words(b)) >= THRESHOLD);
    assert!(precision < 0.6, "the labelled pairs are too easy: {precision:.3}");
}

/// VBench asks for each thing once, often in many variants that differ in a colour, a style or a camera move.
#[test]
fn of_all_pairs_of_vbench_only_true_repetitions_match() {
    let mut groups: HashMap<String, Vec<(&str, Sketch)>> = HashMap::new();
    for prompt in VBENCH.lines().filter(|line| !line.trim().is_empty()) {
        let sketch = sketch(prompt);
        groups.entry(sketch.content.clone()).or_default().push((prompt, sketch));
    }
    let mut found = Vec::new();
    let other = |a: &str, b: &str| !a.trim().eq_ignore_ascii_case(b.trim());
    for group in groups.values() {
        for (index, (a, first)) in group.iter().enumerate() {
            let like = group[index + 1..].iter().filter(|(_, other)| first.score(other) >= Some(THRESHOLD));
            found.extend(like.map(|(b, _)| (*a, *b)).filter(|(a, b)| other(a, b)));
        }
    }
    // Of 446,985 pairs; checked by hand.
    assert_eq!(found, [("A person is washing dishes", "a person washing the dishes")]);
}

proptest! {
    #[test]
    fn any_text_is_read_and_is_like_itself(text in "\\PC{0,200}") {
        if let Some(sketch) = Sketch::of(&text) {
            prop_assert_eq!(sketch.score(&sketch), Some(1.0));
            prop_assert_eq!(sketch.content.len(), 32);
        }
    }

    #[test]
    fn case_and_punctuation_at_the_end_never_matter(text in "[a-z]{2,8}( [a-z]{2,8}){0,8}") {
        let loud = format!("  {}!", text.to_uppercase());
        prop_assert_eq!(Sketch::of(&text), Sketch::of(&loud));
    }
}
