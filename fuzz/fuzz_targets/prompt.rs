//! Prompts: the analysis shows only the prompt's own words, and a further clause never lowers a score.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let found = optimizer::analyze(&text);
    assert_eq!(found.factors.len(), 7);
    for word in found.factors.iter().flat_map(|factor| &factor.words) {
        assert!(text.contains(word.as_str()));
    }
    if let Some((first, rest)) = text.split_once('\n') {
        let before = optimizer::analyze(first);
        let after = optimizer::analyze(&format!("{first}, {rest}"));
        for (low, high) in before.factors.iter().zip(&after.factors) {
            assert!(high.score >= low.score, "{}", low.factor);
        }
    }
});
