//! No file of a crate imports, directly or through others, a file that imports it: so each can be read on its own, from the
//! leaves up.
//!
//! A module and the modules inside it belong together, so a child may use what its parent holds although the parent
//! presents the child. This does not apply to a crate's root (`lib.rs`, `main.rs`): everything is inside it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::module_tree::ModuleTree;
use crate::workspace::{folder, packages};

#[test]
fn files_of_a_crate_import_each_other_in_one_direction() {
    let mut cycles = Vec::new();
    for package in packages() {
        for target in package.targets.iter().filter(|target| target.is_lib() || target.is_bin() || target.is_test()) {
            let tree = ModuleTree::read(target.src_path.as_std_path());
            cycles.extend(found_in(&tree, &folder(package)));
        }
    }
    assert!(
        cycles.is_empty(),
        "{} cycles of imports; move what both sides need into a separate file:\n{}",
        cycles.len(),
        cycles.join("\n")
    );
}

/// The groups of files that reach each other, each with the imports inside it.
fn found_in(tree: &ModuleTree, base: &Path) -> Vec<String> {
    let uses: Vec<_> = (0..tree.modules.len()).map(|module| tree.uses(module)).collect();
    let reached: Vec<_> = (0..uses.len()).map(|module| reachable(&uses, module)).collect();
    let mut seen = BTreeSet::new();
    let mut cycles = Vec::new();
    for module in 0..uses.len() {
        if !reached[module].contains(&module) || !seen.insert(module) {
            continue;
        }
        let group: BTreeSet<_> =
            reached[module].iter().copied().filter(|other| reached[*other].contains(&module)).collect();
        seen.extend(&group);
        let name = |module: usize| tree.modules[module].file.strip_prefix(base).unwrap_or(Path::new("")).display();
        let inside = group.iter().flat_map(|from| uses[*from].iter().map(move |to| (*from, *to)));
        let imports =
            inside.filter(|(_, to)| group.contains(to)).map(|(from, to)| format!("{} -> {}", name(from), name(to)));
        cycles.push(format!("{}: {}", base.display(), imports.collect::<Vec<_>>().join(", ")));
    }
    cycles
}

/// What can be reached from a module in one step or more.
fn reachable(uses: &[Vec<usize>], from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next = uses[from].clone();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(&uses[module]);
        }
    }
    reached
}

#[test]
fn a_cycle_is_found_and_a_name_that_is_passed_on_is_followed_to_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("lib.rs", "mod a; mod b; mod c; pub use c::Thing;");
    write("a.rs", "use crate::b::f; use crate::Thing;");
    write("b.rs", "use crate::Thing; fn f() {}");
    write("c.rs", "pub struct Thing;");
    let cycles = || found_in(&ModuleTree::read(&folder.path().join("lib.rs")), folder.path());
    assert!(cycles().is_empty(), "{:?}", cycles());
    write("b.rs", "fn f() { crate::a::g() }");
    assert_eq!(cycles().len(), 1);
    assert!(cycles()[0].ends_with("a.rs -> b.rs, b.rs -> a.rs"), "{:?}", cycles());
}
