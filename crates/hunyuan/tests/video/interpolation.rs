//! Frame interpolation against PyTorch: the network block by block, the similarity of frames, and whole videos. Also what
//! stops it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hunyuan::interpolation::cuts;
use hunyuan::interpolation::ifnet::{Config, IfNet};
use hunyuan::runtime::weights::{self, Weights};
use hunyuan::{Control, Error, Frames, Interpolator};
use tch::{Device, Kind, Tensor};

use crate::fixture::distance;

/// Largest difference from PyTorch. Flows are in pixels, up to twenty of them.
const AGREEMENT: f64 = 1e-4;

/// Bytes may differ by one where PyTorch's value lies on a rounding boundary.
const BYTE: i16 = 1;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/interpolation")
}

fn recorded(file: &str) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(folder().join(file)).unwrap().into_iter().collect()
}

fn network(folder: &Path) -> IfNet {
    let files = Weights::open(folder).unwrap();
    let config = Config::of(&files);
    weights::load(&files, Device::Cpu, Kind::Float, |loader| IfNet::load(loader, &config)).unwrap()
}

/// The recorded clip: four frames of 48x40 with a cut in the middle.
fn clip(recorded: &BTreeMap<String, Tensor>) -> Frames {
    Frames::new(recorded["clip"].permute([0, 2, 3, 1]).contiguous()).unwrap()
}

fn quiet(_done: usize, _total: usize) {}

#[test]
fn every_flow_the_mask_and_the_frame_are_those_of_pytorch() {
    let (recorded, network) = (recorded("reference.safetensors"), network(&folder().join("small")));
    for (name, times) in [("square", [0.25, 0.5, 0.75].as_slice()), ("wide", &[0.5])] {
        let featured = |which| network.featured(recorded[&format!("{name}.{which}")].shallow_clone()).unwrap();
        let (first, second) = (featured("first"), featured("second"));
        for &time in times {
            let found = network.between(&first, &second, time, &Control::new()).unwrap();
            let wanted = |what: &str| &recorded[&format!("{name}.{time}.{what}")];
            assert!(distance(&found.mask, wanted("mask")) <= AGREEMENT, "{name} {time}");
            assert!(distance(&found.frame, wanted("frame")) <= AGREEMENT, "{name} {time}");
            if name == "square" && time == 0.5 {
                for (index, flow) in found.flows.iter().enumerate() {
                    let difference = distance(flow, wanted(&format!("flow{index}")));
                    assert!(difference <= AGREEMENT, "flow {index}: {difference}");
                }
            }
        }
    }
}

#[test]
#[ignore = "needs the published weights: scripts/fetch-interpolator, then run with --run-ignored all"]
fn the_published_weights_give_what_pytorch_gives() {
    let folder = std::env::var("FLEET_INTERPOLATOR")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/interpolator"), PathBuf::from);
    let (recorded, network) = (recorded("published.safetensors"), network(&folder));
    let featured = |which: &str| network.featured(recorded[which].shallow_clone()).unwrap();
    let (first, second) = (featured("first"), featured("second"));
    for time in [0.25, 0.5, 0.75] {
        let found = network.between(&first, &second, time, &Control::new()).unwrap();
        let differences = [
            distance(&found.flows[4], &recorded[&format!("{time}.flow")]),
            distance(&found.frame, &recorded[&format!("{time}.frame")]),
        ];
        assert!(differences.iter().all(|difference| *difference <= AGREEMENT), "{time}: {differences:?}");
    }
}

#[test]
fn similarity_is_that_of_the_reference_and_finds_the_cut() {
    let recorded = recorded("reference.safetensors");
    let wanted = Vec::<f32>::try_from(&recorded["clip.similarity"]).unwrap();
    let frame = |index| recorded["clip"].narrow(0, index, 1);
    for (index, wanted) in (0..).zip(wanted) {
        let (first, second) = (frame(index), frame(index + 1));
        let found = cuts::similarity(&first, &second).unwrap();
        assert!((found - f64::from(wanted)).abs() <= AGREEMENT, "{index}: {found} instead of {wanted}");
        assert_eq!(cuts::is_cut(&first, &second).unwrap(), index == 1, "{index}");
    }
    assert!((cuts::similarity(&frame(0), &frame(0)).unwrap() - 1.0).abs() < AGREEMENT);
}

#[test]
fn a_video_keeps_its_frames_repeats_at_a_cut_and_computes_the_rest() {
    let recorded = recorded("reference.safetensors");
    let interpolator = Interpolator::load(&folder().join("small"), Device::Cpu).unwrap();
    let frames = clip(&recorded);
    let (bytes, size) = (frames.rgb8().unwrap(), 48 * 40 * 3);
    let mut reports = Vec::new();
    let made =
        interpolator.interpolate(&frames, 4, &Control::new(), &mut |done, total| reports.push((done, total))).unwrap();
    assert_eq!((made.cuts, made.rgb.len()), (1, 13 * size));
    assert_eq!(reports, (1..=9).filter(|done| ![4, 5].contains(done)).map(|done| (done, 9)).collect::<Vec<_>>());
    let frame = |index: usize| &made.rgb[index * size..(index + 1) * size];
    for kept in 0..4 {
        assert_eq!(frame(4 * kept), &bytes[kept * size..(kept + 1) * size], "frame {kept} keeps its bytes");
    }
    for repeated in 5..8 {
        assert_eq!(frame(repeated), frame(4), "the cut is not blended");
    }
    for pair in [0, 2] {
        for (part, time) in [(1, 0.25), (2, 0.5), (3, 0.75)] {
            let wanted = recorded[&format!("clip.{pair}.{time}")].permute([0, 2, 3, 1]).contiguous();
            let wanted = Frames::new(wanted.clamp(0.0, 1.0)).unwrap().rgb8().unwrap();
            let differs = frame(4 * pair + part)
                .iter()
                .zip(wanted)
                .any(|(found, wanted)| (i16::from(*found) - i16::from(wanted)).abs() > BYTE);
            assert!(!differs, "pair {pair}, part {part}");
        }
    }
    // Whatever was made before does not matter, so a repeated run gives the same bytes.
    let again = interpolator.interpolate(&frames, 4, &Control::new(), &mut quiet).unwrap();
    assert!(again.rgb == made.rgb);
    let half = interpolator.interpolate(&frames, 2, &Control::new(), &mut quiet).unwrap();
    assert_eq!(half.rgb[size..2 * size], made.rgb[2 * size..3 * size], "a half is two quarters");
}

#[test]
fn equal_frames_stay_equal_and_a_single_frame_stays_alone() {
    let recorded = recorded("reference.safetensors");
    let interpolator = Interpolator::load(&folder().join("small"), Device::Cpu).unwrap();
    let frame = recorded["clip"].narrow(0, 0, 1).permute([0, 2, 3, 1]).contiguous();
    let still = Frames::new(frame.repeat([3, 1, 1, 1])).unwrap();
    let made = interpolator.interpolate(&still, 2, &Control::new(), &mut quiet).unwrap();
    let one = Frames::new(frame).unwrap();
    assert_eq!((made.cuts, made.rgb), (0, one.rgb8().unwrap().repeat(5)));
    let alone = interpolator.interpolate(&one, 8, &Control::new(), &mut quiet).unwrap();
    assert_eq!(alone.rgb, one.rgb8().unwrap());
    let error = interpolator.interpolate(&one, 1, &Control::new(), &mut quiet).unwrap_err();
    assert!(matches!(error, Error::Input { field: "interpolate", .. }), "{error}");
}

#[test]
fn a_cancel_takes_effect_between_blocks_and_every_block_is_a_beat() {
    let recorded = recorded("reference.safetensors");
    let interpolator = Interpolator::load(&folder().join("small"), Device::Cpu).unwrap();
    let frames = clip(&recorded);
    let whole = Control::new();
    interpolator.interpolate(&frames, 2, &whole, &mut quiet).unwrap();
    assert_eq!(whole.beats(), 5 + 1 + 5, "two computed frames and a repeated one");
    for budget in 1..whole.beats() {
        let control = Control::with_budget(budget);
        let error = interpolator.interpolate(&frames, 2, &control, &mut quiet).unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert_eq!(control.beats(), budget);
    }
}

#[test]
fn values_that_are_not_finite_and_other_networks_are_refused() {
    let recorded = recorded("reference.safetensors");
    let interpolator = Interpolator::load(&folder().join("small"), Device::Cpu).unwrap();
    let rgb = recorded["clip"].narrow(0, 0, 2).permute([0, 2, 3, 1]).contiguous();
    let _ = rgb.narrow(0, 1, 1).fill_(f64::NAN);
    let error = interpolator.interpolate(&Frames::new(rgb).unwrap(), 2, &Control::new(), &mut quiet).unwrap_err();
    assert!(matches!(error, Error::NotFinite { stage: "interpolation", .. }), "{error}");

    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/base/model/vae");
    let error = Interpolator::load(&other, Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("block0.conv0.0.0.weight"), "{error}");
    assert!(Interpolator::load(Path::new("/nowhere"), Device::Cpu).is_err());
    assert!(Frames::new(Tensor::zeros([1, 4, 4, 4], (Kind::Float, Device::Cpu))).is_err());
}
