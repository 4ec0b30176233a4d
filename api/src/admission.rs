//! Whether a request's deadline can be met, before it is accepted.
//!
//! The estimate needs three things that are cheap to read: the pools' slots, which [`crate::overview`] keeps, the queue ahead,
//! counted up to `limits.queue_position_max`, and the job's own estimate. The calculation is [`optimizer::deadline`]'s.

use domain::{DeadlinePolicy, Plan, TenantId, VideoRequest};
use optimizer::deadline::{Forecast, QueueLoad, forecast};

use crate::problem::{Answer, Problem};
use crate::state::App;

/// When a request would be rendered if it was submitted now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outlook {
    /// By this forecast.
    Known(Forecast),
    /// No worker that can hold it is online.
    NoWorkers,
    /// Its tenant has paused the queue.
    Paused,
}

/// Forecasts a request that would be submitted behind `extra` other jobs of the same tenant.
///
/// # Errors
/// The database's, as a problem.
pub(crate) async fn outlook(
    app: &App,
    tenant_id: TenantId,
    request: &VideoRequest,
    plan: &Plan,
    extra: u64,
) -> Answer<Outlook> {
    let model_id = request.model.as_deref().unwrap_or_default();
    let most = app.settings.limits.queue_position_max;
    let ahead = app.store.queue_ahead(tenant_id, model_id, order_s(app, request, plan), most).await;
    let ahead = ahead.map_err(|error| Problem::from_store(&error))?;
    if ahead.is_paused {
        return Ok(Outlook::Paused);
    }
    let (slots, running) = app.slots_for(model_id, plan.memory_bytes, plan.tier);
    // Without a queue, what runs is assumed to be as long as this job.
    let mean_s = if ahead.mean_s > 0.0 { ahead.mean_s } else { plan.estimate_s };
    let load = QueueLoad { slots, running, ahead: ahead.jobs + extra, mean_s };
    Ok(forecast(&load, plan.estimate_s * plan.draft_share()).map_or(Outlook::NoWorkers, Outlook::Known))
}

/// The place in its tenant's queue that the scheduler would give the request, in seconds from now.
fn order_s(app: &App, request: &VideoRequest, plan: &Plan) -> f64 {
    let plain_s = plan.estimate_s / app.settings.tiers.of(plan.tier).weight;
    #[expect(clippy::cast_precision_loss, reason = "a setting of seconds")]
    let lead_s = app.settings.scheduler.deadline_lead_s as f64;
    let slack_s = request.deadline_s.map(|deadline_s| f64::from(deadline_s) - plan.estimate_s);
    slack_s.filter(|slack_s| *slack_s >= 0.0).map_or(plain_s, |slack_s| plain_s.min(slack_s - lead_s))
}

/// Rejects a request that asks for it if its deadline looks infeasible. `field` is where the request has its deadline.
///
/// # Errors
/// 422 with the shortest feasible deadline, and `Retry-After` if it is only the queue that takes too long.
pub(crate) async fn check_deadline(
    app: &App,
    tenant_id: TenantId,
    (request, plan): (&VideoRequest, &Plan),
    extra: u64,
    field: &str,
) -> Answer<()> {
    let (DeadlinePolicy::Reject, Some(deadline_s)) = (request.deadline_policy, request.deadline_s) else {
        return Ok(());
    };
    match outlook(app, tenant_id, request, plan, extra).await? {
        Outlook::Known(forecast) if forecast.meets(deadline_s) => Ok(()),
        Outlook::Known(forecast) => {
            let feasible_s = forecast.feasible_deadline_s();
            let reason = format!(
                "({deadline_s}) cannot be met: the job would start in about {:.0} s and finish in about {feasible_s} s; ask for at \
                 least {feasible_s}, or submit it with \"deadline_policy\": \"accept\"",
                forecast.start_s
            );
            Err(Problem::infeasible_deadline(field, reason, Some(feasible_s), forecast.retry_after_s(deadline_s)))
        }
        Outlook::NoWorkers => {
            let reason = format!("({deadline_s}) cannot be promised: no worker that can render this request is online");
            Err(Problem::infeasible_deadline(field, reason, None, None))
        }
        Outlook::Paused => {
            let reason =
                format!("({deadline_s}) cannot be met while your queue is paused; POST /api/queue/resume resumes it");
            Err(Problem::infeasible_deadline(field, reason, None, None))
        }
    }
}
