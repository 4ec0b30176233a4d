//! Checkpoints of runs: any bytes, and any content with a valid checksum. Everything that can be read can be written again.

#![no_main]

use hunyuan::Checkpoint;
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) {
    let Ok(saved) = Checkpoint::from_bytes(bytes) else { return };
    let again = saved.to_bytes().expect("what was read can be written");
    assert_eq!(Checkpoint::from_bytes(&again).expect("our own bytes").identity, saved.identity);
}

fuzz_target!(|data: &[u8]| {
    read(data);
    // Mutations cannot guess a hash; a valid one reaches the safetensors file behind it.
    read(&[b"HYVCKP02".as_slice(), blake3::hash(data).as_bytes(), data].concat());
});
