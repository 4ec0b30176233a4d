//! Stored embeddings: any bytes, and any content with a valid checksum. Everything that can be read fills its shapes and is written
//! back byte for byte.

#![no_main]

use cache::StoredEmbeddings;
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) {
    let Ok(stored) = StoredEmbeddings::from_bytes(bytes, "f") else { return };
    for tensor in stored.tensors.values() {
        assert_eq!(tensor.bytes.len(), tensor.shape.iter().product::<usize>() * tensor.element.size_bytes());
    }
    assert_eq!(stored.to_bytes(), bytes);
}

fuzz_target!(|data: &[u8]| {
    read(data);
    // Mutations cannot guess a hash; a valid one reaches the fields behind it.
    read(&[data, &blake3::hash(data).as_bytes()[..16]].concat());
});
