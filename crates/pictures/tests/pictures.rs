//! Goal: what people send becomes one form, and what would harm is refused with the reason.
//! Method: files that Pillow wrote (`fixtures/make.py`), compared by the colours of their corners.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use pictures::{Limits, Refused, decode, normalise, sha256};

const LIMITS: Limits = Limits { pixels_max: 1_000_000, memory_max_bytes: 16 << 20 };
const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const WHITE: [u8; 3] = [255, 255, 255];

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn near(found: [u8; 3], wanted: [u8; 3]) -> bool {
    found.iter().zip(wanted).all(|(found, wanted)| found.abs_diff(wanted) <= 6)
}

/// Size and the colours of the four quarters: upper left, upper right, lower left, lower right.
fn quarters(bytes: &[u8]) -> ((u32, u32), [[u8; 3]; 4]) {
    let pixels = decode(bytes, &LIMITS).unwrap();
    let (width, height) = (pixels.width as usize, pixels.height as usize);
    let at = |x: usize, y: usize| {
        let start = (y * width + x) * 3;
        [pixels.rgb[start], pixels.rgb[start + 1], pixels.rgb[start + 2]]
    };
    let (left, right, top, bottom) = (width / 4, width * 3 / 4, height / 4, height * 3 / 4);
    ((pixels.width, pixels.height), [at(left, top), at(right, top), at(left, bottom), at(right, bottom)])
}

#[test]
fn every_kind_becomes_an_opaque_png_with_the_same_colours() {
    for name in ["plain.jpg", "progressive.jpg", "lossless.webp", "lossy.webp", "palette.png", "plain.png"] {
        let picture = normalise(&file(name), &LIMITS).unwrap();
        assert_eq!((picture.width, picture.height), (48, 32), "{name}");
        assert!(picture.png.starts_with(b"\x89PNG") && picture.thumbnail.starts_with(&[0xFF, 0xD8]), "{name}");
        let (size, colours) = quarters(&picture.png);
        assert_eq!(size, (48, 32));
        for (found, wanted) in colours.into_iter().zip([RED, GREEN, BLUE, WHITE]) {
            assert!(near(found, wanted), "{name}: {found:?} instead of {wanted:?}");
        }
        assert_eq!(picture.sha256, sha256(&picture.png));
        assert_eq!(normalise(&file(name), &LIMITS).unwrap(), picture, "equal bytes give equal results");
    }
    let grey = normalise(&file("grey.jpg"), &LIMITS).unwrap();
    let (_, colours) = quarters(&grey.png);
    assert!(colours.iter().all(|[red, green, blue]| red == green && green == blue));
    let deep = normalise(&file("deep.png"), &LIMITS).unwrap();
    assert_eq!(quarters(&deep.png).1[0], [128; 3]);
}

#[test]
fn a_turned_photo_stands_upright_and_keeps_no_metadata() {
    let sent = file("turned.jpg");
    assert!(sent.windows(7).any(|part| part == b"A phone"));
    let picture = normalise(&sent, &LIMITS).unwrap();
    let (size, colours) = quarters(&picture.png);
    assert_eq!(size, (32, 48));
    for (found, wanted) in colours.into_iter().zip([BLUE, RED, WHITE, GREEN]) {
        assert!(near(found, wanted), "{found:?} instead of {wanted:?}");
    }
    let chunks: Vec<&[u8]> = [b"eXIf", b"iTXt", b"tEXt", b"iCCP"].iter().map(|name| name.as_slice()).collect();
    assert!(!picture.png.windows(4).any(|part| chunks.contains(&part)));
    assert!(!picture.thumbnail.windows(4).any(|part| part == b"Exif"));
}

#[test]
fn transparent_parts_lie_on_white() {
    let picture = normalise(&file("alpha.png"), &LIMITS).unwrap();
    let (_, [left, right, ..]) = quarters(&picture.png);
    assert_eq!((left, right), (RED, [255, 127, 127]));
}

#[test]
fn a_large_picture_gets_a_small_thumbnail() {
    let pixels = image::RgbImage::from_pixel(1600, 400, image::Rgb([10, 20, 30]));
    let mut sent = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut sent, image::ImageFormat::Png).unwrap();
    let picture = normalise(sent.get_ref(), &LIMITS).unwrap();
    let (size, _) = quarters(&picture.thumbnail);
    assert_eq!(size, (pictures::THUMBNAIL_SIDE, pictures::THUMBNAIL_SIDE / 4));
    assert!(picture.thumbnail.len() < 4096);
}

#[test]
fn what_cannot_be_used_is_refused_with_the_reason() {
    let whole = file("plain.png");
    let jpeg = file("turned.jpg");
    let webp = file("lossless.webp");
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "is empty"),
        (b"hello".to_vec(), "this is something else"),
        (file("animated.gif"), "this is a GIF"),
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1".to_vec(), "this is a HEIC picture"),
        (file("animated.png"), "is animated"),
        (file("animated.webp"), "is animated"),
        (whole[..whole.len() / 2].to_vec(), "ends before"),
        (jpeg[..jpeg.len() - 40].to_vec(), "ends before"),
        (webp[..webp.len() - 10].to_vec(), ""),
        (whole[..20].to_vec(), ""),
        (jpeg[..20].to_vec(), "ends before"),
    ];
    for (bytes, text) in cases {
        let refused = normalise(&bytes, &LIMITS).unwrap_err();
        assert!(matches!(refused, Refused::Unusable(_)) && refused.to_string().contains(text), "{text}: {refused}");
    }
    let mut damaged = whole;
    let middle = damaged.len() - 30;
    damaged[middle] ^= 0xFF;
    assert!(matches!(normalise(&damaged, &LIMITS), Err(Refused::Unusable(_))));
}

#[test]
fn a_bomb_is_refused_by_its_header_before_anything_is_decoded() {
    let bomb = file("bomb.png");
    let refused = normalise(&bomb, &LIMITS).unwrap_err();
    assert!(matches!(&refused, Refused::TooLarge(reason) if reason.contains("50000x50000")), "{refused}");
    // With a limit of pixels that lets it pass, the limit of memory does not.
    let lax = Limits { pixels_max: u64::MAX, ..LIMITS };
    assert!(matches!(normalise(&bomb, &lax), Err(Refused::TooLarge(_))));
    let exact = Limits { pixels_max: 48 * 32, ..LIMITS };
    assert!(normalise(&file("plain.png"), &exact).is_ok());
    assert!(matches!(
        normalise(&file("plain.png"), &Limits { pixels_max: 48 * 32 - 1, ..LIMITS }),
        Err(Refused::TooLarge(_))
    ));
}
