//! Budgets of tenants: setting them, showing them, and whether one forbids a submission.

use chrono::{DateTime, Utc};
use domain::{Budget, TenantId};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::jobs::Scope;

/// A budget to be set.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBudget {
    /// Name of the tenant.
    pub tenant: String,
    /// The budget.
    pub budget: Budget,
}

/// A budget and what has been used of it.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetState {
    /// Its id.
    pub id: Uuid,
    /// Name of the tenant.
    pub tenant: String,
    /// The budget.
    pub budget: Budget,
    /// Used in the current period, in the budget's unit.
    pub used: f64,
    /// When the next period begins.
    pub renews_at: DateTime<Utc>,
}

/// A budget that is used up and forbids submissions.
#[derive(Debug, Clone, PartialEq)]
pub struct SpentBudget {
    /// The budget.
    pub budget: Budget,
    /// Used in the current period.
    pub used: f64,
    /// When the next period begins.
    pub renews_at: DateTime<Utc>,
}

struct Row {
    id: Uuid,
    tenant: String,
    period: String,
    unit: String,
    amount: f64,
    warn_share: f64,
    stops: bool,
    used: f64,
    renews_at: DateTime<Utc>,
}

impl Row {
    fn read(self) -> Result<BudgetState> {
        let wrong =
            |column, reason: domain::tier::UnknownWord| StoreError::unreadable("budgets", column, self.id, reason);
        let budget = Budget {
            period: self.period.parse().map_err(|reason| wrong("period", reason))?,
            unit: self.unit.parse().map_err(|reason| wrong("unit", reason))?,
            amount: self.amount,
            warn_share: self.warn_share,
            stops: self.stops,
        };
        Ok(BudgetState { id: self.id, tenant: self.tenant, budget, used: self.used, renews_at: self.renews_at })
    }
}

impl Store {
    /// Sets the budget of a tenant for a period and unit, replacing the one that it has for them; `None` when no tenant has this
    /// name. Its warnings start afresh.
    ///
    /// # Errors
    /// The database's error, also for numbers that [`Budget::check`] refuses.
    pub async fn put_budget(&self, new: &NewBudget) -> Result<Option<BudgetState>> {
        let budget = new.budget;
        let id = sqlx::query_scalar!(
            r#"-- put_budget
            INSERT INTO budgets (id, tenant_id, period, unit, amount, warn_share, stops)
            SELECT $1, id, $3, $4, $5, $6, $7 FROM tenants WHERE name = $2
            ON CONFLICT (tenant_id, period, unit) DO UPDATE SET amount = EXCLUDED.amount,
                warn_share = EXCLUDED.warn_share, stops = EXCLUDED.stops, warned_for = NULL, spent_for = NULL
            RETURNING id"#,
            Uuid::now_v7(),
            new.tenant,
            budget.period.as_str(),
            budget.unit.as_str(),
            budget.amount,
            budget.warn_share,
            budget.stops
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(id) = id else { return Ok(None) };
        Ok(self.budgets(Scope::Fleet).await?.into_iter().find(|state| state.id == id))
    }

    /// Deletes a budget; `false` when there is none with this id.
    ///
    /// # Errors
    /// The database's error.
    pub async fn delete_budget(&self, id: Uuid) -> Result<bool> {
        let deleted =
            sqlx::query!("-- delete_budget\nDELETE FROM budgets WHERE id = $1", id).execute(&self.pool).await?;
        Ok(deleted.rows_affected() == 1)
    }

    /// All budgets of a scope with their use, by tenant.
    ///
    /// # Errors
    /// The database's error.
    pub async fn budgets(&self, scope: Scope) -> Result<Vec<BudgetState>> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- list_budgets
            SELECT b.id, tenants.name AS tenant, period, unit, amount, warn_share, stops, (
                    SELECT COALESCE(sum(CASE b.unit WHEN 'usd' THEN u.cost_usd ELSE u.gpu_seconds END), 0)
                    FROM usage_daily AS u WHERE u.tenant_id = b.tenant_id AND u.day >= p.start
                ) AS "used!", (p.start + ('1 ' || period)::interval) AT TIME ZONE 'UTC' AS "renews_at!"
            FROM budgets AS b JOIN tenants ON tenants.id = b.tenant_id, LATERAL (
                SELECT date_trunc(period, clock_timestamp() AT TIME ZONE 'UTC')::date AS start
            ) AS p
            WHERE $1::uuid IS NULL OR b.tenant_id = $1
            ORDER BY tenants.name, period, unit"#,
            scope.tenant()
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// The budget of a tenant that is used up and forbids submissions; of several, the one that is renewed last.
    ///
    /// # Errors
    /// The database's error.
    pub async fn spent_budget(&self, tenant_id: TenantId) -> Result<Option<SpentBudget>> {
        let spent = self.budgets(Scope::Tenant(tenant_id)).await?.into_iter();
        let spent = spent.filter(|state| state.budget.stops && state.used >= state.budget.amount);
        let last = spent.max_by_key(|state| state.renews_at);
        Ok(last.map(|state| SpentBudget { budget: state.budget, used: state.used, renews_at: state.renews_at }))
    }
}
