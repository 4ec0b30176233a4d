//! Frames to a finished video: MP4 and poster written, then uploaded under the lease's own prefix.
//!
//! Nothing here touches the row. Objects of a lease that was lost in the meantime stay where they are until the orphan
//! sweep: only the row knows whether something still points to them.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use artifacts::{ArtifactError, keys};
use domain::{FailureAction, Rendered};
use sha2::{Digest as _, Sha256};

use super::Fleet;
use super::assignment::{Assignment, Ended};
use super::heart::HeldLease;
use crate::engine::RenderedFrames;
use crate::mp4::{Clip, Encoder, Mp4Error, PosterFormat};

/// How long an interrupted upload may take to finish its part, so that it can abort itself in the store. A longer time delays
/// a hand-back, which has `worker.drain_s` in all; a shorter one leaves parts behind that only the bucket's own rules remove.
const PART_PATIENCE: Duration = Duration::from_secs(2);

/// Writes and uploads a job's video; stops within a frame or an upload part when the lease is interrupted.
///
/// # Errors
/// [`Ended`]: interrupted, or failed with the reason for the user.
pub(super) async fn deliver(
    fleet: &Fleet,
    job: &Assignment,
    frames: RenderedFrames,
    lease: &HeldLease,
) -> Result<Delivered, Ended> {
    if lease.interrupted().is_some() {
        return Err(Ended::Interrupted { checkpoint: None });
    }
    let folder =
        tempfile::Builder::new().prefix("fleet-video-").tempdir_in(&fleet.scratch).map_err(|error| disk(&error))?;
    let fps = job.job.shape.interpolated(frames.interpolation.as_ref().map_or(1, |done| done.factor)).fps;
    let files = write_files(fleet.mp4.clone(), folder.path().to_owned(), fps, frames, lease).await?;
    let video_key = keys::video(job.lease.job_id, job.lease.token);
    let poster_key = keys::poster(job.lease.job_id, job.lease.token);
    let uploading = job.trace.inside("upload");
    let video_bytes = upload(fleet, &video_key, &files.video, lease).await?;
    upload(fleet, &poster_key, &files.poster, lease).await?;
    drop(uploading);
    let rendered = Rendered { video_key, poster_key, video_bytes: i64::try_from(video_bytes).unwrap_or(i64::MAX) };
    Ok(Delivered { rendered, frames: files.frames, video_sha256: files.video_sha256 })
}

/// A stored video and its hashes.
pub(super) struct Delivered {
    pub(super) rendered: Rendered,
    /// blake3 of the frames.
    pub(super) frames: String,
    /// SHA-256 of the MP4.
    pub(super) video_sha256: String,
}

struct Files {
    video: PathBuf,
    poster: PathBuf,
    frames: String,
    video_sha256: String,
}

/// ffmpeg blocks, so it runs beside the async threads; a flag carries the interrupt across.
async fn write_files(
    encoder: Encoder,
    folder: PathBuf,
    fps: f64,
    frames: RenderedFrames,
    lease: &HeldLease,
) -> Result<Files, Ended> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut writing = tokio::task::spawn_blocking(move || {
        let clip = Clip { rgb: &frames.rgb, width: frames.width, height: frames.height, fps };
        let (video, poster) = (folder.join("video.mp4"), folder.join("poster.jpg"));
        let go_on = || !stopped.load(Ordering::Relaxed);
        encoder.write_mp4(clip, &video, &go_on)?;
        encoder.write_poster(clip, PosterFormat::Jpeg, &poster, &go_on)?;
        let read = |source| Mp4Error::Write { path: video.clone(), source };
        let video_sha256 = sha256(&video).map_err(read)?;
        Ok::<_, Mp4Error>(Files { frames: blake3::hash(&frames.rgb).to_hex().to_string(), video, poster, video_sha256 })
    });
    let written = tokio::select! {
        written = &mut writing => written,
        _ = lease.until_interrupted() => {
            stop.store(true, Ordering::Relaxed);
            writing.await
        }
    };
    match written {
        Ok(Ok(files)) => Ok(files),
        Ok(Err(Mp4Error::Stopped)) => Err(Ended::Interrupted { checkpoint: None }),
        Ok(Err(error)) => Err(Ended::failed("video_encoding_failed", error.to_string(), FailureAction::Retry)),
        Err(panic) => Err(Ended::failed("worker_broken", panic.to_string(), FailureAction::Retry)),
    }
}

/// SHA-256 of a file, hex.
fn sha256(file: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = std::fs::File::open(file)?;
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part)? {
            0 => break,
            read => hash.update(&part[..read]),
        }
    }
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Uploads a file. An interrupted upload stops between two parts; one whose part takes long is dropped.
async fn upload(fleet: &Fleet, key: &str, file: &Path, lease: &HeldLease) -> Result<u64, Ended> {
    let go_on = || lease.interrupted().is_none();
    let uploading = fleet.artifacts.put_file(key, file, &go_on);
    tokio::pin!(uploading);
    let uploaded = tokio::select! {
        uploaded = &mut uploading => uploaded,
        _ = lease.until_interrupted() => match tokio::time::timeout(PART_PATIENCE, uploading).await {
            Ok(uploaded) => uploaded,
            Err(_) => return Err(Ended::Interrupted { checkpoint: None }),
        }
    };
    uploaded.map_err(|error| stored(&error))
}

fn stored(error: &ArtifactError) -> Ended {
    if error.is_stopped() {
        return Ended::Interrupted { checkpoint: None };
    }
    Ended::failed("storage_failed", format!("the video could not be stored: {error}"), FailureAction::Retry)
}

fn disk(error: &std::io::Error) -> Ended {
    Ended::failed("worker_disk", format!("the worker has no room for the video's files: {error}"), FailureAction::Retry)
}
