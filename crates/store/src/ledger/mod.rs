//! The cost ledger: what runs cost, who spent it, what was saved, and budgets.
//!
//! Nothing here writes a run. Triggers do (`migrations/0045_ledger.sql`, `0046_budgets.sql`), in the transaction that ends the
//! run; so every run is counted exactly once, whichever process and release ends it. Queries read the daily sums and never scan
//! jobs.

mod budgets;
mod online;
mod parts;
mod runs;
mod saved;
mod totals;
mod usage;
mod worker_usage;

pub use budgets::{BudgetState, NewBudget, SpentBudget};
pub use parts::{GroupBy, UsageFilter};
pub use runs::JobRun;
pub use saved::SavedBy;
pub use totals::LedgerTotals;
pub use usage::UsageRow;
pub use worker_usage::WorkerUsage;
