//! Prompt analysis, quality tiers, plans, the cost model, and learning from finished runs: pure functions.
//!
//! Invariant: nothing here does I/O or reads a clock. Records come in as slices and settings as plain structs; what was
//! learned is plain data that the caller stores. The same input always gives the same plan.
//!
//! # Reading order
//! [`planner`] puts everything together; [`analysis`] finds what a prompt demands; [`scoring`] turns demands into a class
//! and into steps; [`profiles`] holds what the operator decides about each tier; [`cost`] estimates how long a run takes;
//! [`learn`] finds how few steps are enough; [`judge`] chooses among drafts of one prompt; [`deadline`] forecasts whether a deadline can be met and [`preempt`] which runs
//! give their slots to jobs with deadlines; [`batch`] limits how many jobs are rendered together; [`several`] decides which go to
//! workers with several devices; [`saving()`] computes what a run
//! saved; [`similar`] decides which prompts may share embeddings; [`unknown_words()`] names what a small model will ignore.
//!
//! # Adding a word to the lexicon
//! 1. Add it to its factor in `lexicon/<language>.toml`, in its base form.
//! 2. Add a prompt with the class that it should get to `tests/labelled.tsv`.
//! 3. Run the tests, and `cargo run --release -p optimizer --example distribution` to see the effect on real prompts.

pub mod analysis;
pub mod batch;
pub mod cost;
pub mod deadline;
mod inflect;
pub mod judge;
pub mod learn;
mod lexicon;
pub mod planner;
pub mod preempt;
pub mod profiles;
pub mod robust;
pub mod saving;
pub mod scoring;
pub mod several;
pub mod similar;
mod tokens;
mod unknown;

pub use analysis::{Analysis, analyze};
pub use cost::{CostBook, CostModel, CostRecord, CostSource, EstimateRules, RunFacts, Work};
pub use learn::{ConvergenceRecord, LearnRules, Learned, LearnedGroup, estimated_error};
pub use planner::{Drafted, Planned, Planner, Switches};
pub use profiles::{AutoProfile, ProfileError, Profiles, StepsOverride, TierProfile};
pub use saving::{Saving, price_usd, saving};
pub use unknown::unknown_words;
