//! Compiles the shim against the libtorch that torch-sys has found.

use std::env;
use std::path::PathBuf;

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=src/shim.cpp");
    let lib = env::var_os("DEP_TCH_LIBTORCH_LIB")
        .map(PathBuf::from)
        .ok_or("torch-sys did not say where libtorch lies (Linux and macOS only); set LIBTORCH to its directory")?;
    // As torch-sys: LIBTORCH_INCLUDE is the directory that holds `include`, by default the one that holds `lib`.
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    let root = env::var_os("LIBTORCH_INCLUDE").map(PathBuf::from).or_else(|| lib.parent().map(Into::into));
    let include = root.unwrap_or_default().join("include");
    if !include.join("ATen/ATen.h").is_file() {
        return Err(format!(
            "{} holds no libtorch headers (ATen/ATen.h); set LIBTORCH to a complete libtorch",
            include.display()
        ));
    }
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .warnings(false)
        .include(include.join("torch/csrc/api/include"))
        .include(include)
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .file("src/shim.cpp")
        .try_compile("lopper_shim")
        .map_err(|error| format!("the shim over libtorch does not compile: {error}"))
}
