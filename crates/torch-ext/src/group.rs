//! Groups of processes on one machine that exchange tensors in host memory, through the Gloo that libtorch contains.
//!
//! The rule: all processes of a group call the same functions in the same order. A call waits until its own part is done; one that
//! waits for another process longer than the group's time limit fails, and so does one whose peer has died. After an error the
//! processes may be at different places, so the group must be dropped.

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::time::Duration;

use tch::Tensor;

use crate::shim::call;
use crate::{Error, Result};

#[expect(unsafe_code, reason = "the declarations of our own C++ file")]
// SAFETY: each declaration repeats the signature in group.cpp.
unsafe extern "C" {
    fn torch_ext_group_join(
        file: *const c_char,
        rank: i32,
        size: i32,
        timeout_ms: i64,
        out: *mut *mut c_void,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    fn torch_ext_group_free(group: *mut c_void);
    fn torch_ext_group_all_to_all(
        group: *mut c_void,
        out: *const c_void,
        input: *const c_void,
        out_rows: *const i64,
        in_rows: *const i64,
        size: usize,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    fn torch_ext_group_all_gather(
        group: *mut c_void,
        out: *const c_void,
        input: *const c_void,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    fn torch_ext_group_broadcast(
        group: *mut c_void,
        tensor: *const c_void,
        root: i32,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    fn torch_ext_group_send(
        group: *mut c_void,
        tensor: *const c_void,
        to: i32,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    fn torch_ext_group_receive(
        group: *mut c_void,
        tensor: *const c_void,
        from: i32,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
}

/// This process's membership of a group.
#[derive(Debug)]
pub struct Group {
    handle: NonNull<c_void>,
    rank: usize,
    size: usize,
}

#[expect(unsafe_code, reason = "a handle to a C++ object that no thread owns")]
// SAFETY: c10d's process groups are used from any thread; that no two calls of one process overlap is this type's `&mut self`.
unsafe impl Send for Group {}

impl Group {
    /// Joins the `size` processes that meet at `file`, and waits for all of them. `file` must not exist before the first one comes
    /// and must not be used again. `limit` is the longest wait for another process, here and in every later call.
    ///
    /// # Errors
    /// [`Error::Failed`] when the others do not come in time.
    pub fn join(file: &Path, rank: usize, size: usize, limit: Duration) -> Result<Self> {
        let number = |value: usize| i32::try_from(value).map_err(|error| Error::Failed(error.to_string()));
        let (rank_number, size_number) = (number(rank)?, number(size)?);
        let file = CString::new(file.as_os_str().as_bytes()).map_err(|error| Error::Failed(error.to_string()))?;
        let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let mut made: *mut c_void = ptr::null_mut();
        call(|message, room| {
            let out = &raw mut made;
            #[expect(unsafe_code, reason = "a foreign function")]
            // SAFETY: the path ends with a zero byte and outlives the call; the shim writes one pointer.
            unsafe {
                torch_ext_group_join(file.as_ptr(), rank_number, size_number, limit_ms, out, message, room)
            }
        })?;
        let handle = NonNull::new(made).ok_or_else(|| Error::Failed("the group was not made".to_owned()))?;
        Ok(Self { handle, rank, size })
    }

    /// This process's number, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of processes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Sends `input_rows[k]` rows of `input` to process `k`, in order, and receives `output_rows[k]` rows from it into `output`. A row
    /// is an index of the first axis; both tensors are contiguous.
    ///
    /// # Errors
    /// [`Error::Failed`]: rows that do not fit the tensors, or a process that died or did not come in time.
    pub fn all_to_all(
        &mut self,
        output: &Tensor,
        output_rows: &[i64],
        input: &Tensor,
        input_rows: &[i64],
    ) -> Result<()> {
        if output_rows.len() != self.size || input_rows.len() != self.size {
            return Err(Error::Failed(format!("give rows for {} processes", self.size)));
        }
        let (output, input) = (plain(output)?, plain(input)?);
        let group = self.handle.as_ptr();
        call(|message, room| {
            let (to, from) = (output_rows.as_ptr(), input_rows.as_ptr());
            #[expect(unsafe_code, reason = "a foreign function")]
            // SAFETY: the group is alive; the tensors and the rows, one for each process, outlive the call.
            unsafe {
                torch_ext_group_all_to_all(group, output, input, to, from, self.size, message, room)
            }
        })
    }

    /// Fills `output` with the `input` of each process, one after the other. All inputs have one shape; both tensors are contiguous.
    ///
    /// # Errors
    /// As [`Group::all_to_all`].
    pub fn all_gather(&mut self, output: &Tensor, input: &Tensor) -> Result<()> {
        let (output, input, group) = (plain(output)?, plain(input)?, self.handle.as_ptr());
        #[expect(unsafe_code, reason = "a foreign function")]
        // SAFETY: the group is alive, and the tensors outlive the call.
        call(|message, room| unsafe { torch_ext_group_all_gather(group, output, input, message, room) })
    }

    /// Makes `tensor`, which is contiguous, that of process 0.
    ///
    /// # Errors
    /// As [`Group::all_to_all`].
    pub fn broadcast(&mut self, tensor: &Tensor) -> Result<()> {
        let (tensor, group) = (plain(tensor)?, self.handle.as_ptr());
        #[expect(unsafe_code, reason = "a foreign function")]
        // SAFETY: the group is alive, and the tensor outlives the call.
        call(|message, room| unsafe { torch_ext_group_broadcast(group, tensor, 0, message, room) })
    }

    /// Sends a contiguous tensor to one process, which receives it.
    ///
    /// # Errors
    /// As [`Group::all_to_all`].
    pub fn send(&mut self, tensor: &Tensor, to: usize) -> Result<()> {
        let (tensor, group, to) = (plain(tensor)?, self.handle.as_ptr(), self.peer(to)?);
        #[expect(unsafe_code, reason = "a foreign function")]
        // SAFETY: the group is alive, and the tensor outlives the call.
        call(|message, room| unsafe { torch_ext_group_send(group, tensor, to, message, room) })
    }

    /// Receives into a contiguous tensor what one process sends.
    ///
    /// # Errors
    /// As [`Group::all_to_all`].
    pub fn receive(&mut self, tensor: &Tensor, from: usize) -> Result<()> {
        let (tensor, group, from) = (plain(tensor)?, self.handle.as_ptr(), self.peer(from)?);
        #[expect(unsafe_code, reason = "a foreign function")]
        // SAFETY: the group is alive, and the tensor outlives the call.
        call(|message, room| unsafe { torch_ext_group_receive(group, tensor, from, message, room) })
    }

    fn peer(&self, rank: usize) -> Result<i32> {
        let peer = i32::try_from(rank).ok().filter(|_| rank < self.size && rank != self.rank);
        peer.ok_or_else(|| Error::Failed(format!("process {rank} is not another one of {}", self.size)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "a foreign function")]
        // SAFETY: the handle was made by `join`, and this is its only owner.
        unsafe {
            torch_ext_group_free(self.handle.as_ptr());
        }
    }
}

/// A tensor's address; its values must be what Gloo reads, one after the other in host memory.
fn plain(tensor: &Tensor) -> Result<*const c_void> {
    if tensor.is_contiguous() && tensor.device() == tch::Device::Cpu {
        return Ok(tensor.as_ptr().cast());
    }
    Err(Error::Failed("only contiguous tensors in host memory can be exchanged".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tch::{Device, Kind};

    use super::*;

    /// Above every wait of these tests.
    const LONG: Duration = Duration::from_secs(120);

    /// Runs one thread for each member of a group; results in their order.
    fn members<T: Send>(size: usize, limit: Duration, body: impl Fn(Group) -> T + Sync) -> Vec<T> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("meet");
        thread::scope(|scope| {
            let threads: Vec<_> = (0..size)
                .map(|rank| {
                    let (file, body) = (&file, &body);
                    scope.spawn(move || body(Group::join(file, rank, size, limit).unwrap()))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(&tensor.to_kind(Kind::Float).reshape(-1)).unwrap()
    }

    /// Member r holds r + 1 rows and sends row k of them to all: uneven both ways, in both number formats.
    #[test]
    fn rows_go_where_they_belong_also_uneven_and_none() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let received = members(3, LONG, |mut group| {
                let rank = group.rank() as i64;
                // To member k: k rows, each holding 10 x sender + receiver.
                let input: Vec<f32> =
                    (0..3).flat_map(|to| vec![(10 * rank + to) as f32; usize::try_from(2 * to).unwrap()]).collect();
                let input = Tensor::from_slice(&input).view([-1, 2]).to_kind(kind);
                let output = Tensor::zeros([3 * rank, 2], (kind, Device::Cpu));
                group.all_to_all(&output, &[rank; 3], &input, &[0, 1, 2]).unwrap();
                values(&output)
            });
            assert_eq!(received[0], Vec::<f32>::new());
            assert_eq!(received[1], [1.0, 1.0, 11.0, 11.0, 21.0, 21.0]);
            assert_eq!(received[2], [2.0, 2.0, 2.0, 2.0, 12.0, 12.0, 12.0, 12.0, 22.0, 22.0, 22.0, 22.0]);
        }
    }

    #[test]
    fn all_members_get_the_parts_of_all_and_what_the_first_one_has() {
        let received = members(2, LONG, |mut group| {
            let rank = group.rank() as f64;
            let all = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
            group.all_gather(&all, &Tensor::full([1, 3], rank, (Kind::Float, Device::Cpu))).unwrap();
            let first = Tensor::full([2], 5.0 + rank, (Kind::Float, Device::Cpu));
            group.broadcast(&first).unwrap();
            (values(&all), values(&first))
        });
        assert_eq!(received, vec![(vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0], vec![5.0, 5.0]); 2]);
    }

    #[test]
    fn a_tensor_goes_from_one_member_to_another() {
        let received = members(2, LONG, |mut group| {
            let tensor = Tensor::full([4], group.rank() as f64, (Kind::Float, Device::Cpu));
            if group.rank() == 1 { group.send(&tensor, 0) } else { group.receive(&tensor, 1) }.unwrap();
            values(&tensor)
        });
        assert_eq!(received, vec![vec![1.0; 4]; 2]);
    }

    #[test]
    fn a_member_that_leaves_or_does_not_come_is_an_error() {
        let limit = Duration::from_millis(500);
        let outcomes = members(2, limit, |mut group| {
            // Both are there.
            group.broadcast(&Tensor::from_slice(&[1.0_f32]))?;
            if group.rank() == 1 {
                return Ok(());
            }
            group.receive(&Tensor::zeros([4], (Kind::Float, Device::Cpu)), 1)
        });
        assert!(outcomes[0].is_err() && outcomes[1].is_ok(), "{outcomes:?}");
        let folder = tempfile::tempdir().unwrap();
        assert!(Group::join(&folder.path().join("meet"), 0, 2, limit).is_err());
    }

    #[test]
    fn tensors_that_gloo_cannot_read_are_refused() {
        members(1, LONG, |mut group| {
            let strided = Tensor::zeros([4, 4], (Kind::Float, Device::Cpu)).transpose(0, 1).narrow(0, 0, 2);
            assert!(group.broadcast(&strided).is_err());
            assert!(group.send(&Tensor::from(1.0), 0).is_err(), "to itself");
            assert!(group.all_to_all(&Tensor::from(1.0), &[1, 1], &Tensor::from(1.0), &[1]).is_err());
        });
    }
}
