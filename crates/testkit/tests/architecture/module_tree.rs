//! The files of one crate as a tree of modules, and which file a path refers to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_macro2::TokenTree;

use crate::tokens::{self, Written, is_punct};
use crate::workspace::read;

/// A module that has its own file.
pub(crate) struct Module {
    /// Its file.
    pub(crate) file: PathBuf,
    /// The module that declares it; `None` for the crate's root.
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// What its `use` items bring into scope.
    imports: Vec<Written>,
    /// Every path in its product code.
    paths: Vec<Written>,
}

/// All modules of one crate.
pub(crate) struct ModuleTree {
    pub(crate) modules: Vec<Module>,
}

impl ModuleTree {
    /// Reads the crate with this root file.
    pub(crate) fn read(root: &Path) -> Self {
        let mut tree = Self { modules: Vec::new() };
        tree.add(root.to_path_buf(), root.parent().expect("a file lies in a folder"), None);
        tree
    }

    /// Adds a file and the modules that it declares, whose files are in `folder`.
    fn add(&mut self, file: PathBuf, folder: &Path, parent: Option<usize>) -> usize {
        let parsed = tokens::parse(&read(&file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let own = tokens::without_tests(&parsed);
        let at = self.modules.len();
        self.modules.push(Module {
            file,
            parent,
            children: BTreeMap::new(),
            imports: tokens::imports(&own),
            paths: tokens::paths(&own),
        });
        for name in declared_modules(&own) {
            let (flat, nested) = (folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs"));
            let Some(file) = [flat, nested].into_iter().find(|file| file.is_file()) else {
                // It names its file (`#[path]`), which belongs to another target.
                continue;
            };
            let child = self.add(file, &folder.join(&name), Some(at));
            self.modules[at].children.insert(name, child);
        }
        at
    }

    /// The other modules that a module refers to, without those that contain it; the root counts.
    pub(crate) fn uses(&self, module: usize) -> Vec<usize> {
        let mut used: Vec<_> = self.modules[module]
            .paths
            .iter()
            .chain(&self.modules[module].imports)
            .filter_map(|path| self.resolve(module, &path.parts, 0))
            .filter(|used| *used != module && !self.lies_in(module, *used))
            .collect();
        used.sort_unstable();
        used.dedup();
        used
    }

    /// Whether `outer`, which is not the root, contains `module`.
    fn lies_in(&self, module: usize, outer: usize) -> bool {
        let mut above = self.modules[module].parent;
        while let Some(at) = above.filter(|at| *at != 0) {
            if at == outer {
                return true;
            }
            above = self.modules[at].parent;
        }
        false
    }

    /// The module that declares the item that `path` names inside `module`; `None` for other crates' items.
    ///
    /// Re-exports (`pub use`) are followed to the declaration.
    fn resolve(&self, module: usize, path: &[String], depth: usize) -> Option<usize> {
        // Circular imports do not compile; this limit only stops an endless loop if this code has a mistake.
        if depth > 16 {
            return None;
        }
        let (mut at, mut rest) = self.start(module, path, depth)?;
        while let Some((name, behind)) = rest.split_first() {
            if let Some(child) = self.modules[at].children.get(name) {
                (at, rest) = (*child, behind);
                continue;
            }
            if let Some(import) = self.modules[at].imports.iter().find(|import| import.name() == name) {
                let onward: Vec<_> = import.parts.iter().chain(behind).cloned().collect();
                return self.resolve(at, &onward, depth + 1);
            }
            return Some(at);
        }
        Some(at)
    }

    /// The module that a path begins in, and the rest of the path.
    fn start<'a>(&self, module: usize, path: &'a [String], depth: usize) -> Option<(usize, &'a [String])> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => module,
            "super" => self.modules[module].parent?,
            name if self.modules[module].children.contains_key(name) => return Some((module, path)),
            // A module that was imported by name.
            name => {
                let import = self.modules[module].imports.iter().find(|import| import.name() == name)?;
                let onward = import.parts.first().is_some_and(|first| first == name);
                return if onward { None } else { Some((self.resolve(module, &import.parts, depth + 1)?, rest)) };
            }
        };
        while let Some((name, behind)) = rest.split_first()
            && name == "super"
        {
            (at, rest) = (self.modules[at].parent?, behind);
        }
        Some((at, rest))
    }
}

/// Names of modules that have their own files: `mod name;`.
fn declared_modules(tokens: &[TokenTree]) -> Vec<String> {
    let declared = tokens.windows(3).filter_map(|window| match window {
        [TokenTree::Ident(keyword), TokenTree::Ident(name), end] if keyword == "mod" && is_punct(Some(end), ';') => {
            Some(name.to_string())
        }
        _ => None,
    });
    declared.collect()
}
