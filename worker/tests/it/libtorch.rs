//! Goal: a worker that finds another version of libtorch than its own says what to install, instead of computing with it.
//! Method: the libraries themselves under the name of another version, which is what a checkout holds after a change by hand.

use std::process::Command;

#[test]
fn another_version_is_refused_with_what_to_install() {
    let lib = hunyuan::runtime::cuda_half::libtorch_folder().unwrap();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let other = folder.path().join("lib");
    std::fs::create_dir(&other).unwrap();
    for name in ["libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"] {
        let (from, to) = (lib.join(name), other.join(name));
        // Some of them lie elsewhere in the set for GPUs. A link costs nothing; another file system needs a copy.
        if from.exists() && std::fs::hard_link(&from, &to).is_err() {
            std::fs::copy(&from, &to).unwrap();
        }
    }
    std::fs::write(folder.path().join("build-version"), "2.10.1+cpu\n").unwrap();
    // The executable's own search path takes precedence over LD_LIBRARY_PATH, so the other one is loaded before it is asked.
    let preloaded = ["libc10.so", "libtorch_cpu.so"].map(|name| other.join(name).display().to_string()).join(":");
    let output = Command::new(env!("CARGO_BIN_EXE_worker"))
        .args(["render", "--model", "/no/such/folder", "--prompt", "x", "--out", "/no/such/v.mp4"])
        .env("LD_PRELOAD", preloaded)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for wanted in [env!("HUNYUAN_LIBTORCH_VERSION"), "holds 2.10.1", "scripts/setup-libtorch"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}
