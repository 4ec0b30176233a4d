//! Groups of GPUs of one machine that exchange tensors through NVIDIA's NCCL.
//!
//! NCCL is opened by name at run time, as libtorch's CUDA half does, so nothing here needs it at build time. Everything is queued on
//! CUDA's default stream, on which all work of this process runs, so an exchange begins when the tensors are ready and the work
//! after it sees its results. As everything is moved and nothing is added up, tensors are sent as bytes.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use libloading::os::unix::Library;
use tch::Tensor;

use crate::library::{function, load};
use crate::{Error, Result};

/// NCCL 2, as libtorch's CUDA half names it.
const LIBRARY: &str = "libnccl.so.2";
/// Bytes of a group's id.
pub const ID_BYTES: usize = 128;
/// `ncclUint8`.
const BYTES: c_int = 1;
/// CUDA's default stream.
const STREAM: *mut c_void = ptr::null_mut();

/// `ncclUniqueId`, which is passed by value.
#[repr(C)]
#[derive(Clone, Copy)]
struct UniqueId([c_char; ID_BYTES]);

type Comm = *mut c_void;
type GetId = extern "C" fn(*mut UniqueId) -> c_int;
type Init = extern "C" fn(*mut Comm, c_int, UniqueId, c_int) -> c_int;
type OfComm = extern "C" fn(Comm) -> c_int;
type Plain = extern "C" fn() -> c_int;
type Send = extern "C" fn(*const c_void, usize, c_int, c_int, Comm, *mut c_void) -> c_int;
type Receive = extern "C" fn(*mut c_void, usize, c_int, c_int, Comm, *mut c_void) -> c_int;
type Gather = extern "C" fn(*const c_void, *mut c_void, usize, c_int, Comm, *mut c_void) -> c_int;
type Broadcast = extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Comm, *mut c_void) -> c_int;
type Text = extern "C" fn(c_int) -> *const c_char;

/// NCCL's functions that are used here; the types are those of nccl.h.
struct Functions {
    get_id: GetId,
    init: Init,
    abort: OfComm,
    start: Plain,
    end: Plain,
    send: Send,
    receive: Receive,
    gather: Gather,
    broadcast: Broadcast,
    text: Text,
    _library: Library,
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NCCL")
    }
}

impl Functions {
    fn open(path: &Path) -> Result<Self> {
        let library = load(path)?;
        #[expect(unsafe_code, reason = "NCCL's documented interface")]
        // SAFETY: the types are those of nccl.h.
        unsafe {
            Ok(Self {
                get_id: function(&library, "ncclGetUniqueId")?,
                init: function(&library, "ncclCommInitRank")?,
                abort: function(&library, "ncclCommAbort")?,
                start: function(&library, "ncclGroupStart")?,
                end: function(&library, "ncclGroupEnd")?,
                send: function(&library, "ncclSend")?,
                receive: function(&library, "ncclRecv")?,
                gather: function(&library, "ncclAllGather")?,
                broadcast: function(&library, "ncclBroadcast")?,
                text: function(&library, "ncclGetErrorString")?,
                _library: library,
            })
        }
    }

    fn check(&self, called: &str, result: c_int) -> Result<()> {
        if result == 0 {
            return Ok(());
        }
        let text = (self.text)(result);
        #[expect(unsafe_code, reason = "a C string of NCCL's")]
        // SAFETY: NCCL returns a constant text for every number.
        let text = if text.is_null() { "unknown".into() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy() };
        Err(Error::Failed(format!("{called}: {text}")))
    }
}

/// A new group's id, which its first member makes and all others are given.
///
/// # Errors
/// [`Error::NotAvailable`] without NCCL.
pub fn fresh_id() -> Result<[u8; ID_BYTES]> {
    fresh_id_of(Path::new(LIBRARY))
}

fn fresh_id_of(library: &Path) -> Result<[u8; ID_BYTES]> {
    let functions = Functions::open(library)?;
    let mut id = UniqueId([0; ID_BYTES]);
    functions.check("ncclGetUniqueId", (functions.get_id)(&raw mut id))?;
    Ok(id.0.map(c_char::cast_unsigned))
}

/// Stops a group from another thread: whatever waits in it ends with an error or unfinished.
#[derive(Debug, Clone)]
pub struct Abort {
    functions: Arc<Functions>,
    comm: Arc<AtomicPtr<c_void>>,
}

impl Abort {
    /// Stops it; nothing happens the second time.
    pub fn abort(&self) {
        let comm = self.comm.swap(ptr::null_mut(), Ordering::AcqRel);
        if !comm.is_null() {
            // Whether it worked shows in the calls that waited.
            let _ = (self.functions.abort)(comm);
        }
    }
}

/// This process's GPU in a group.
#[derive(Debug)]
pub struct Group {
    shared: Abort,
    size: usize,
}

impl Group {
    /// Joins with GPU `device` as member `rank` of `size`; returns when all have.
    ///
    /// # Errors
    /// [`Error::NotAvailable`] without NCCL or without that GPU, [`Error::Failed`] with NCCL's reason.
    pub fn join(id: [u8; ID_BYTES], device: usize, rank: usize, size: usize) -> Result<Self> {
        crate::device::use_gpu(device)?;
        Self::join_at(Path::new(LIBRARY), id, rank, size)
    }

    fn join_at(library: &Path, id: [u8; ID_BYTES], rank: usize, size: usize) -> Result<Self> {
        let functions = Functions::open(library)?;
        let number = |value: usize| c_int::try_from(value).map_err(|error| Error::Failed(error.to_string()));
        let mut comm: Comm = ptr::null_mut();
        let id = UniqueId(id.map(u8::cast_signed));
        let joined = (functions.init)(&raw mut comm, number(size)?, id, number(rank)?);
        functions.check("ncclCommInitRank", joined)?;
        let comm = Arc::new(AtomicPtr::new(comm));
        Ok(Self { shared: Abort { functions: Arc::new(functions), comm }, size })
    }

    /// A handle that stops the group.
    #[must_use]
    pub fn aborter(&self) -> Abort {
        self.shared.clone()
    }

    /// As [`crate::group::Group::all_to_all`].
    ///
    /// # Errors
    /// [`Error::Failed`]: rows that do not fit the tensors, NCCL's reason, or a group that was stopped.
    pub fn all_to_all(&self, output: &Tensor, output_rows: &[i64], input: &Tensor, input_rows: &[i64]) -> Result<()> {
        let incoming = parts(output, output_rows, self.size)?;
        let outgoing = parts(input, input_rows, self.size)?;
        let (functions, comm) = self.ready()?;
        functions.check("ncclGroupStart", (functions.start)())?;
        let mut queued = Ok(());
        for (peer, ((to, to_bytes), (from, from_bytes))) in incoming.into_iter().zip(outgoing).enumerate() {
            let peer = peer as c_int;
            if from_bytes > 0 && queued.is_ok() {
                queued = functions
                    .check("ncclSend", (functions.send)(from.cast_const(), from_bytes, BYTES, peer, comm, STREAM));
            }
            if to_bytes > 0 && queued.is_ok() {
                queued = functions.check("ncclRecv", (functions.receive)(to, to_bytes, BYTES, peer, comm, STREAM));
            }
        }
        // The bracket is closed in any case.
        functions.check("ncclGroupEnd", (functions.end)())?;
        queued
    }

    /// As [`crate::group::Group::all_gather`].
    ///
    /// # Errors
    /// As [`Group::all_to_all`].
    pub fn all_gather(&self, output: &Tensor, input: &Tensor) -> Result<()> {
        let (to, room) = bytes_of(output)?;
        let (from, bytes) = bytes_of(input)?;
        if room != bytes * self.size {
            return Err(Error::Failed(format!("{bytes} bytes from each of {} do not fill {room}", self.size)));
        }
        let (functions, comm) = self.ready()?;
        functions.check("ncclAllGather", (functions.gather)(from.cast_const(), to, bytes, BYTES, comm, STREAM))
    }

    /// As [`crate::group::Group::broadcast`].
    ///
    /// # Errors
    /// As [`Group::all_to_all`].
    pub fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        let (at, bytes) = bytes_of(tensor)?;
        let (functions, comm) = self.ready()?;
        functions.check("ncclBroadcast", (functions.broadcast)(at.cast_const(), at, bytes, BYTES, 0, comm, STREAM))
    }

    /// As [`crate::group::Group::send`].
    ///
    /// # Errors
    /// As [`Group::all_to_all`].
    pub fn send(&self, tensor: &Tensor, to: usize) -> Result<()> {
        let (at, bytes) = bytes_of(tensor)?;
        let (functions, comm) = self.ready()?;
        functions.check("ncclSend", (functions.send)(at.cast_const(), bytes, BYTES, to as c_int, comm, STREAM))
    }

    /// As [`crate::group::Group::receive`].
    ///
    /// # Errors
    /// As [`Group::all_to_all`].
    pub fn receive(&self, tensor: &Tensor, from: usize) -> Result<()> {
        let (at, bytes) = bytes_of(tensor)?;
        let (functions, comm) = self.ready()?;
        functions.check("ncclRecv", (functions.receive)(at, bytes, BYTES, from as c_int, comm, STREAM))
    }

    fn ready(&self) -> Result<(&Functions, Comm)> {
        let comm = self.shared.comm.load(Ordering::Acquire);
        if comm.is_null() {
            return Err(Error::Failed("the group was stopped".to_owned()));
        }
        Ok((&self.shared.functions, comm))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not `ncclCommDestroy`, which would wait for members that may be gone.
        self.shared.abort();
    }
}

/// Where a contiguous tensor's values begin, and their bytes.
fn bytes_of(tensor: &Tensor) -> Result<(*mut c_void, usize)> {
    if !tensor.is_contiguous() {
        return Err(Error::Failed("only contiguous tensors can be exchanged".to_owned()));
    }
    Ok((tensor.data_ptr(), tensor.numel() * tensor.kind().elt_size_in_bytes()))
}

/// Where the rows of each member begin in a tensor, and their bytes.
fn parts(tensor: &Tensor, rows: &[i64], size: usize) -> Result<Vec<(*mut c_void, usize)>> {
    let (begin, bytes) = bytes_of(tensor)?;
    let all: i64 = rows.iter().sum();
    let held = tensor.size().first().copied().unwrap_or(0);
    if rows.len() != size || all != held || rows.iter().any(|&rows| rows < 0) {
        return Err(Error::Failed(format!("rows {rows:?} for {size} members do not fit {:?}", tensor.size())));
    }
    let row = usize::try_from(held).ok().filter(|&held| held > 0).map_or(0, |held| bytes / held);
    let mut at = 0_usize;
    let part = |rows: &i64| {
        let bytes = usize::try_from(*rows).unwrap_or(0) * row;
        let part = (begin.cast::<u8>().wrapping_add(at).cast::<c_void>(), bytes);
        at += bytes;
        part
    };
    Ok(rows.iter().map(part).collect())
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// An NCCL of one member whose only peer is itself: what is sent waits until the bracket ends, then it is copied to where it is
    /// received. It fails where the arguments are not those of nccl.h.
    const ONE_MEMBER: &str = r#"
        #include <stddef.h>
        #include <string.h>
        typedef struct { char internal[128]; } Id;
        static int here, open_brackets; static const void* from; static void* to; static size_t bytes;
        int ncclGetUniqueId(Id* id) { for (int i = 0; i < 128; i++) id->internal[i] = (char)(i - 64); return 0; }
        int ncclCommInitRank(void** comm, int size, Id id, int rank) {
          for (int i = 0; i < 128; i++) if (id.internal[i] != (char)(i - 64)) return 4;
          *comm = &here; return size == 1 && rank == 0 ? 0 : 4; }
        int ncclCommAbort(void* comm) { return comm == &here ? 0 : 4; }
        int ncclGroupStart(void) { open_brackets++; from = to = NULL; return 0; }
        int ncclGroupEnd(void) { open_brackets--; if (from && to) memcpy(to, from, bytes); return open_brackets; }
        static int good(int type, void* comm, void* stream) { return type == 1 && comm == &here && !stream ? 0 : 4; }
        int ncclSend(const void* at, size_t n, int type, int peer, void* comm, void* stream) {
          from = at; bytes = n; return peer || open_brackets != 1 ? 4 : good(type, comm, stream); }
        int ncclRecv(void* at, size_t n, int type, int peer, void* comm, void* stream) {
          to = at; return peer || n != bytes ? 4 : good(type, comm, stream); }
        int ncclAllGather(const void* s, void* r, size_t n, int type, void* comm, void* stream) {
          memcpy(r, s, n); return good(type, comm, stream); }
        int ncclBroadcast(const void* s, void* r, size_t n, int type, int root, void* comm, void* stream) {
          return root || s != r || n != 12 ? 4 : good(type, comm, stream); }
        const char* ncclGetErrorString(int result) { return result == 4 ? "invalid argument" : "other"; }
    "#;

    /// Compiles the stand-in.
    fn library(folder: &Path) -> std::path::PathBuf {
        let (source, library) = (folder.join("nccl.c"), folder.join("libnccl.so"));
        std::fs::write(&source, ONE_MEMBER).unwrap();
        let mut compiler = std::process::Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-w", "-o"]).arg(&library).arg(&source);
        assert!(compiler.status().unwrap().success());
        library
    }

    #[test]
    fn the_calls_are_those_of_nccl() {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path());
        let group = Group::join_at(&library, fresh_id_of(&library).unwrap(), 0, 1).unwrap();
        let options = (Kind::Float, Device::Cpu);
        let (input, output) = (Tensor::arange(6, options).view([3, 2]), Tensor::zeros([3, 2], options));
        group.all_to_all(&output, &[3], &input, &[3]).unwrap();
        assert!(output.equal(&input));
        let output = Tensor::zeros([1, 3, 2], options);
        group.all_gather(&output, &input).unwrap();
        assert!(output.select(0, 0).equal(&input));
        group.broadcast(&Tensor::zeros([3], options)).unwrap();
        let refused = group.broadcast(&Tensor::zeros([4], options)).unwrap_err();
        assert_eq!(refused, Error::Failed("ncclBroadcast: invalid argument".to_owned()));
        assert!(group.all_to_all(&input, &[2], &input, &[3]).is_err(), "rows that do not fit");
        group.aborter().abort();
        group.aborter().abort();
        assert!(group.broadcast(&Tensor::zeros([3], options)).unwrap_err().to_string().contains("stopped"));
    }

    #[test]
    fn a_machine_without_nccl_says_so() {
        let error = fresh_id_of(Path::new("/nowhere/libnccl.so.2")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/libnccl.so.2"), "{error}");
        assert!(Group::join([0; ID_BYTES], 9999, 0, 1).is_err(), "no such GPU");
    }
}
