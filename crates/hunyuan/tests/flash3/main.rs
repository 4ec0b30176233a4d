//! Goal: FlashAttention 3 from a user's own build is loaded without Python, tried with the other kernels, and used.
//! Method: a small extension that registers the same operator for CPUs is compiled here with the C++ compiler that the crate's own
//! shim needs. One test, since the choice of a kernel is the process's.

#![expect(clippy::unwrap_used, reason = "a test that cannot build its extension has nothing to say")]

use std::path::{Path, PathBuf};
use std::process::Command;

use hunyuan::AttentionBackend;
use hunyuan::runtime::attention::{Trial, choose, load_flash3, try_each};
use tch::{Device, Kind, Tensor};
use torch_ext::{attention, flash3};

fn libtorch() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.libtorch");
    std::env::var_os("LIBTORCH").map_or(checkout, PathBuf::from)
}

/// Compiles the extension.
fn extension(folder: &Path) -> PathBuf {
    let (source, library) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flash3/operator.cpp"), folder.join("_C.abi3.so"));
    let (include, lib) = (libtorch().join("include"), libtorch().join("lib"));
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let done = Command::new(compiler)
        .args(["-std=c++17", "-shared", "-fPIC", "-O0", "-o"])
        .args([&library, &source])
        .arg("-I")
        .arg(&include)
        .arg("-L")
        .arg(lib)
        .args(["-ltorch_cpu", "-lc10"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    library
}

#[test]
fn a_build_of_the_users_is_tried_and_used_without_python() {
    let _no_grad = tch::no_grad_guard();
    let before = attention::enabled().unwrap();
    let widths = [3 * 32];
    let trial = Trial { device: Device::Cpu, kind: Kind::BFloat16, heads: [2, 16], tokens: 200, row_widths: &widths };

    // Without it: what to do is said.
    let forced = choose(&trial, Some(AttentionBackend::Flash3)).unwrap_err().to_string();
    assert!(forced.contains("`flash3` cannot be used") && forced.contains("worker.attention_library"), "{forced}");
    let folder = tempfile::tempdir().unwrap();
    let absent = load_flash3(&folder.path().join("absent.so")).unwrap_err().to_string();
    assert!(absent.contains("attention_library") && absent.contains("absent.so"), "{absent}");
    let other = load_flash3(&libtorch().join("lib/libc10.so")).unwrap_err().to_string();
    assert!(other.contains("does not register flash_attn_3::fwd"), "{other}");

    // With it: correct on the trial's data, and chosen when it is asked for.
    load_flash3(&extension(folder.path())).unwrap();
    let tried = try_each(&trial, &[AttentionBackend::Flash3]).unwrap();
    let (tflops, error) = tried[0].outcome.clone().unwrap();
    assert!(tflops > 0.0 && error > 0.0 && error < 2e-2, "{error}");
    let chosen = choose(&trial, Some(AttentionBackend::Flash3)).unwrap();
    assert_eq!(chosen.backend, AttentionBackend::Flash3);
    assert_eq!(attention::enabled().unwrap(), [AttentionBackend::Math], "libtorch's plain kernel is left for fp32");
    let all = choose(&trial, None).unwrap();
    assert!(all.tried.iter().any(|tried| tried.backend == AttentionBackend::Flash3), "{all:?}");

    // Its layout is tokens before heads, strided, and its errors are errors.
    let joint = Tensor::randn([1, 50, 3 * 32 + 8], (Kind::BFloat16, Device::Cpu));
    let part = |index: i64| joint.narrow(2, 32 * index, 32).view([1, 50, 2, 16]);
    let found = flash3::attend(&part(0), &part(1), &part(2)).unwrap();
    let plain = |tensor: Tensor| tensor.transpose(1, 2).to_kind(Kind::Float);
    let wanted = Tensor::scaled_dot_product_attention::<&Tensor>(
        &plain(part(0)),
        &plain(part(1)),
        &plain(part(2)),
        None,
        0.0,
        false,
        None,
        false,
    );
    let distance = (plain(found) - wanted - 0.001).abs().max().double_value(&[]);
    assert!(distance < 0.02, "{distance}");
    let wide = part(0).to_kind(Kind::Float);
    let error = flash3::attend(&wide, &wide, &wide).unwrap_err().to_string();
    assert!(error.contains("only 16 bits"), "{error}");
    attention::set(&before).unwrap();
}
