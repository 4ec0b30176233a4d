//! Several devices make the video of one. The processes of a team are threads here; `worker/tests/it/ranks.rs` has real ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture has nothing to say")]

use std::path::Path;
use std::sync::{Barrier, mpsc};
use std::time::Duration;

use hunyuan::{
    AdapterUse, Checkpoint, Control, DenoiseRequest, Denoised, EasyCacheConfig, Engine, EngineOptions, Error, Leader,
    StepCacheConfig, Team,
};
use tch::Tensor;

use crate::fixture::{Fixture, decode, denoise, distance, go_on, recorded, small};
use crate::fixture_v1_5;

/// Above every wait of these tests but those that end by it.
const LONG: Duration = Duration::from_secs(120);
/// What several devices may differ from one.
const AGREEMENT: f64 = 1e-5;

/// Runs `lead` with an engine that leads a team of `size`; returns its result and the bytes that each process sent.
fn with_team<T>(
    size: usize,
    limit: Duration,
    options: &EngineOptions,
    lead: impl FnOnce(&mut Engine) -> T,
) -> (T, Vec<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meet");
    std::thread::scope(|scope| {
        let (mut lines, mut threads) = (Vec::new(), Vec::new());
        for rank in 1..size {
            let (sender, orders) = mpsc::channel::<String>();
            lines.push(sender);
            let file = &file;
            threads.push(scope.spawn(move || follow(file, rank, size, limit, options, &orders)));
        }
        let team = Team::join(&file, 0, size, limit).unwrap();
        let mut engine = Engine::load(options).unwrap();
        let send = move |line: &str| {
            lines.iter().try_for_each(|sender| sender.send(line.to_owned())).map_err(std::io::Error::other)
        };
        engine.lead(Some(Leader::new(team, Box::new(send)).unwrap())).unwrap();
        let done = lead(&mut engine);
        let mut sent = vec![engine.leader().unwrap().team().sent_bytes()];
        // The others end when no order can come any more.
        drop(engine);
        sent.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
        (done, sent)
    })
}

/// Another process of the team: follows orders until they end or one fails; returns the bytes that it sent.
fn follow(
    file: &Path,
    rank: usize,
    size: usize,
    limit: Duration,
    options: &EngineOptions,
    orders: &mpsc::Receiver<String>,
) -> u64 {
    let team = Team::join(file, rank, size, limit).unwrap();
    let mut engine = Engine::load(options).unwrap();
    while let Ok(line) = orders.recv() {
        if engine.follow(&line, &team).is_err() {
            break;
        }
    }
    team.sent_bytes()
}

/// 45 tokens, which neither 2 nor 4 divide.
fn uneven(fixture: &Fixture, steps: usize) -> DenoiseRequest {
    let mut request = small(fixture, steps, 3);
    (request.width, request.height, request.frames) = (48, 80, 9);
    request
}

fn cached(fixture: &Fixture) -> DenoiseRequest {
    let step_cache = StepCacheConfig::EasyCache(EasyCacheConfig { threshold: 0.2, warmup_steps: 2 });
    DenoiseRequest { step_cache, ..uneven(fixture, 8) }
}

fn agrees(devices: usize, alone: &Denoised, together: &Denoised) {
    let far = distance(&alone.latents.tensor, &together.latents.tensor);
    assert!(far <= AGREEMENT, "{devices} devices: {far}");
    let steps = |done: &Denoised| (done.counts.computed, done.counts.skipped);
    assert_eq!(steps(together), steps(alone), "{devices} devices");
}

/// Models of two, three and four heads; even and uneven numbers of tokens; a step cache, and two passes a step with different
/// texts.
#[test]
fn two_three_and_four_devices_give_the_video_of_one() {
    for (name, sizes) in [("base", vec![2]), ("wide", vec![3]), ("deep", vec![2, 4])] {
        let fixture = Fixture::open(name);
        let mut guided = uneven(&fixture, 2);
        guided.negative = Some((crate::fixture::narrowed(&guided.embeddings, 1, 0, 5), 3.0));
        let requests = [small(&fixture, 3, 3), uneven(&fixture, 3), cached(&fixture), guided];
        let engine = fixture.engine();
        let alone: Vec<Denoised> = requests.iter().map(|request| denoise(&engine, request)).collect();
        for size in sizes {
            with_team(size, LONG, &fixture.options(), |engine| {
                assert_eq!(engine.info().devices, size);
                for (request, alone) in requests.iter().zip(&alone) {
                    agrees(size, alone, &denoise(engine, request));
                }
            });
        }
    }
}

#[test]
fn videos_that_are_made_together_are_shared_too() {
    let fixture = Fixture::open("base");
    let requests = [1, 2, 3].map(|seed| DenoiseRequest { seed, ..uneven(&fixture, 2) });
    let alone = fixture.engine().denoise_batch(&requests, &Control::new(), &mut go_on).unwrap();
    with_team(2, LONG, &fixture.options(), |engine| {
        let together = engine.denoise_batch(&requests, &Control::new(), &mut go_on).unwrap();
        for (alone, together) in alone.iter().zip(&together) {
            agrees(2, alone, together);
        }
    });
}

#[test]
fn the_networks_of_1_5_are_shared_too() {
    for (name, size) in [("base", 2), ("wide", 3)] {
        let fixture = fixture_v1_5::Fixture::open("v1_5", name);
        let request = fixture.request();
        let alone = denoise(&fixture.engine(), &request);
        with_team(size, LONG, &fixture.options(), |engine| agrees(size, &alone, &denoise(engine, &request)));
    }
}

/// Per block, of `n` video and `m` text tokens of width `h`: a process with `r` of the rows sends all but its own heads of their
/// queries, keys and values, then all but its own rows of its heads' results, and its heads' results of the text to each other
/// process. The output's rows go to process 0 once a pass.
#[test]
fn the_bytes_sent_are_those_of_the_theory() {
    let fixture = Fixture::open("deep");
    let config = fixture.config().transformer;
    let blocks = config.num_layers + config.num_single_layers;
    let (passes, n, bytes) = (3, 45, 4);
    let request = uneven(&fixture, passes);
    let m = fixture.tensor("prompt_embeds").size()[1];
    let h = config.hidden_size();
    let patch = config.patch_size_t * config.patch_size * config.patch_size;
    let out = patch * fixture.engine().info().geometry.channels;
    for size in [2_i64, 4] {
        let devices = usize::try_from(size).unwrap();
        let ((), sent) = with_team(devices, LONG, &fixture.options(), |engine| drop(denoise(engine, &request)));
        for (rank, sent) in sent.into_iter().enumerate() {
            let rank = i64::try_from(rank).unwrap();
            let r = n / size + i64::from(rank < n % size);
            let block = 3 * r * (h - h / size) + (n - r) * h / size + (size - 1) * m * h / size;
            let output = if rank == 0 { 0 } else { r * out };
            let theory = i64::try_from(passes).unwrap() * (blocks * block + output) * bytes;
            assert_eq!(i64::try_from(sent).unwrap(), theory, "process {rank} of {size}");
        }
    }
}

/// Also a video of a single tile, and tiles that the team's size does not divide.
#[test]
fn tiles_decoded_by_several_devices_give_the_bits_of_one() {
    let fixture = Fixture::open("wide");
    let options = fixture.tiled_options().unwrap();
    let (large, small) = (fixture.request(), small(&fixture, 1, 3));
    let engine = fixture.tiled_engine().unwrap();
    let latents = [&large, &small].map(|request| denoise(&engine, request).latents);
    let mut tiles = 0;
    with_team(3, LONG, &options, |leading| {
        for latents in &latents {
            let count = &mut |_, total| tiles = tiles.max(total);
            let together = leading.decode(latents, &Control::new(), count).unwrap();
            assert!(together.tensor().equal(decode(&engine, latents).tensor()));
        }
    });
    assert!(tiles > 3, "{tiles} tiles");
}

#[test]
fn a_state_resumes_on_as_many_devices_and_is_refused_on_another_number() {
    let fixture = Fixture::open("deep");
    let request = cached(&fixture);
    let (of_one, _) = recorded(&fixture.engine(), &request);
    with_team(2, LONG, &fixture.options(), |engine| {
        let (of_two, whole) = recorded(engine, &request);
        let resume = |bytes: &[u8]| {
            let saved = Checkpoint::from_bytes(bytes).unwrap();
            engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on)
        };
        assert!(resume(&of_two[3]).unwrap().latents.tensor.equal(&whole.latents.tensor));
        let refused = resume(&of_one[3]).unwrap_err().to_string();
        assert!(refused.contains("device_class"), "{refused}");
    });
}

#[test]
fn a_stop_takes_effect_at_each_place_and_the_team_works_on() {
    let fixture = Fixture::open("wide");
    let options = fixture.tiled_options().unwrap();
    let request = small(&fixture, 2, 1);
    let engine = fixture.tiled_engine().unwrap();
    let (alone, large) = (denoise(&engine, &request), denoise(&engine, &fixture.request()));
    let frames = decode(&engine, &large.latents);
    with_team(3, LONG, &options, |engine| {
        let undisturbed = Control::new();
        engine.denoise(&request, None, &undisturbed, &mut go_on).unwrap();
        for budget in 1..=undisturbed.beats() {
            let stopped = engine.denoise(&request, None, &Control::with_budget(budget), &mut go_on);
            assert!(matches!(stopped, Err(Error::Cancelled)), "at {budget}");
        }
        let undisturbed = Control::new();
        engine.decode(&large.latents, &undisturbed, &mut |_, _| {}).unwrap();
        // About a dozen places, in all rounds of tiles.
        for budget in (1..=undisturbed.beats()).step_by(usize::try_from(undisturbed.beats() / 12).unwrap().max(1)) {
            let stopped = engine.decode(&large.latents, &Control::with_budget(budget), &mut |_, _| {});
            assert!(matches!(stopped, Err(Error::Cancelled)), "at {budget}");
        }
        assert!(!engine.leader().unwrap().is_broken());
        agrees(3, &alone, &denoise(engine, &request));
        assert!(decode(engine, &large.latents).tensor().equal(frames.tensor()));
    });
}

#[test]
fn adapters_act_on_all_devices_or_on_none() {
    let fixture = Fixture::open("base");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters");
    let request = uneven(&fixture, 2);
    let render = |engine: &mut Engine, file: Option<&Path>| {
        let opened = file.map(|file| engine.open_adapter(file).unwrap());
        let uses: Vec<AdapterUse> = opened.iter().map(|adapter| AdapterUse { adapter, strength: 1.0 }).collect();
        engine.set_adapters(&uses, &Control::new()).map(|_| denoise(engine, &request))
    };
    let mut engine = fixture.engine();
    let plain = render(&mut engine, None).unwrap();
    let adapted = render(&mut engine, Some(&folder.join("diffusers.safetensors"))).unwrap();
    assert!(!plain.latents.tensor.equal(&adapted.latents.tensor));
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.safetensors");
    with_team(2, LONG, &fixture.options(), |engine| {
        std::fs::copy(folder.join("diffusers.safetensors"), &copy).unwrap();
        agrees(2, &adapted, &render(engine, Some(&copy)).unwrap());
        agrees(2, &plain, &render(engine, None).unwrap());
        // A file that is gone when the others open it.
        let adapter = engine.open_adapter(&copy).unwrap();
        std::fs::remove_file(&copy).unwrap();
        let refused = engine.set_adapters(&[AdapterUse { adapter: &adapter, strength: 1.0 }], &Control::new());
        assert!(matches!(refused, Err(Error::Team { .. })), "{refused:?}");
        assert!(!engine.leader().unwrap().is_broken());
        agrees(2, &plain, &denoise(engine, &request));
    });
}

#[test]
fn a_model_is_shared_by_a_divisor_of_its_heads_alone() {
    let fixture = Fixture::open("base");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meet");
    let all_there = Barrier::new(3);
    let error = std::thread::scope(|scope| {
        for rank in [1, 2] {
            let (file, all_there) = (&file, &all_there);
            scope.spawn(move || {
                let _team = Team::join(file, rank, 3, LONG).unwrap();
                all_there.wait();
            });
        }
        let team = Team::join(&file, 0, 3, LONG).unwrap();
        all_there.wait();
        fixture.engine().lead(Some(Leader::new(team, Box::new(|_| Ok(()))).unwrap())).unwrap_err()
    });
    assert!(error.to_string().contains("3 devices cannot share this model's 2 attention heads; give 1, 2"), "{error}");
}

/// The other process ends when both are there, as if it had been killed.
#[test]
fn a_team_that_lost_a_process_reports_it_and_is_not_used_again() {
    let fixture = Fixture::open("base");
    let request = small(&fixture, 2, 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meet");
    let both_there = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _team = Team::join(&file, 1, 2, LONG).unwrap();
            both_there.wait();
        });
        let team = Team::join(&file, 0, 2, LONG).unwrap();
        both_there.wait();
        let mut engine = fixture.engine();
        engine.lead(Some(Leader::new(team, Box::new(|_| Ok(()))).unwrap())).unwrap();
        for _ in 0..2 {
            let error = engine.denoise(&request, None, &Control::new(), &mut go_on).unwrap_err();
            assert!(matches!(error, Error::Team { .. }), "{error}");
            assert!(engine.leader().unwrap().is_broken());
        }
        engine.lead(None).unwrap();
        let alone: Tensor = denoise(&fixture.engine(), &request).latents.tensor;
        assert!(denoise(&engine, &request).latents.tensor.equal(&alone), "alone it works on");
    });
}
