//! Whole fleets: the real programs beside private services. Faults are in `tests/faults`.

mod adapters;
mod backlog;
mod clock;
mod fleet;
mod images;
mod optimizations;
mod remote;
mod replay;
mod upgrade;
