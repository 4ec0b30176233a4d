//! Nothing is declared and unused: dependencies, and public items of our libraries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Package};
use proc_macro2::{Delimiter, TokenTree};

use crate::tokens::{children, identifiers, is_punct, parse, without_tests};
use crate::workspace::{folder, metadata, packages, read, rust_files};

/// Product code and other code (tests, benches, examples) of a package.
struct Sources {
    product: Vec<(PathBuf, Vec<TokenTree>)>,
    other: Vec<Vec<TokenTree>>,
    /// With the tests inside product files.
    whole: BTreeSet<String>,
}

fn sources(package: &Package) -> Sources {
    let base = folder(package);
    let parsed = |file: &Path| parse(&read(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut product: Vec<_> =
        rust_files(&base.join("src")).into_iter().map(|file| (file.clone(), parsed(&file))).collect();
    let mut whole: BTreeSet<_> = product.iter().flat_map(|(_, tokens)| identifiers(tokens)).collect();
    for (_, tokens) in &mut product {
        *tokens = without_tests(tokens);
    }
    let folders = ["tests", "benches", "examples"].map(|name| rust_files(&base.join(name)));
    let other: Vec<_> = folders.iter().flatten().map(|file| parsed(file)).collect();
    whole.extend(other.iter().flat_map(|tokens| identifiers(tokens)));
    Sources { product, other, whole }
}

#[test]
fn every_dependency_is_used() {
    let mut unused = Vec::new();
    for package in packages() {
        let Sources { product, whole, .. } = sources(package);
        let product: BTreeSet<_> = product.iter().flat_map(|(_, tokens)| identifiers(tokens)).collect();
        for dependency in &package.dependencies {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name).replace('-', "_");
            let used = match dependency.kind {
                DependencyKind::Development => whole.contains(&name),
                DependencyKind::Build => continue,
                _ => product.contains(&name),
            };
            if !used {
                let kind = if whole.contains(&name) { " outside of tests" } else { "" };
                unused.push(format!("{} does not use {}{kind}", package.name, dependency.name));
            }
        }
    }
    assert!(unused.is_empty(), "remove from Cargo.toml, or move to dev-dependencies: {unused:#?}");
}

#[test]
fn every_dependency_of_the_workspace_has_a_user() {
    let manifest: toml::Table =
        toml::from_str(&read(metadata().workspace_root.join("Cargo.toml").as_std_path())).unwrap();
    let listed = manifest["workspace"]["dependencies"].as_table().expect("the workspace lists its dependencies");
    let used: BTreeSet<_> = packages()
        .iter()
        .flat_map(|package| &package.dependencies)
        .map(|dependency| dependency.rename.clone().unwrap_or_else(|| dependency.name.clone()))
        .collect();
    let unused: Vec<_> = listed.keys().filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "no crate depends on {unused:?}");
}

#[test]
fn every_public_item_has_a_user_outside_of_its_crate() {
    let all: Vec<_> = packages().into_iter().map(|package| (package, sources(package))).collect();
    let mut unused = Vec::new();
    for (package, own) in all.iter().filter(|(package, _)| package.targets.iter().any(|target| target.is_lib())) {
        // A `main.rs` beside a `lib.rs` is a separate crate.
        let is_main = |file: &Path| file.ends_with("src/main.rs");
        let mut outside: BTreeSet<_> = own.other.iter().flat_map(|tokens| identifiers(tokens)).collect();
        for (file, tokens) in &own.product {
            if is_main(file) {
                outside.extend(identifiers(tokens));
            }
        }
        for (_, theirs) in all.iter().filter(|(theirs, _)| theirs.id != package.id) {
            outside.extend(theirs.whole.iter().cloned());
        }
        let mut items = Vec::new();
        for (file, tokens) in own.product.iter().filter(|(file, _)| !is_main(file)) {
            public_items(file, tokens, &mut items);
        }
        unused.extend(without_users(&items, &outside));
    }
    assert!(
        unused.is_empty(),
        "{} public items that no other crate names; make them private or pub(crate), or remove them:\n{}",
        unused.len(),
        unused.join("\n")
    );
}

/// A `pub` item or method.
struct Item {
    file: PathBuf,
    /// Empty for the associated type of a trait, which only shows other types.
    name: String,
    /// Types may go unnamed outside as long as a public signature shows them.
    is_type: bool,
    /// Names in its signature, fields or variants.
    shows: BTreeSet<String>,
}

fn without_users(items: &[Item], outside: &BTreeSet<String>) -> Vec<String> {
    let shown = |item: &Item| {
        let mut others = items.iter().filter(|other| other.name != item.name);
        item.is_type && others.any(|other| other.shows.contains(&item.name))
    };
    let named = items.iter().filter(|item| !item.name.is_empty());
    let unused = named.filter(|item| !outside.contains(&item.name) && !shown(item));
    unused.map(|item| format!("{}: {}", item.file.display(), item.name)).collect()
}

fn public_items(file: &Path, tokens: &[TokenTree], found: &mut Vec<Item>) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(ident) if ident == "pub" => found.extend(public_item(file, &tokens[at + 1..])),
            TokenTree::Ident(ident) if ident == "type" => {
                let end = tokens[at..].iter().position(|token| is_punct(Some(token), ';')).unwrap_or(0);
                let shows = identifiers(&tokens[at..at + end]);
                found.push(Item { file: file.to_path_buf(), name: String::new(), is_type: true, shows });
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                public_items(file, &children(group), found);
            }
            _ => {}
        }
    }
}

/// The item behind a `pub`; `None` for fields, modules, imports and what is `pub(crate)`.
fn public_item(file: &Path, tokens: &[TokenTree]) -> Option<Item> {
    let words: Vec<_> = tokens.iter().map_while(ident).collect();
    let kind = words.iter().position(|word| {
        let is_qualifier = matches!(word.as_str(), "async" | "unsafe" | "extern");
        let is_const_fn = word == "const" && words.get(1).is_some_and(|next| next == "fn" || next == "unsafe");
        !is_qualifier && !is_const_fn
    })?;
    let is_type = match words[kind].as_str() {
        "struct" | "enum" | "trait" | "type" | "union" => true,
        "fn" | "const" | "static" => false,
        _ => return None,
    };
    let name = words.get(kind + 1)?.clone();
    let end = tokens.iter().position(|token| is_punct(Some(token), ';')).unwrap_or(tokens.len());
    let body = tokens
        .iter()
        .position(|token| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace));
    // The body of a type is what it shows; a function's body is not.
    let end = body.map_or(end, |body| end.min(body + usize::from(is_type)));
    Some(Item { file: file.to_path_buf(), name, is_type, shows: identifiers(&tokens[kind + 2..end.max(kind + 2)]) })
}

fn ident(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    }
}

#[test]
fn an_item_without_users_is_found_and_a_type_in_a_signature_is_not() {
    let source = "pub struct Shown; pub(crate) struct Own; pub const fn made() -> Shown { Shown }
        impl Shown { pub async fn called(&self) {} pub fn forgotten(&self) -> Own { Own } }
        pub enum Lost { A }";
    let mut items = Vec::new();
    public_items(Path::new("a.rs"), &parse(source).unwrap(), &mut items);
    let outside = BTreeSet::from(["made".to_owned(), "called".to_owned()]);
    assert_eq!(without_users(&items, &outside), ["a.rs: forgotten", "a.rs: Lost"]);
}
