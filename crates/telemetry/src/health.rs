//! Liveness and readiness of a process, derived from parts that each report their own state.
//!
//! A process is alive as long as a restart would not help. It is ready when it can do its work: a worker is ready when its model is
//! loaded and it can receive jobs, not as soon as it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// State of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It works.
    Ok,
    /// It does not work, for this reason, but may recover.
    NotReady(String),
    /// It cannot recover in this process, for this reason.
    Broken(String),
}

/// The health of all parts of a process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<&'static str, State>>>,
}

/// A handle with which one part reports its state.
#[derive(Debug, Clone)]
pub struct Part {
    health: Health,
    name: &'static str,
}

impl Health {
    /// A process without parts, which counts as ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part, which is not ready until it reports so.
    #[must_use]
    pub fn part(&self, name: &'static str) -> Part {
        let part = Part { health: self.clone(), name };
        part.not_ready("starting");
        part
    }

    /// The reason why the process must be restarted; `None` while it is alive.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        self.find(|state| if let State::Broken(why) = state { Some(why) } else { None })
    }

    /// The reason why the process is not ready; `None` if it is ready.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        self.find(|state| match state {
            State::Ok => None,
            State::NotReady(why) | State::Broken(why) => Some(why),
        })
    }

    fn find(&self, pick: impl Fn(&State) -> Option<&String>) -> Option<String> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<_> =
            parts.iter().filter_map(|(name, state)| Some(format!("{name}: {}", pick(state)?))).collect();
        (!found.is_empty()).then(|| found.join("; "))
    }

    fn set(&self, name: &'static str, state: &State) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = parts.insert(name, state.clone());
        if before.as_ref() != Some(state) {
            match state {
                State::Ok if before.is_some() => tracing::info!(part = name, "ready"),
                State::NotReady(why) if before == Some(State::Ok) => tracing::warn!(part = name, why, "not ready"),
                State::Broken(why) => tracing::error!(part = name, why, "broken"),
                _ => {}
            }
        }
    }
}

impl Part {
    /// Reports that the part works.
    pub fn ok(&self) {
        self.health.set(self.name, &State::Ok);
    }

    /// Reports that the part does not work. The probe shows the reason.
    pub fn not_ready(&self, why: &str) {
        self.health.set(self.name, &State::NotReady(why.to_owned()));
    }

    /// Reports whether the part works; `otherwise` is the reason if it does not.
    pub fn set(&self, works: bool, otherwise: &str) {
        if works { self.ok() } else { self.not_ready(otherwise) }
    }

    /// Reports that the part cannot recover, so that the process should be restarted.
    pub fn broken(&self, why: &str) {
        self.health.set(self.name, &State::Broken(why.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_every_part_is() {
        let health = Health::new();
        let (model, broker) = (health.part("model"), health.part("broker"));
        assert_eq!(health.not_ready().as_deref(), Some("broker: starting; model: starting"));
        model.ok();
        broker.ok();
        assert_eq!(health.not_ready(), None);
        broker.set(false, "no consumer");
        assert_eq!(health.not_ready().as_deref(), Some("broker: no consumer"));
        assert_eq!(health.broken(), None);
        model.broken("the device does not respond");
        assert_eq!(health.broken().as_deref(), Some("model: the device does not respond"));
    }
}
