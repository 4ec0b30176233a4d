//! Budgets as JSON.

use chrono::{DateTime, Utc};
use domain::{Budget, BudgetPeriod, BudgetUnit};
use serde::{Deserialize, Serialize};
use store::ledger::BudgetState;
use utoipa::ToSchema;
use uuid::Uuid;

/// Budgets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BudgetListView {
    /// By tenant, period and unit.
    pub budgets: Vec<BudgetView>,
}

/// A budget and its use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BudgetView {
    /// Its id.
    pub budget_id: Uuid,
    /// Name of the tenant.
    pub tenant: String,
    /// The period, which begins at midnight UTC.
    pub period: BudgetPeriod,
    /// What is counted.
    pub unit: BudgetUnit,
    /// The limit, in the unit.
    pub amount: f64,
    /// Used in the current period, in the unit.
    pub used: f64,
    /// Share of the amount at which a warning is sent.
    pub warn_share: f64,
    /// Whether submissions are refused once the amount is used.
    pub stops: bool,
    /// `ok`, `warning` or `spent`.
    pub state: &'static str,
    /// Start of the next period.
    pub renews_at: DateTime<Utc>,
}

impl From<BudgetState> for BudgetView {
    fn from(state: BudgetState) -> Self {
        let Budget { period, unit, amount, warn_share, stops } = state.budget;
        let word = match state.used {
            used if used >= amount => "spent",
            used if used >= amount * warn_share => "warning",
            _ => "ok",
        };
        Self {
            budget_id: state.id,
            tenant: state.tenant,
            period,
            unit,
            amount,
            used: state.used,
            warn_share,
            stops,
            state: word,
            renews_at: state.renews_at,
        }
    }
}

/// A budget to be set.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tenant": "studio", "period": "month", "unit": "usd", "amount": 500}))]
pub(crate) struct PutBudget {
    /// Name of the tenant.
    pub tenant: String,
    /// The period, which begins at midnight UTC.
    pub period: BudgetPeriod,
    /// What is counted.
    pub unit: BudgetUnit,
    /// The limit in the unit, above 0.
    pub amount: f64,
    /// Share of the amount at which a warning is sent; default 0.8.
    #[serde(default = "warn_share")]
    pub warn_share: f64,
    /// Whether submissions are refused once the amount is used; default true.
    #[serde(default = "stops")]
    pub stops: bool,
}

fn warn_share() -> f64 {
    0.8
}

fn stops() -> bool {
    true
}
