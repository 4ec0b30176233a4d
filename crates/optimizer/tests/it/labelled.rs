//! The prompt analysis against prompts that were labelled by hand before its weights were tuned.
//!
//! Classes have no sharp borders, so a few prompts may be off by one class. None may be off by two.

use domain::Complexity;
use optimizer::analyze;

const LABELLED: &str = include_str!("../labelled.tsv");

fn labelled() -> Vec<(Complexity, &'static str)> {
    let lines = LABELLED.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (class, prompt) = line.split_once('\t').expect("class, tab, prompt");
            (class.parse().expect("a class"), prompt)
        })
        .collect()
}

fn index(class: Complexity) -> usize {
    Complexity::ALL.iter().position(|c| *c == class).expect("a class is one of all")
}

#[test]
fn the_classes_agree_with_the_labels() {
    let prompts = labelled();
    assert!(prompts.len() >= 120);
    let mut misses = Vec::new();
    for (label, prompt) in &prompts {
        let found = analyze(prompt);
        let distance = index(*label).abs_diff(index(found.complexity));
        assert!(distance < 2, "{label} but {} ({:.2}): {prompt}\n{:?}", found.complexity, found.score, found.factors);
        if distance > 0 {
            misses.push(format!("{label} but {} ({:.2}): {prompt}", found.complexity, found.score));
        }
    }
    let allowed = prompts.len() / 10;
    assert!(misses.len() <= allowed, "{} misses of {}:\n{}", misses.len(), prompts.len(), misses.join("\n"));
}

#[test]
fn every_class_is_agreed_on_by_itself() {
    for class in Complexity::ALL {
        let of_class: Vec<_> = labelled().into_iter().filter(|(label, _)| label == class).collect();
        let right = of_class.iter().filter(|(label, prompt)| analyze(prompt).complexity == *label).count();
        assert!(of_class.len() >= 20, "{class} has only {} prompts", of_class.len());
        assert!(right * 100 >= of_class.len() * 80, "{class}: {right} of {}", of_class.len());
    }
}
