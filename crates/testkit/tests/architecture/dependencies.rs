//! Which crate may depend on which, and which external library only one crate may use.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, PackageId};

use crate::tokens::{identifiers, parse, paths, without_tests};
use crate::workspace::{folder, metadata, package, packages, read, rust_files};

/// Each of our crates with those of our crates that it may depend on, from the bottom up. Tests may use `testkit` as well.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("formats", &[]),
    ("optimizer", &["domain"]),
    ("settings", &["domain", "optimizer"]),
    ("store", &["domain"]),
    ("broker", &["domain", "settings"]),
    ("cache", &["domain", "optimizer", "settings"]),
    ("artifacts", &["domain", "settings"]),
    ("telemetry", &["domain", "settings"]),
    ("pictures", &[]),
    ("prompts", &[]),
    ("torch-ext", &[]),
    ("hunyuan", &["formats", "prompts", "torch-ext"]),
    ("webhooks", &[]),
    ("testkit", &["domain", "settings"]),
    // The client knows the API only: not even the domain's types, so that it also works with servers of other releases.
    ("cli", &[]),
    (
        "api",
        &[
            "artifacts",
            "broker",
            "cache",
            "domain",
            "formats",
            "optimizer",
            "pictures",
            "prompts",
            "settings",
            "store",
            "telemetry",
            "webhooks",
        ],
    ),
    (
        "scheduler",
        &["artifacts", "broker", "domain", "optimizer", "prompts", "settings", "store", "telemetry", "webhooks"],
    ),
    (
        "worker",
        &[
            "artifacts",
            "broker",
            "cache",
            "domain",
            "formats",
            "hunyuan",
            "optimizer",
            "pictures",
            "prompts",
            "settings",
            "store",
            "telemetry",
        ],
    ),
];

/// External libraries that only these crates use, so that replacing one is the work of one crate.
const OWNERS: &[(&str, &[&str])] = &[
    // testkit creates the databases of tests.
    ("sqlx", &["store", "testkit"]),
    ("sqlx-core", &["store"]),
    ("lapin", &["broker"]),
    ("deadpool-redis", &["cache"]),
    ("redis", &["cache"]),
    ("object_store", &["artifacts"]),
    ("prometheus", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry-http", &["telemetry"]),
    ("opentelemetry-otlp", &["telemetry"]),
    ("image", &["pictures"]),
    ("tokenizers", &["prompts"]),
    // torch-ext adds what tch lacks; the worker's engine runs the model.
    ("tch", &["hunyuan", "torch-ext", "worker"]),
];

/// Everything that `domain` may depend on: formats and values, nothing that does I/O.
const DOMAIN_LIBRARIES: &[&str] = &["blake3", "chrono", "serde", "serde_json", "thiserror", "toml", "utoipa", "uuid"];

/// Modules of the standard library that do I/O.
const REACHES_OUT: &[&str] = &["env", "fs", "io", "net", "process", "thread"];

#[test]
fn crates_depend_on_each_other_only_as_allowed() {
    let ours: BTreeSet<_> = packages().iter().map(|package| package.name.to_string()).collect();
    let listed: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(ours, listed, "every crate of the workspace has its line in ALLOWED");
    let mut wrong = Vec::new();
    for (name, allowed) in ALLOWED {
        for dependency in package(name).dependencies.iter().filter(|dependency| ours.contains(&dependency.name)) {
            let for_tests = dependency.kind == DependencyKind::Development && dependency.name == "testkit";
            if !for_tests && !allowed.contains(&dependency.name.as_str()) {
                wrong.push(format!("{name} depends on {}", dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "not in ALLOWED: {wrong:?}");
}

#[test]
fn an_external_library_is_known_only_to_its_owners() {
    let mut wrong = Vec::new();
    for package in packages() {
        for dependency in &package.dependencies {
            let owners = OWNERS.iter().find(|(library, _)| *library == dependency.name).map(|(_, owners)| *owners);
            if owners.is_some_and(|owners| !owners.contains(&package.name.as_str())) {
                wrong.push(format!("{} depends on {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "see OWNERS: {wrong:?}");
}

#[test]
fn api_and_scheduler_build_without_libtorch() {
    for name in ["api", "scheduler"] {
        let built = needed_to_build(&package(name).id);
        assert!(built.len() > 50, "the dependencies of {name} are resolved: {}", built.len());
        for library in ["tch", "torch-sys"] {
            assert!(!built.contains(library), "{name} depends on {library}, directly or indirectly");
        }
    }
    assert!(needed_to_build(&package("worker").id).contains("torch-sys"), "the search finds existing dependencies");
}

/// Names of all packages that building a package needs; what only its tests need is left out.
fn needed_to_build(root: &PackageId) -> BTreeSet<String> {
    let nodes = &metadata().resolve.as_ref().expect("dependencies are resolved").nodes;
    let (mut seen, mut next) = (BTreeSet::new(), vec![root]);
    while let Some(id) = next.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = nodes.iter().find(|node| node.id == *id).expect("every package has a node");
        let built =
            |kinds: &[cargo_metadata::DepKindInfo]| kinds.iter().any(|info| info.kind != DependencyKind::Development);
        next.extend(
            node.deps.iter().filter(|dependency| built(&dependency.dep_kinds)).map(|dependency| &dependency.pkg),
        );
    }
    metadata()
        .packages
        .iter()
        .filter(|package| seen.contains(&package.id))
        .map(|package| package.name.to_string())
        .collect()
}

#[test]
fn the_domain_does_no_io() {
    let libraries = package("domain").dependencies.iter().filter(|library| library.kind != DependencyKind::Development);
    for library in libraries {
        assert!(DOMAIN_LIBRARIES.contains(&library.name.as_str()), "domain depends on {}", library.name);
    }
    // The same rule applies to the optimizer: its functions are pure.
    for name in ["domain", "optimizer"] {
        for file in rust_files(&folder(package(name)).join("src")) {
            let tokens = without_tests(&parse(&read(&file)).unwrap());
            for path in paths(&tokens) {
                let reaches = path.parts[0] == "std" && REACHES_OUT.contains(&path.parts[1].as_str());
                assert!(!reaches, "{}: {}", file.display(), path.parts.join("::"));
            }
            for macros in ["println", "eprintln", "print", "eprint", "dbg"] {
                assert!(!identifiers(&tokens).contains(macros), "{}: {macros}", file.display());
            }
        }
    }
}
