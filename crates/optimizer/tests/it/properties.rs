//! What holds for every prompt: no panic, order, bounds, and that demands only ever add.

use domain::model::StepRanges;
use domain::{Complexity, QualityTier};
use optimizer::{Analysis, analyze, scoring};
use proptest::prelude::*;

const FACTORS: [&str; 7] = ["motion", "scene", "camera", "lighting", "quality", "length", "subjects"];

/// Clauses that add to each factor in turn, in both languages.
const CLAUSES: &[&str] = &[
    "running fast",
    "a crowded market",
    "the camera zooms in",
    "neon lights",
    "cinematic, 8k",
    "a very long and patient description of nothing in particular that goes on and on",
    "three dogs",
    "no people",
    "奔跑的马",
    "镜头推进",
    "没有人",
    "not only",
];

/// Text as hostile as it comes, mixed with words that mean something.
fn prompt() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        any::<String>(),
        "\\PC{0,12}",
        prop::sample::select(CLAUSES).prop_map(str::to_owned),
        prop::sample::select(
            &["no", "not", "two", "3", "4k", "'s", "\u{301}", "ﬁre", "İ", "不", "两", "只", ",", "\u{202e}"][..]
        )
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
}

fn steps(found: &Analysis, tier: QualityTier) -> u32 {
    let range = StepRanges::default().range(tier);
    scoring::steps_in(found.score, range.min, range.max)
}

fn of(found: &Analysis, name: &str) -> f64 {
    found.factors.iter().find(|f| f.factor == name).expect("all factors are listed").score
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_gets_a_sane_analysis(text in prompt()) {
        let found = analyze(&text);
        prop_assert_eq!(found.factors.iter().map(|f| f.factor.as_str()).collect::<Vec<_>>(), FACTORS);
        prop_assert!(found.factors.iter().all(|f| f.score >= 0.0 && f.score.is_finite()));
        prop_assert!((found.score - found.factors.iter().map(|f| f.score).sum::<f64>()).abs() < 1e-9);
        for word in found.factors.iter().flat_map(|f| &f.words) {
            prop_assert!(text.contains(word.as_str()), "{word:?} is not in the prompt");
        }
        prop_assert!((18..=45).contains(&steps(&found, QualityTier::Auto)));
        prop_assert_eq!(steps(&found, QualityTier::Preview), 15);
        prop_assert!((25..=35).contains(&steps(&found, QualityTier::Standard)));
        prop_assert!((45..=50).contains(&steps(&found, QualityTier::Premium)));
    }

    #[test]
    fn another_clause_never_lowers_anything(text in prompt(), more in prompt()) {
        let (before, after) = (analyze(&text), analyze(&format!("{text}, {more}")));
        for name in FACTORS {
            prop_assert!(of(&after, name) >= of(&before, name), "{name}");
        }
        prop_assert!(after.complexity >= before.complexity);
        prop_assert!(steps(&after, QualityTier::Auto) >= steps(&before, QualityTier::Auto));
    }

    #[test]
    fn a_higher_score_never_gets_fewer_steps(a in 0.0..30.0f64, b in 0.0..30.0f64, min in 1..60u32, span in 0..60u32) {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        prop_assert!(scoring::steps_in(low, min, min + span) <= scoring::steps_in(high, min, min + span));
        prop_assert!(scoring::complexity(low) <= scoring::complexity(high));
        prop_assert!((min..=min + span).contains(&scoring::steps_in(a, min, min + span)));
    }

    #[test]
    fn letter_case_and_width_do_not_matter(clauses in prop::collection::vec(prop::sample::select(CLAUSES), 1..5)) {
        let text = clauses.join(", ");
        let wide: String = text.chars().map(|c| match c {
            'a'..='z' => char::from_u32(u32::from(c) - 0x61 + 0xFF41).unwrap_or(c),
            other => other,
        }).collect();
        prop_assert_eq!(analyze(&text).score, analyze(&text.to_uppercase()).score);
        prop_assert_eq!(analyze(&text).score, analyze(&wide).score);
    }
}

fn words(prompt: &str, factor: &str) -> Vec<String> {
    analyze(prompt).factors.into_iter().find(|f| f.factor == factor).expect("all factors are listed").words
}

#[test]
fn a_cat_walks_is_simple_with_eighteen_steps() {
    let found = analyze("A cat walks");
    assert_eq!(found.complexity, Complexity::Simple);
    assert_eq!(steps(&found, QualityTier::Auto), 18);
}

#[test]
fn words_match_with_their_inflections_and_never_inside_others() {
    assert_eq!(words("two cars race", "subjects"), ["two cars"]);
    for scar in ["a scar", "scars and scarves", "caring", "a carpet", "the cartoon", "oscar"] {
        assert!(words(scar, "subjects").is_empty(), "{scar}");
    }
    for form in ["run", "runs", "running", "ran", "RUNNING", "Run!"] {
        assert_eq!(words(form, "motion").len(), 1, "{form}");
    }
    for other in ["runway", "prune", "brunch", "running shoes", "grunt"] {
        assert!(words(other, "motion").is_empty(), "{other}");
    }
    assert_eq!(words("Golden-hour light", "lighting")[0], "Golden-hour");
}

#[test]
fn a_negator_takes_back_what_it_reaches_and_no_more() {
    assert!(words("a street with no people or cars", "subjects").is_empty());
    assert!(words("the dog is not running", "motion").is_empty());
    assert!(words("the dog isn’t running", "motion").is_empty());
    assert!(words("without any camera movement", "camera").is_empty());
    assert_eq!(words("no people, a car chase", "motion"), ["chase"]);
    assert_eq!(words("a man without a hat runs", "motion"), ["runs"]);
    assert_eq!(words("not only running", "motion"), ["running"]);
    assert_eq!(words("nothing moves but a dog jumps", "motion"), ["moves", "jumps"]);
    assert!(words("没有镜头运动", "camera").is_empty());
    assert_eq!(words("没有人,马在奔跑", "motion"), ["奔跑"]);
    assert_eq!(words("不断奔跑", "motion"), ["奔跑"]);
}

#[test]
fn several_subjects_are_counted_once_each() {
    let several = |prompt: &str| of(&analyze(prompt), "subjects");
    assert_eq!(several("a dog, a dog, a dog"), 0.0);
    assert_eq!(several("a cat and a dog"), 0.5);
    assert_eq!(several("two cats"), 0.5);
    assert_eq!(several("three cats"), several("3 cats"));
    assert_eq!(several("三只猫"), several("three cats"));
    assert_eq!(several("a 4k video of a cat"), 0.0);
    assert!(several("five gizmos") > several("two gizmos"));
}

#[test]
fn chinese_is_read_in_both_scripts() {
    assert_eq!(words("無人機穿越森林,戰鬥", "camera"), ["無人機"]);
    assert_eq!(words("戰鬥", "motion"), ["戰鬥"]);
    assert!(words("一辆跑车", "motion").is_empty());
}

#[test]
fn repeating_a_word_changes_nothing_but_the_length() {
    let many = "explosion ".repeat(50_000);
    let found = analyze(&many);
    assert_eq!(of(&found, "motion"), of(&analyze("explosion"), "motion"));
    assert_eq!(found.factors[0].words.len(), 1);
}
