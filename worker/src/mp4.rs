//! Frames to an MP4 that browsers play, and to a poster: an `ffmpeg` child that reads raw pixels from its input.
//!
//! The file is H.264 with 4:2:0 chroma and its index in front (`faststart`), so that a player starts before it has all of
//! it. Nothing in it depends on the clock, so the same frames give the same bytes. It appears under its name only when it
//! is whole. ffmpeg ends within a moment when the caller's `go_on` returns `false`, and when it hangs ([`crate::child`]).

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::child::{self, Ended, Limits};

/// Frames to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clip<'a> {
    /// `[frames, height, width, 3]`, 8 bits a channel.
    pub(crate) rgb: &'a [u8],
    /// Pixels; even.
    pub(crate) width: u32,
    /// Pixels; even.
    pub(crate) height: u32,
    /// Frames a second.
    pub(crate) fps: f64,
}

/// How to encode.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    /// The program, by name or path.
    pub(crate) ffmpeg: PathBuf,
    /// x264's quality: smaller is better and larger. 0 to 51.
    pub(crate) crf: u8,
    /// Longest time without progress; ffmpeg is then killed.
    pub(crate) stall: Duration,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mp4Error {
    /// The program does not exist or cannot be run.
    #[error(
        "cannot start {program}: {source}; install ffmpeg, or say where it is (setting worker.ffmpeg, or --ffmpeg)"
    )]
    Start {
        /// As it was named.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It exited without writing a file.
    #[error("ffmpeg failed: {0}")]
    Failed(String),
    /// It hung.
    #[error("ffmpeg made no progress for {} seconds and was stopped", .0.as_secs())]
    Hung(Duration),
    /// The pixels do not make whole frames of this size.
    #[error("{bytes} bytes do not divide into whole {width}x{height} frames")]
    Shape {
        /// Length of the pixels.
        bytes: usize,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The finished file could not be renamed.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// `go_on` returned false.
    #[error("stopped")]
    Stopped,
}

/// Which picture format a poster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PosterFormat {
    /// JPEG, which every browser shows.
    Jpeg,
    /// WebP, about a third smaller.
    Webp,
}

impl Clip<'_> {
    fn frame_bytes(&self) -> usize {
        self.width as usize * self.height as usize * 3
    }

    /// The pixels, frame by frame.
    fn frames(&self) -> Result<std::slice::ChunksExact<'_, u8>, Mp4Error> {
        let (bytes, frame) = (self.rgb.len(), self.frame_bytes());
        if frame == 0 || bytes == 0 || !bytes.is_multiple_of(frame) {
            return Err(Mp4Error::Shape { bytes, width: self.width, height: self.height });
        }
        Ok(self.rgb.chunks_exact(frame))
    }
}

impl Encoder {
    /// Writes `clip` as an MP4 to `out`.
    ///
    /// # Errors
    /// [`Mp4Error`]; then there is no file under that name that was not there before.
    pub(crate) fn write_mp4(
        &self,
        clip: Clip<'_>,
        out: &Path,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), Mp4Error> {
        // The pixels are sRGB; players take untagged video of this kind for BT.709, so it is made and tagged as that.
        let mut arguments =
            words("-vf scale=out_color_matrix=bt709:out_range=tv -c:v libx264 -preset medium -pix_fmt yuv420p");
        arguments.extend(words("-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv"));
        arguments.extend(["-crf".into(), self.crf.to_string().into()]);
        arguments.extend(words("-movflags +faststart -fflags +bitexact -flags:v +bitexact -f mp4"));
        self.run(clip, clip.frames()?, &arguments, out, go_on)
    }

    /// What the bytes of an MP4 depend on besides the frames: the version of ffmpeg, the quality, and the number of cores, by which
    /// x264 chooses its threads.
    ///
    /// # Errors
    /// [`Mp4Error::Start`] and [`Mp4Error::Failed`].
    pub(crate) fn describe(&self) -> Result<String, Mp4Error> {
        let start = |source| Mp4Error::Start { program: self.ffmpeg.display().to_string(), source };
        let said = Command::new(&self.ffmpeg).arg("-version").output().map_err(start)?;
        if !said.status.success() {
            return Err(Mp4Error::Failed(said.status.to_string()));
        }
        let text = String::from_utf8_lossy(&said.stdout);
        let version = text.lines().next().unwrap_or_default().split(" Copyright").next().unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(format!("{version}, crf {}, {cores} cores", self.crf))
    }

    /// Writes one frame of `clip` as a picture to `out`: the middle one, which shows more than the first.
    ///
    /// # Errors
    /// [`Mp4Error`].
    pub(crate) fn write_poster(
        &self,
        clip: Clip<'_>,
        format: PosterFormat,
        out: &Path,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), Mp4Error> {
        let count = clip.frames()?.len();
        let frame = clip.frame_bytes();
        let one = Clip { rgb: &clip.rgb[count / 2 * frame..][..frame], ..clip };
        let arguments = match format {
            PosterFormat::Jpeg => words("-frames:v 1 -c:v mjpeg -pix_fmt yuvj420p -q:v 3 -fflags +bitexact -f image2"),
            PosterFormat::Webp => words("-frames:v 1 -c:v libwebp -quality 85 -fflags +bitexact -f webp"),
        };
        self.run(one, one.frames()?, &arguments, out, go_on)
    }

    /// Feeds the frames to an ffmpeg with these output arguments, into a file beside `out` that is renamed at the end.
    fn run<'f>(
        &self,
        clip: Clip<'_>,
        frames: impl Iterator<Item = &'f [u8]>,
        arguments: &[OsString],
        out: &Path,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), Mp4Error> {
        let partial = Partial::beside(out);
        let mut command = Command::new(&self.ffmpeg);
        command.args(words("-hide_banner -loglevel error -nostdin -y -f rawvideo -pix_fmt rgb24"));
        command.args(["-s".to_owned(), format!("{}x{}", clip.width, clip.height)]);
        command.args(["-r".to_owned(), format!("{}", clip.fps)]);
        command.args(words("-i pipe:0 -an -map_metadata -1")).args(arguments).arg(&partial.path);
        let start = |source| Mp4Error::Start { program: self.ffmpeg.display().to_string(), source };
        match child::run(command, frames, &Limits { stall: self.stall, go_on }).map_err(start)? {
            Ended::Exited(status, _) if status.success() => {}
            Ended::Exited(status, said) if said.is_empty() => return Err(Mp4Error::Failed(status.to_string())),
            Ended::Exited(_, said) => return Err(Mp4Error::Failed(said)),
            Ended::Unwanted => return Err(Mp4Error::Stopped),
            Ended::Hung => return Err(Mp4Error::Hung(self.stall)),
        }
        std::fs::rename(&partial.path, out).map_err(|source| Mp4Error::Write { path: out.to_owned(), source })
    }
}

/// An unfinished file, removed unless it was renamed.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn beside(out: &Path) -> Self {
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        Self { path: out.with_file_name(format!(".{name}.{}.partial", std::process::id())) }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Usually gone already.
        drop(std::fs::remove_file(&self.path));
    }
}

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI32, Ordering};

    use super::*;

    const WIDTH: u32 = 64;
    const HEIGHT: u32 = 48;

    /// A square that moves over a grey background.
    fn pixels(frames: u32) -> Vec<u8> {
        let mut rgb = Vec::new();
        for frame in 0..frames {
            for y in 0..HEIGHT {
                for x in 0..WIDTH {
                    let inside = x.abs_diff(frame * 4 + 8) < 6 && y.abs_diff(24) < 6;
                    rgb.extend(if inside { [230, 30, 20] } else { [90, 90, 90] });
                }
            }
        }
        rgb
    }

    fn encoder() -> Encoder {
        Encoder { ffmpeg: "ffmpeg".into(), crf: 18, stall: Duration::from_secs(60) }
    }

    fn clip(rgb: &[u8]) -> Clip<'_> {
        Clip { rgb, width: WIDTH, height: HEIGHT, fps: 24.0 }
    }

    fn probe(file: &Path) -> serde_json::Value {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json"])
            .arg(file)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Names of the top-level boxes of an MP4, in order.
    fn boxes(file: &Path) -> Vec<String> {
        let bytes = std::fs::read(file).unwrap();
        let (mut names, mut at) = (Vec::new(), 0);
        while at + 8 <= bytes.len() {
            let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            names.push(String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned());
            at += length.max(8);
        }
        names
    }

    #[test]
    fn an_mp4_is_what_browsers_play() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.mp4");
        let rgb = pixels(9);
        encoder().write_mp4(clip(&rgb), &out, &|| true).unwrap();
        let facts = probe(&out);
        let stream = &facts["streams"][0];
        assert_eq!(stream["codec_name"], "h264");
        assert_eq!(stream["pix_fmt"], "yuv420p");
        assert_eq!((stream["width"].as_u64(), stream["height"].as_u64()), (Some(64), Some(48)));
        assert_eq!(stream["nb_read_frames"], "9");
        assert_eq!(stream["r_frame_rate"], "24/1");
        let order = boxes(&out);
        let place = |name| order.iter().position(|found| found == name).unwrap();
        assert!(place("moov") < place("mdat"), "the index comes first: {order:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn the_same_frames_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let rgb = pixels(5);
        let files = ["a.mp4", "b.mp4"].map(|name| folder.path().join(name));
        for file in &files {
            encoder().write_mp4(clip(&rgb), file, &|| true).unwrap();
        }
        let [a, b] = files.map(|file| std::fs::read(file).unwrap());
        assert_eq!(a, b);
    }

    #[test]
    fn decoded_colours_are_those_that_went_in() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.mp4");
        let rgb = pixels(5);
        encoder().write_mp4(clip(&rgb), &out, &|| true).unwrap();
        let decoded = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&out)
            .args(["-vf", "scale=in_color_matrix=bt709", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
            .output()
            .unwrap()
            .stdout;
        assert_eq!(decoded.len(), rgb.len());
        let corner = &decoded[..3];
        let centre = &decoded[(24 * WIDTH as usize + 8) * 3..][..3];
        for (found, wanted) in corner.iter().zip([90u8, 90, 90]).chain(centre.iter().zip([230, 30, 20])) {
            assert!(found.abs_diff(wanted) < 12, "{corner:?} {centre:?}");
        }
    }

    #[test]
    fn posters_are_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let rgb = pixels(5);
        for (format, name, codec) in [(PosterFormat::Jpeg, "p.jpg", "mjpeg"), (PosterFormat::Webp, "p.webp", "webp")] {
            let out = folder.path().join(name);
            encoder().write_poster(clip(&rgb), format, &out, &|| true).unwrap();
            let facts = probe(&out);
            assert_eq!(facts["streams"][0]["codec_name"], codec);
            assert_eq!(facts["streams"][0]["width"], 64);
        }
    }

    #[test]
    fn a_stop_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let rgb = pixels(9);
        let left = AtomicI32::new(3);
        let go_on = || left.fetch_sub(1, Ordering::Relaxed) > 0;
        let stopped = encoder().write_mp4(clip(&rgb), &folder.path().join("a.mp4"), &go_on);
        assert!(matches!(stopped, Err(Mp4Error::Stopped)), "{stopped:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn errors_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a.mp4");
        let rgb = pixels(1);
        let absent = Encoder { ffmpeg: "no-such-ffmpeg".into(), ..encoder() };
        let error = absent.write_mp4(clip(&rgb), &out, &|| true).unwrap_err().to_string();
        assert!(error.contains("no-such-ffmpeg") && error.contains("install ffmpeg"), "{error}");
        let error = encoder().write_mp4(clip(&rgb[1..]), &out, &|| true).unwrap_err();
        assert!(matches!(error, Mp4Error::Shape { .. }), "{error}");
        let nowhere = folder.path().join("no/such/folder/a.mp4");
        let error = encoder().write_mp4(clip(&rgb), &nowhere, &|| true).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
