//! A `.pt` file as a [`Header`]: names, types, shapes and places of its tensors, without executing anything in it.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::Refused;
use crate::header::{Header, Stored, element_bytes};
use crate::kind::FileKind;
use crate::pickle::{self, TensorPlace, Value};
use crate::zip;

/// Under which keys programs put the tensors, beside other things.
const BELOW: [&str; 4] = ["module", "state_dict", "model", "ema"];

/// Reads the names and places of a whole (mapped) file. `scales_beside` says that the scales of FP8 weights are given in a second file.
///
/// # Errors
/// Another kind of file, a damaged one, or a pickle that does more than describe tensors.
pub fn header(file: &[u8], scales_beside: bool) -> Result<Header, Refused> {
    match FileKind::of(file) {
        FileKind::TorchZip => {}
        FileKind::Safetensors => return Header::parse(file, file.len() as u64),
        other => return Err(other.refusal().unwrap_or_else(|| Refused::new("is not a PyTorch file"))),
    }
    let entries = zip::entries(file)?;
    let program = entries.keys().find(|name| name.ends_with("/data.pkl") || *name == "data.pkl").cloned();
    let program =
        program.ok_or_else(|| Refused::new("is an archive without `data.pkl`, so it is not a PyTorch file"))?;
    let folder = program.trim_end_matches("data.pkl");
    if let Some(order) = entries.get(&format!("{folder}byteorder"))
        && file[order.clone()] != *b"little"
    {
        return Err(Refused::new("was written on a machine with another byte order"));
    }
    let Value::Dict(root) = pickle::read(&file[entries[&program].clone()])? else {
        return Err(Refused::new("holds no dictionary of tensors"));
    };
    let root = root.borrow().clone();
    let below = BELOW.iter().find_map(|wanted| {
        root.iter().find_map(|(key, value)| match (key, value) {
            (Value::Text(key), Value::Dict(dict)) if key == wanted => Some(dict.borrow().clone()),
            _ => None,
        })
    });
    let mut tensors = BTreeMap::new();
    for (key, value) in below.unwrap_or(root) {
        if let (Value::Text(name), Value::Tensor(place)) = (key, value) {
            let stored = stored(&name, &place, entries.get(&format!("{folder}data/{}", place.key)))?;
            tensors.insert(name, stored);
        }
    }
    let is_scaled = scales_beside
        || tensors.keys().any(|name: &String| name.ends_with("scale_weight") || name.ends_with("weight_scale"));
    if !is_scaled && tensors.values().any(|stored: &Stored| stored.dtype.starts_with("F8_")) {
        return Err(Refused::new(
            "is an FP8 checkpoint whose scales are in a second file; put it beside the first one as `..._fp8_map.pt`, or name it \
             with --scales",
        ));
    }
    if tensors.is_empty() {
        return Err(Refused::new("holds no tensors under a name"));
    }
    Ok(Header { tensors, metadata: BTreeMap::new() })
}

fn stored(name: &str, place: &TensorPlace, storage: Option<&Range<usize>>) -> Result<Stored, Refused> {
    let damaged = || Refused::new(format!("has a tensor `{name}` that lies outside its storage; download it again"));
    let storage = storage.ok_or_else(damaged)?;
    let size = element_bytes(&place.dtype).ok_or_else(damaged)?;
    let count = place.shape.iter().try_fold(1_u64, |all, size| all.checked_mul(*size)).ok_or_else(damaged)?;
    let start =
        place.offset.checked_mul(size).and_then(|start| start.checked_add(storage.start as u64)).ok_or_else(damaged)?;
    let end = count.checked_mul(size).and_then(|length| start.checked_add(length)).ok_or_else(damaged)?;
    if end > storage.end as u64 {
        return Err(damaged());
    }
    Ok(Stored { dtype: place.dtype.clone(), shape: place.shape.clone(), bytes: start..end })
}
