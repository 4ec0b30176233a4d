//! Tiles of one video, decoded by the processes of a team in turns.
//!
//! The rule: tile `i` belongs to process `i % size`. Process 0 joins all of them in the order in which one device decodes them, so
//! the video has the same bits. Before each round of tiles it says whether to go on; a stop within a round takes effect when the
//! round's tiles have arrived.

use tch::{Kind, Tensor};

use super::Team;
use crate::runtime::{
    error::{Error, Result},
    tiling::{DecodeTile, Plan, Progress, TileSizes},
};

/// How a decoder is to split a video, and over which processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Split<'a> {
    pub(crate) sizes: &'a TileSizes,
    /// Whether tiles in height and width are allowed.
    pub(crate) spatial: bool,
    /// The team whose processes decode the tiles in turns.
    pub(crate) team: Option<&'a Team>,
}

impl Split<'_> {
    /// Decodes all tiles and joins them, with a team whose other processes have the same plan and latents.
    pub(crate) fn run(&self, plan: &Plan, latents: &Tensor, decode: DecodeTile, progress: Progress) -> Result<Tensor> {
        let Some(team) = self.team else { return plan.run(latents, decode, progress) };
        let mut tiles = Tiles { team, total: plan.count(latents), next: 0, kind: latents.kind() };
        plan.run(latents, &mut |tile| tiles.next(|| decode(tile)), progress)
    }
}

/// Process 0's side: yields the tiles in order.
struct Tiles<'a> {
    team: &'a Team,
    total: usize,
    next: usize,
    kind: Kind,
}

impl Tiles<'_> {
    /// The next tile: `own` decodes it where it is one of process 0's.
    fn next(&mut self, own: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        let (index, size) = (self.next, self.team.size());
        self.next += 1;
        if index % size > 0 {
            return self.team.receive_from(index % size, self.kind);
        }
        self.team.go_on(true)?;
        let decoded = own();
        if matches!(decoded, Err(Error::Cancelled)) {
            self.stop(index)?;
        }
        decoded
    }

    /// Takes the rest of the round that began with this tile, and ends the work if there is more.
    fn stop(&self, index: usize) -> Result<()> {
        let size = self.team.size();
        for from in 1..size.min(self.total - index) {
            drop(self.team.receive_from(from, self.kind)?);
        }
        if index + size < self.total {
            self.team.go_on(false)?;
        }
        Ok(())
    }
}

impl Team {
    /// The other processes' side: decodes this one's tiles and sends them.
    pub(crate) fn decode_tiles(
        &self,
        tiles: &[Tensor],
        decode: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        for round in tiles.chunks(self.size) {
            if !self.go_on(true)? {
                break;
            }
            if let Some(tile) = round.get(self.rank) {
                self.send_to_first(&decode(tile)?.f_contiguous()?)?;
            }
        }
        Ok(())
    }
}
