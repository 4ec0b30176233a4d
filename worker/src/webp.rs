//! Small moving pictures as animated WebP, which browsers play in an `<img>`.

use anyhow::{Context, anyhow};
use hunyuan::PreviewFrames;
use webp::{AnimEncoder, AnimFrame, WebPConfig};

/// Pictures of fewer bytes than this are stored without loss: their blocks are so few that loss shows and saves little.
const LOSSLESS_BYTES: usize = 64 << 10;
/// Quality of larger ones, 0 to 100: about 2 kB a frame at the latent size of 720p.
const QUALITY: f32 = 70.0;

/// The frames as a file that plays for `seconds`, in a loop.
///
/// # Errors
/// Frames that libwebp cannot encode.
pub(crate) fn animated(frames: &PreviewFrames, seconds: f64) -> anyhow::Result<Vec<u8>> {
    let mut config = WebPConfig::new().map_err(|()| anyhow!("libwebp is of another version"))?;
    config.quality = QUALITY;
    config.lossless = i32::from(frames.rgb.len() < LOSSLESS_BYTES);
    let size = frames.width as usize * frames.height as usize * 3;
    anyhow::ensure!(size > 0 && frames.rgb.len() >= size, "a preview without pictures");
    let each_ms = (seconds * 1000.0 / f64::from(frames.frames.max(1))).clamp(20.0, 1000.0);
    let mut encoder = AnimEncoder::new(frames.width, frames.height, &config);
    for (index, picture) in (0_u32..).zip(frames.rgb.chunks_exact(size)) {
        #[expect(clippy::cast_possible_truncation, reason = "a few hundred seconds")]
        let at_ms = (f64::from(index) * each_ms) as i32;
        encoder.add_frame(AnimFrame::from_rgb(picture, frames.width, frames.height, at_ms));
    }
    let file = encoder.try_encode().map_err(|error| anyhow!("{error:?}")).context("encode a preview as WebP")?;
    Ok(file.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn film(width: u32, height: u32, frames: u32) -> PreviewFrames {
        let value = |at: u32| u8::try_from((at / 3 + at / 97) % 256).unwrap();
        PreviewFrames { rgb: (0..width * height * frames * 3).map(value).collect(), width, height, frames }
    }

    #[test]
    fn a_small_film_keeps_every_pixel_and_its_frames() {
        let film = film(16, 16, 5);
        let file = animated(&film, 5.0).unwrap();
        assert_eq!((&file[..4], &file[8..12]), (b"RIFF".as_slice(), b"WEBP".as_slice()));
        let read = webp::AnimDecoder::new(&file).decode().unwrap();
        assert_eq!(read.len(), 5);
        for (index, frame) in (0..).zip(&read) {
            let rgb: Vec<u8> = frame.get_image().chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
            assert_eq!(rgb, film.rgb[index * 768..(index + 1) * 768], "frame {index}");
        }
    }

    #[test]
    fn a_film_of_the_released_size_is_small_enough_for_a_message() {
        let file = animated(&film(160, 90, 33), 5.4).unwrap();
        assert!(file.len() < 400_000, "{} bytes", file.len());
    }

    #[test]
    fn nothing_is_refused() {
        assert!(animated(&PreviewFrames { rgb: Vec::new(), width: 0, height: 0, frames: 0 }, 1.0).is_err());
    }
}
