//! Compiles the C++ shim against the headers of the libtorch that everything else is linked with.

use std::{env, path::PathBuf};

/// The version check and the search path of executables, which the model crate and the worker use too.
#[path = "../hunyuan/build.rs"]
mod libtorch;

fn main() {
    libtorch::main();
    for source in ["src/shim.cpp", "src/group.cpp", "src/guarded.h", "src/gloo"] {
        println!("cargo:rerun-if-changed={source}");
    }
    let include = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_default()).join("include");
    if !include.join("ATen/Context.h").exists() {
        // The version check has reported it, with what to install.
        return;
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("GLOG_USE_GLOG_EXPORT", None)
        // Without it c10d's header of Gloo's group declares nothing; src/gloo stands in for the headers that libtorch lacks.
        .define("USE_C10D_GLOO", None)
        .include("src")
        .file("src/shim.cpp")
        .file("src/group.cpp")
        .compile("torch_ext_shim");
}
