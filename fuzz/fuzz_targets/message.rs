//! Messages: every kind of envelope from any bytes. A message that was read has the same meaning after it is written and read again.

#![no_main]

use broker::messages::Message;
use broker::{Envelope, FleetEvent, JobReady, JobSubmitted};
use libfuzzer_sys::fuzz_target;

const MAX_BYTES: usize = 1 << 20;

fn read<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(envelope) = Envelope::<M>::decode(bytes, MAX_BYTES) else { return };
    let again = envelope.encode(MAX_BYTES).expect("what was short enough is");
    assert_eq!(Envelope::<M>::decode(&again, MAX_BYTES).expect("our own bytes"), envelope);
}

fuzz_target!(|data: &[u8]| {
    read::<JobSubmitted>(data);
    read::<JobReady>(data);
    read::<FleetEvent>(data);
});
