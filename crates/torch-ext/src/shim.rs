//! Declarations of `shim.cpp`, and the one place that calls it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use tch::Tensor;

use crate::{Error, Result};

/// Bytes for an exception's text; longer ones are cut.
const MESSAGE_BYTES: usize = 1024;

#[expect(unsafe_code, reason = "the declarations of our own shim")]
// SAFETY: each declaration repeats the signature in shim.cpp.
unsafe extern "C" {
    fn torch_ext_set_attention(order: *const i64, on: usize, message: *mut c_char, room: usize) -> c_int;
    fn torch_ext_attention(order: *mut i64, count: *mut usize, message: *mut c_char, room: usize) -> c_int;
    fn torch_ext_make_deterministic(message: *mut c_char, room: usize) -> c_int;
    fn torch_ext_synchronize(device: i64, message: *mut c_char, room: usize) -> c_int;
    fn torch_ext_use_gpu(device: i64, message: *mut c_char, room: usize) -> c_int;
    fn torch_ext_memory(device: i64, out: *mut i64, message: *mut c_char, room: usize) -> c_int;
    fn torch_ext_has_operator(name: *const c_char, found: *mut c_int, message: *mut c_char, room: usize) -> c_int;
    fn torch_ext_flash3(
        query: *const c_void,
        key: *const c_void,
        value: *const c_void,
        out: *mut *mut c_void,
        message: *mut c_char,
        room: usize,
    ) -> c_int;
    fn torch_ext_pinned(bytes: i64, out: *mut *mut c_void, message: *mut c_char, room: usize) -> c_int;
}

/// Calls a function of the shim with room for its message.
pub(crate) fn call(function: impl FnOnce(*mut c_char, usize) -> c_int) -> Result<()> {
    let mut message: [c_char; MESSAGE_BYTES] = [0; MESSAGE_BYTES];
    if function(message.as_mut_ptr(), message.len()) == 0 {
        return Ok(());
    }
    // The shim terminates the text; the last byte is set again so that a mistake there cannot read past the end.
    message[MESSAGE_BYTES - 1] = 0;
    #[expect(unsafe_code, reason = "a C string that was written into our own buffer")]
    // SAFETY: the buffer ends with a zero byte and lives until the text is copied.
    let text = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy();
    Err(Error::Failed(text.lines().next().unwrap_or_default().trim().to_owned()))
}

pub(crate) fn set_attention(order: &[i64; 4], on: usize) -> Result<()> {
    #[expect(unsafe_code, reason = "a foreign function")]
    // SAFETY: the array has the four values that the shim reads.
    call(|message, room| unsafe { torch_ext_set_attention(order.as_ptr(), on, message, room) })
}

pub(crate) fn attention() -> Result<Vec<i64>> {
    let (mut order, mut count) = ([0_i64; 4], 0_usize);
    #[expect(unsafe_code, reason = "a foreign function")]
    // SAFETY: the shim writes at most four values and their number.
    call(|message, room| unsafe { torch_ext_attention(order.as_mut_ptr(), &raw mut count, message, room) })?;
    Ok(order[..count.min(order.len())].to_vec())
}

pub(crate) fn make_deterministic() -> Result<()> {
    #[expect(unsafe_code, reason = "a foreign function")]
    // SAFETY: it takes nothing but the message's buffer.
    call(|message, room| unsafe { torch_ext_make_deterministic(message, room) })
}

pub(crate) fn synchronize(device: i64) -> Result<()> {
    #[expect(unsafe_code, reason = "a foreign function")]
    // SAFETY: plain values.
    call(|message, room| unsafe { torch_ext_synchronize(device, message, room) })
}

pub(crate) fn use_gpu(device: i64) -> Result<()> {
    #[expect(unsafe_code, reason = "a foreign function")]
    // SAFETY: plain values.
    call(|message, room| unsafe { torch_ext_use_gpu(device, message, room) })
}

pub(crate) fn memory(device: i64) -> Result<[i64; 4]> {
    let mut out = [0_i64; 4];
    #[expect(unsafe_code, reason = "a foreign function")]
    // SAFETY: the shim writes four values.
    call(|message, room| unsafe { torch_ext_memory(device, out.as_mut_ptr(), message, room) })?;
    Ok(out)
}

pub(crate) fn has_operator(name: &CStr) -> Result<bool> {
    let mut found: c_int = 0;
    #[expect(unsafe_code, reason = "a foreign function")]
    // SAFETY: the name ends with a zero byte; the shim writes one integer.
    call(|message, room| unsafe { torch_ext_has_operator(name.as_ptr(), &raw mut found, message, room) })?;
    Ok(found != 0)
}

pub(crate) fn flash3(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    let [query, key, value] = [query, key, value].map(|tensor| tensor.as_ptr().cast());
    tensor(|out, message, room| {
        #[expect(unsafe_code, reason = "a foreign function")]
        // SAFETY: the tensors outlive the call, which only reads them.
        unsafe {
            torch_ext_flash3(query, key, value, out, message, room)
        }
    })
}

pub(crate) fn pinned(bytes: i64) -> Result<Tensor> {
    tensor(|out, message, room| {
        #[expect(unsafe_code, reason = "a foreign function")]
        // SAFETY: plain values.
        unsafe {
            torch_ext_pinned(bytes, out, message, room)
        }
    })
}

/// Calls a function of the shim that makes a tensor.
fn tensor(function: impl FnOnce(*mut *mut c_void, *mut c_char, usize) -> c_int) -> Result<Tensor> {
    let mut made: *mut c_void = ptr::null_mut();
    call(|message, room| function(&raw mut made, message, room))?;
    if made.is_null() {
        return Err(Error::Failed("the shim made no tensor".to_owned()));
    }
    #[expect(unsafe_code, reason = "a tensor that the shim has just made for us")]
    // SAFETY: it is an at::Tensor on the heap, as tch's own wrappers return it, and nothing else owns it.
    Ok(unsafe { Tensor::from_ptr(made.cast()) })
}
