//! Process 0 of a team: it sends the orders.

use std::cell::{Cell, RefCell};

use tch::Tensor;

use super::{Order, Team};
use crate::runtime::error::{Error, Result};

/// Brings an order's line to all other processes, which wait for it outside of the team's exchanges, for as long as it takes.
pub type SendOrder = Box<dyn FnMut(&str) -> std::io::Result<()> + Send>;

/// See the module.
pub struct Leader {
    team: Team,
    send: RefCell<SendOrder>,
    broken: Cell<bool>,
}

impl std::fmt::Debug for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leader").field("team", &self.team).field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl Leader {
    /// Leads a team whose other processes are ready for orders.
    ///
    /// # Errors
    /// [`Error::Team`] for a process that is not the first.
    pub fn new(team: Team, send: SendOrder) -> Result<Self> {
        if team.rank() != 0 {
            return Err(Error::team(format!("process {} cannot lead", team.rank())));
        }
        Ok(Self { team, send: RefCell::new(send), broken: Cell::new(false) })
    }

    /// The team.
    #[must_use]
    pub fn team(&self) -> &Team {
        &self.team
    }

    /// Whether the processes may be at different places, so that this team must not be used again.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Orders shared work, hands out its tensors, and takes part in it. Any error but a stop, on which
    /// all agree, breaks the team.
    pub(crate) fn share<T>(
        &self,
        order: &Order,
        inputs: &[&Tensor],
        own: impl FnOnce(&Team) -> Result<T>,
    ) -> Result<T> {
        let done = self.ordered(order, inputs).and_then(|()| own(&self.team));
        // Values that are not finite are noticed when the exchange is over.
        if matches!(&done, Err(error) if !matches!(error, Error::Cancelled | Error::NotFinite { .. })) {
            self.broken.set(true);
        }
        done
    }

    fn ordered(&self, order: &Order, inputs: &[&Tensor]) -> Result<()> {
        if self.is_broken() {
            return Err(Error::team("its processes have not been started again after a failure"));
        }
        let line = order.line()?;
        (self.send.borrow_mut())(&line).map_err(|error| Error::team(format!("a process takes no orders: {error}")))?;
        for input in inputs {
            self.team.broadcast(&input.f_contiguous()?)?;
        }
        Ok(())
    }
}
