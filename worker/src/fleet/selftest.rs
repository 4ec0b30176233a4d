//! What delivery needs, tried before the first job: an ffmpeg that encodes, and an object store that takes and returns objects.
//!
//! Without this a missing encoder or bucket would show only after a whole run, once for each attempt.

use std::time::Duration;

use anyhow::Context;
use telemetry::Part;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Fleet;
use crate::mp4::{Clip, PosterFormat};

/// Pause between two tries.
const PAUSE: Duration = Duration::from_secs(2);
/// Size of the test video, pixels, and its frames.
const SIDE: u32 = 64;
const FRAMES: usize = 2;

/// Tries delivery until it works. The worker is not ready meanwhile, and its probe and the log say why. Returns `false` when a
/// stop comes first.
pub(super) async fn until_deliverable(fleet: &Fleet, part: &Part, stop: &CancellationToken) -> bool {
    let mut said = String::new();
    loop {
        let tried = tokio::select! {
            tried = deliver(fleet) => tried,
            () = stop.cancelled() => return false,
        };
        let Err(error) = tried else {
            info!("delivery works: a video can be encoded and stored");
            return true;
        };
        let reason = format!("{error:#}");
        part.not_ready(&reason);
        if reason != said {
            warn!(reason, "no job is taken: its video could not be delivered; trying again");
            said = reason;
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn deliver(fleet: &Fleet) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("fleet-test-")
        .tempdir_in(&fleet.scratch)
        .with_context(|| format!("worker.scratch_dir: write to {}", fleet.scratch.display()))?;
    let (encoder, place) = (fleet.mp4.clone(), folder.path().to_owned());
    let encoded = tokio::task::spawn_blocking(move || {
        let rgb = vec![128; FRAMES * (SIDE * SIDE * 3) as usize];
        let clip = Clip { rgb: &rgb, width: SIDE, height: SIDE, fps: 8.0 };
        encoder.write_mp4(clip, &place.join("video.mp4"), &|| true)?;
        encoder.write_poster(clip, PosterFormat::Jpeg, &place.join("poster.jpg"), &|| true)?;
        encoder.describe()
    });
    let encoder = encoded
        .await
        .context("the encoder panicked")?
        .context("encode a test video; ffmpeg needs libx264 and mjpeg")?;
    fleet.encoder.get_or_init(|| encoder);
    fleet.artifacts.probe().await.context("write and read a test object in the store that artifacts.url names")
}
