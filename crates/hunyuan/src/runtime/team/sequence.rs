//! Attention over tokens that are spread over a team.
//!
//! The rule: the video's tokens stay in their order and the text's follow, as on one device, because another order of keys changes
//! the last bits. Two exchanges a block: rows for heads, and back. Only the video's rows are exchanged; the text's results, which
//! each process has for its own heads, are gathered.

use tch::Tensor;

use super::Team;
use crate::runtime::{attention, error::Result};

/// The part of a joint buffer `[batch, own video rows + text rows, >= 3 * heads * dim]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    /// Heads of the model, a multiple of the team's size.
    pub(crate) heads: i64,
    /// Width of a head.
    pub(crate) dim: i64,
    /// This process's rows of the video.
    pub(crate) own: i64,
    /// The whole video's rows.
    pub(crate) video: i64,
}

impl Team {
    /// Full attention of queries, keys and values in `qkv`, whose rows are this process's part of the video and all of the text;
    /// returns `[batch, the same rows, heads * dim]`.
    pub(crate) fn attend(&self, qkv: &Tensor, parts: Parts) -> Result<Tensor> {
        let Parts { heads, dim, own, video } = parts;
        let (batch, rows, size) = (qkv.size()[0], qkv.size()[1], self.size as i64);
        let (text, share, rank) = (rows - own, heads / size * dim, self.rank as i64);
        // [batch, rows, 3, size, share]: the heads in as many parts as there are processes.
        let split = qkv.f_narrow(2, 0, 3 * heads * dim)?.f_view([batch, rows, 3, size, share])?;

        // 1. Own rows of all heads for all rows of own heads; the text's own heads are here already.
        let outgoing = split.f_narrow(1, 0, own)?.f_permute([3, 1, 0, 2, 4])?.f_contiguous()?;
        let outgoing = outgoing.f_view([size * own, batch, 3, share])?;
        let options = (qkv.kind(), qkv.device());
        let all = Tensor::f_empty([video + text, batch, 3, share], options)?;
        let video_rows = self.rows(video);
        self.all_to_all(&outgoing, &vec![own; self.size], &all.f_narrow(0, 0, video)?, &video_rows)?;
        drop(outgoing);
        let own_heads = split.f_select(3, rank)?.f_narrow(1, own, text)?.f_permute([1, 0, 2, 3])?;
        all.f_narrow(0, video, text)?.f_copy_(&own_heads)?;

        // 2. [rows, batch, share] of each, seen as [batch, heads, rows, dim].
        let part = |index: i64| -> Result<Tensor> {
            let flat = attention::addressable(&all.f_select(2, index)?)?;
            Ok(flat.f_view([video + text, batch, heads / size, dim])?.f_permute([1, 2, 0, 3])?)
        };
        let attended = attention::attend(&part(0)?, &part(1)?, &part(2)?)?;
        drop(all);
        let attended = attended.f_permute([2, 0, 1, 3])?.f_reshape([video + text, batch, share])?.f_contiguous()?;

        // 3. Back: all heads of own rows, and of the text.
        let incoming = Tensor::f_empty([size * own, batch, share], options)?;
        let back = attended.f_narrow(0, 0, video)?;
        self.all_to_all(&back, &video_rows, &incoming, &vec![own; self.size])?;
        let of_text = self.all_gather(&attended.f_narrow(0, video, text)?)?;
        let joint = Tensor::f_empty([batch, rows, size, share], options)?;
        let ordered = incoming.f_view([size, own, batch, share])?.f_permute([2, 1, 0, 3])?;
        joint.f_narrow(1, 0, own)?.f_copy_(&ordered)?;
        joint.f_narrow(1, own, text)?.f_copy_(&of_text.f_permute([2, 1, 0, 3])?)?;
        Ok(joint.f_view([batch, rows, heads * dim])?)
    }

    /// Brings the rows `[batch, own rows, width]` of all processes together in process 0; the others get no rows.
    pub(crate) fn gather_rows(&self, rows: &Tensor, total: i64) -> Result<Tensor> {
        let (batch, width) = (rows.size()[0], rows.size()[2]);
        let first = self.rank == 0;
        let outgoing = rows.f_permute([1, 0, 2])?.f_contiguous()?;
        let mut outgoing_rows = vec![0; self.size];
        outgoing_rows[0] = outgoing.size()[0];
        let incoming_rows = if first { self.rows(total) } else { vec![0; self.size] };
        let incoming = Tensor::f_empty([if first { total } else { 0 }, batch, width], (rows.kind(), rows.device()))?;
        self.all_to_all(&outgoing, &outgoing_rows, &incoming, &incoming_rows)?;
        Ok(incoming.f_permute([1, 0, 2])?.f_contiguous()?)
    }
}
