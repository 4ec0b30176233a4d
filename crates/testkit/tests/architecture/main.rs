//! Goal: the code keeps the shape that ARCHITECTURE.md describes.
//! Method: `cargo metadata` for what depends on what, and the tokens of every source file for imports and names. Nothing is
//! built or started, so `cargo test --release --test architecture` is quick.

mod dependencies;
mod imports;
mod module_tree;
mod names;
mod targets;
mod tokens;
mod workspace;
