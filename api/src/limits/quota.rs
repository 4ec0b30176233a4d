//! The quota of a key: how much GPU time its jobs may take in a day.
//!
//! What is used and reserved is read again when it is older than `FRESH`; in between, this replica adds what it admits itself.
//! Several replicas together may therefore exceed a quota by what they admit within that time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::KeyId;
use store::Store;
use store::quotas::QuotaState;
use tokio::sync::Mutex;

use crate::problem::{Answer, Problem, ProblemKind};

/// Age up to which a state is used without reading it again.
const FRESH: Duration = Duration::from_secs(1);
/// Number of keys whose states are kept in memory; beyond it all are forgotten and read again.
const KEYS_MAX: usize = 1_000;

/// The quotas of all keys.
#[derive(Debug)]
pub struct Quotas {
    store: Store,
    gpu_hour_usd: f64,
    known: Mutex<HashMap<KeyId, Known>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    state: Option<QuotaState>,
    at: Instant,
    /// Admitted by this replica since.
    admitted_s: f64,
}

impl Quotas {
    /// Quotas in dollars are counted at `gpu_hour_usd`.
    #[must_use]
    pub fn new(store: Store, gpu_hour_usd: f64) -> Self {
        Self { store, gpu_hour_usd, known: Mutex::default() }
    }

    /// Admits jobs of the key that take `needed_s` GPU seconds by their estimates.
    ///
    /// # Errors
    /// 429 that says which quota is used up and when it renews.
    pub(crate) async fn admit(&self, key_id: KeyId, needed_s: f64) -> Answer<()> {
        let mut all = self.known.lock().await;
        let now = Instant::now();
        let known = match all.get(&key_id) {
            Some(known) if now.duration_since(known.at) < FRESH => *known,
            _ => {
                let state = self.store.quota_state(key_id).await.map_err(|error| Problem::from_store(&error))?;
                Known { state, at: now, admitted_s: 0.0 }
            }
        };
        if all.len() >= KEYS_MAX {
            all.clear();
        }
        all.insert(key_id, known);
        if let Some(state) = known.state {
            self.check(&state, known.admitted_s, needed_s)?;
        }
        all.insert(key_id, Known { admitted_s: known.admitted_s + needed_s, ..known });
        Ok(())
    }

    fn check(&self, state: &QuotaState, admitted_s: f64, needed_s: f64) -> Answer<()> {
        let taken_s = state.used_s + state.reserved_s + admitted_s;
        let usd = |seconds: f64| optimizer::price_usd(seconds, self.gpu_hour_usd);
        let over = if state.quota.gpu_s.is_some_and(|limit_s| taken_s + needed_s > limit_s) {
            format!(
                "quota of {} GPU seconds per day: {} used, {} reserved by unfinished jobs, and this request needs about {}",
                seconds(state.quota.gpu_s.unwrap_or_default()),
                seconds(state.used_s),
                seconds(state.reserved_s + admitted_s),
                seconds(needed_s)
            )
        } else if state.quota.usd.is_some_and(|limit_usd| usd(taken_s + needed_s) > limit_usd) {
            format!(
                "quota of {} US dollars per day: {} used, {} reserved by unfinished jobs, and this request needs about {}",
                dollars(state.quota.usd.unwrap_or_default()),
                dollars(usd(state.used_s)),
                dollars(usd(state.reserved_s + admitted_s)),
                dollars(usd(needed_s))
            )
        } else {
            return Ok(());
        };
        let detail =
            format!("this key has a {over}; the quota renews at {}", state.renews_at.format("%Y-%m-%dT%H:%M:%SZ"));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a day")]
        let renews_in_s = state.renews_in_s.ceil().max(1.0) as u64;
        Err(Problem::new(ProblemKind::QuotaExceeded, detail).retry_after(renews_in_s))
    }
}

/// GPU seconds, with a decimal where it matters: a small model renders in less than one.
fn seconds(value: f64) -> String {
    if value > 0.0 && value < 0.1 {
        "less than 0.1".to_owned()
    } else if value < 10.0 && value.fract() != 0.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// US dollars in cents.
fn dollars(value: f64) -> String {
    if value > 0.0 && value < 0.01 { "less than 0.01".to_owned() } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_are_not_shown_as_nothing() {
        let shown = [0.0, 0.03, 0.84, 2.0, 9.96, 3_600.0].map(seconds);
        assert_eq!(shown, ["0", "less than 0.1", "0.8", "2", "10.0", "3600"]);
        assert_eq!([0.0, 0.004, 0.25].map(dollars), ["0.00", "less than 0.01", "0.25"]);
    }
}
