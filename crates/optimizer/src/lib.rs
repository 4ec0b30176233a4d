//! Prompt analysis, quality tiers, step plans, the cost model and what is learnt from finished runs: pure functions.
//!
//! Invariant: nothing here does I/O or reads a clock. Records come in as slices, settings as plain structs, and what was
//! learnt is plain data that the caller stores. The same input always gives the same plan.
//!
//! # Reading order
//! [`analysis`] what a prompt demands; [`scoring`] from demands to a class and to steps; [`profiles`] what each tier may
//! spend; [`plan()`] all of it put together; [`cost`] how long it will take; [`learn`] how few steps are enough;
//! [`saving()`] what a run saved; [`similar`] which prompts may share embeddings.
//!
//! # Teaching it a word
//! 1. Add it to its factor in `lexicon/<language>.toml`, as a base form.
//! 2. Add a prompt with the class it should get to `tests/labelled.tsv`.
//! 3. Run the tests, and `cargo run --release -p optimizer --example distribution` for what it does to real prompts.

pub mod analysis;
pub mod cost;
mod inflect;
pub mod learn;
mod lexicon;
pub mod plan;
pub mod profiles;
pub mod robust;
pub mod saving;
pub mod scoring;
pub mod similar;
mod tokens;

pub use analysis::{Analysis, analyze};
pub use cost::{CostBook, CostModel, CostRecord, CostSource, FitRules, RunFacts, Work};
pub use learn::{ConvergenceRecord, LearnRules, Learned, LearnedGroup, estimated_error};
pub use plan::{Switches, lexicon_steps, passes, plan};
pub use profiles::{AutoProfile, ProfileError, Profiles, StepCacheThresholds, TierProfile};
pub use saving::{Saving, price_usd, saving};
