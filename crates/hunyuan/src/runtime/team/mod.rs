//! Several devices for one video: the processes that hold them, and what they exchange.
//!
//! The rule: process 0 decides everything and holds everything whole, the latents between two steps, step caches, checkpoints; the
//! others compute their share of what it orders ([`order`]) and keep nothing. So a checkpoint has the same form for any number of
//! devices, and decisions cannot differ between them.
//!
//! Within a forward pass each process has some rows of the video's tokens and all of the text's; in attention each has some heads of
//! all tokens ([`Team::attend`]). This is the Ulysses scheme, <https://arxiv.org/abs/2309.14509>, with the text as a replicated
//! suffix. Whole tiles are decoded by one process each. Every value is computed by the same operation as on one device, on
//! fewer rows.

mod leader;
pub(crate) mod order;
mod sequence;
mod tiles;

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use tch::{Device, Kind, Tensor};
use torch_ext::{group::Group, nccl};

pub use self::leader::{Leader, SendOrder};
pub use self::order::Order;
pub(crate) use self::sequence::Parts;
pub(crate) use self::tiles::Split;
use crate::runtime::{
    control::Control,
    device,
    error::{Error, Result},
};

/// Stops a team's exchange of GPU tensors from another thread; processes that exchange in host memory notice by themselves when one
/// of them dies.
#[derive(Debug, Clone)]
pub struct Abort {
    gpus: Option<nccl::Abort>,
}

impl Abort {
    /// Ends whatever waits in the exchange.
    pub fn abort(&self) {
        if let Some(gpus) = &self.gpus {
            gpus.abort();
        }
    }
}

/// This process's membership of a team.
#[derive(Debug)]
pub struct Team {
    rank: usize,
    size: usize,
    device: Device,
    /// Carries decisions in any case, and tensors where they are in host memory.
    host: RefCell<Group>,
    gpus: Option<nccl::Group>,
    sent_bytes: Cell<u64>,
}

impl Team {
    /// Joins the `size` processes that meet at `file`, which must not exist before. `limit` is the longest wait for another process,
    /// here and in every exchange in host memory.
    ///
    /// # Errors
    /// [`Error::Team`] when the others do not come in time.
    pub fn join(file: &Path, rank: usize, size: usize, limit: Duration) -> Result<Self> {
        let host = Group::join(file, rank, size, limit).map_err(|error| lost("start", &error))?;
        Ok(Self { rank, size, device: Device::Cpu, host: RefCell::new(host), gpus: None, sent_bytes: Cell::new(0) })
    }

    /// Exchanges tensors of this device from now on. All processes of the team call it, once they hold their models.
    ///
    /// # Errors
    /// [`Error::Team`]: NCCL is missing, or its reason.
    pub fn use_device(&mut self, device: Device) -> Result<()> {
        let Device::Cuda(index) = device else { return Ok(()) };
        let failed = |error: torch_ext::Error| lost("connect the GPUs", &error);
        // A process without NCCL must not leave the others waiting, so all learn whether the first one has an id.
        let id = if self.rank == 0 { nccl::fresh_id() } else { Ok([0; nccl::ID_BYTES]) };
        let shared = Tensor::f_from_slice(id.as_ref().map_or(&[0_u8; nccl::ID_BYTES][..], |id| &id[..]))?;
        self.broadcast_on_host(&shared)?;
        id.map_err(failed)?;
        let bytes: Vec<u8> = Vec::try_from(&shared)?;
        let id: [u8; nccl::ID_BYTES] = bytes.try_into().map_err(|_| Error::team("the group's id was cut"))?;
        self.gpus = Some(nccl::Group::join(id, index, self.rank, self.size).map_err(failed)?);
        self.device = device;
        Ok(())
    }

    /// This process's number; 0 leads.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of processes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// A handle that stops the exchange.
    #[must_use]
    pub fn aborter(&self) -> Abort {
        Abort { gpus: self.gpus.as_ref().map(nccl::Group::aborter) }
    }

    /// Bytes of tensors that this process has sent to others within forward passes, without the inputs that process 0 gives to all.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.get()
    }

    /// How many of `total` rows each process has, in order; the first ones have one more where they do not divide.
    #[must_use]
    pub fn rows(&self, total: i64) -> Vec<i64> {
        let size = self.size as i64;
        (0..size).map(|rank| total / size + i64::from(rank < total % size)).collect()
    }

    /// The first of this process's rows, and their number.
    pub(crate) fn own_rows(&self, total: i64) -> (i64, i64) {
        let rows = self.rows(total);
        (rows[..self.rank].iter().sum(), rows[self.rank])
    }

    /// Whether a video of this many tokens has one for each process.
    pub(crate) fn can_share(&self, tokens: i64) -> bool {
        tokens >= self.size as i64
    }

    /// Refuses a team whose processes cannot have equal numbers of heads.
    pub(crate) fn check_heads(&self, heads: i64) -> Result<()> {
        if heads % self.size as i64 == 0 {
            return Ok(());
        }
        let possible: Vec<String> = (1..=heads).filter(|size| heads % size == 0).map(|size| size.to_string()).collect();
        let reason = format!(
            "{} devices cannot share this model's {heads} attention heads; give {}",
            self.size,
            possible.join(", ")
        );
        Err(Error::input("devices", reason))
    }

    /// A tensor of this size, as process 0 has it.
    pub(crate) fn received(&self, shape: &[i64], format: (Kind, Device)) -> Result<Tensor> {
        let tensor = Tensor::f_empty(shape, format)?;
        self.broadcast(&tensor)?;
        Ok(tensor)
    }

    /// Counts a beat and stops here when process 0 was asked to; all processes do, at the same place.
    pub(crate) fn check(&self, control: &Control, device: Device) -> Result<()> {
        device::synchronize(device)?;
        control.beat();
        if self.go_on(!control.is_cancelled())? { Ok(()) } else { Err(Error::Cancelled) }
    }

    /// What process 0 says; the argument of the others does not count.
    pub(crate) fn go_on(&self, first_says: bool) -> Result<bool> {
        let word = Tensor::f_from_slice(&[i64::from(first_says)])?;
        self.broadcast_on_host(&word)?;
        Ok(word.f_int64_value(&[0])? != 0)
    }

    /// Whether all processes succeeded.
    pub(crate) fn all_succeeded(&self, this_one: bool) -> Result<bool> {
        let word = Tensor::f_from_slice(&[i64::from(this_one)])?;
        let all = Tensor::f_zeros([self.size as i64], (Kind::Int64, Device::Cpu))?;
        self.host.borrow_mut().all_gather(&all, &word).map_err(|error| lost("agree", &error))?;
        Ok(all.f_min()?.f_int64_value(&[])? != 0)
    }

    /// Gives process 0's tensor to all; those of the others are overwritten and must have its size.
    pub(crate) fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        match &self.gpus {
            Some(gpus) => gpus.broadcast(tensor).map_err(|error| lost("hand out", &error)),
            None => self.broadcast_on_host(tensor),
        }
    }

    fn broadcast_on_host(&self, tensor: &Tensor) -> Result<()> {
        self.host.borrow_mut().broadcast(tensor).map_err(|error| lost("hand out", &error))
    }

    /// Sends rows of `input` to each process and returns the rows received from all, in order. A row is an index of the first axis.
    fn all_to_all(&self, input: &Tensor, input_rows: &[i64], output: &Tensor, output_rows: &[i64]) -> Result<()> {
        let exchanged = match &self.gpus {
            Some(gpus) => gpus.all_to_all(output, output_rows, input, input_rows),
            None => self.host.borrow_mut().all_to_all(output, output_rows, input, input_rows),
        };
        exchanged.map_err(|error| lost("exchange", &error))?;
        let others: i64 = input_rows.iter().sum::<i64>() - input_rows[self.rank];
        self.count(others * row_values(input), input.kind());
        Ok(())
    }

    /// The tensors of all processes, `[size, ..]`.
    fn all_gather(&self, input: &Tensor) -> Result<Tensor> {
        let input = input.f_contiguous()?;
        let mut shape = vec![self.size as i64];
        shape.extend(input.size());
        let output = Tensor::f_empty(shape, (input.kind(), input.device()))?;
        // Gloo compares the sizes, and takes the parts one after the other along the first axis.
        let joined = output.f_flatten(0, 1)?;
        let gathered = match &self.gpus {
            Some(gpus) => gpus.all_gather(&joined, &input),
            None => self.host.borrow_mut().all_gather(&joined, &input),
        };
        gathered.map_err(|error| lost("gather", &error))?;
        self.count((self.size as i64 - 1) * input.numel() as i64, input.kind());
        Ok(output)
    }

    fn send_to_first(&self, tensor: &Tensor) -> Result<()> {
        let shape = Tensor::f_from_slice(&tensor.size())?;
        let failed = |error: torch_ext::Error| lost("send a tile", &error);
        self.host.borrow_mut().send(&shape, 0).map_err(failed)?;
        match &self.gpus {
            Some(gpus) => gpus.send(tensor, 0).map_err(failed),
            None => self.host.borrow_mut().send(tensor, 0).map_err(failed),
        }
    }

    /// A tensor of five axes that process `from` sends.
    fn receive_from(&self, from: usize, kind: Kind) -> Result<Tensor> {
        let failed = |error: torch_ext::Error| lost("receive a tile", &error);
        let shape = Tensor::f_zeros([5], (Kind::Int64, Device::Cpu))?;
        self.host.borrow_mut().receive(&shape, from).map_err(failed)?;
        let tensor = Tensor::f_empty(Vec::<i64>::try_from(&shape)?, (kind, self.device))?;
        match &self.gpus {
            Some(gpus) => gpus.receive(&tensor, from).map_err(failed)?,
            None => self.host.borrow_mut().receive(&tensor, from).map_err(failed)?,
        }
        Ok(tensor)
    }

    fn count(&self, values: i64, kind: Kind) {
        let bytes = u64::try_from(values).unwrap_or(0) * kind.elt_size_in_bytes() as u64;
        self.sent_bytes.set(self.sent_bytes.get() + bytes);
    }
}

/// Values of an index of the first axis.
fn row_values(tensor: &Tensor) -> i64 {
    tensor.size()[1..].iter().product()
}

/// An exchange that failed; mostly because another process died or hangs.
fn lost(what: &str, error: &torch_ext::Error) -> Error {
    Error::team(format!("the devices could not {what}: {error}"))
}
