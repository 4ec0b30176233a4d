//! Budgets: what a tenant may spend in a day or a month.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::tier::{UnknownWord, words};

words!(
    /// The period of a budget, which begins at midnight UTC.
    BudgetPeriod {
        /// A day.
        Day = "day",
        /// A calendar month.
        Month = "month",
    }
);

words!(
    /// What a budget counts.
    BudgetUnit {
        /// US dollars.
        Usd = "usd",
        /// GPU seconds.
        GpuSeconds = "gpu_seconds",
    }
);

/// What a tenant may spend in each period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// How long a period is.
    pub period: BudgetPeriod,
    /// What is counted.
    pub unit: BudgetUnit,
    /// The limit, above 0.
    pub amount: f64,
    /// Share of the amount at which a warning is sent, above 0 and at most 1.
    pub warn_share: f64,
    /// Whether submissions are refused once the amount is used.
    pub stops: bool,
}

impl Budget {
    /// Checks the numbers.
    ///
    /// # Errors
    /// The field and what is wrong with it.
    pub fn check(&self) -> Result<(), crate::FieldError> {
        if !self.amount.is_finite() || self.amount <= 0.0 {
            return Err(crate::FieldError::new("amount", "must be a number above 0"));
        }
        if !(self.warn_share > 0.0 && self.warn_share <= 1.0) {
            return Err(crate::FieldError::new("warn_share", "must be above 0 and at most 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_limits_are_accepted() {
        let good =
            Budget { period: BudgetPeriod::Month, unit: BudgetUnit::Usd, amount: 100.0, warn_share: 0.8, stops: true };
        assert_eq!(good.check(), Ok(()));
        for amount in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Budget { amount, ..good }.check().unwrap_err().field, "amount");
        }
        for warn_share in [0.0, 1.1, f64::NAN] {
            assert_eq!(Budget { warn_share, ..good }.check().unwrap_err().field, "warn_share");
        }
    }
}
