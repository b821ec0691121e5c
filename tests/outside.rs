//! A plugin outside the workspace compiles with `lopper` as its only dependency.

use std::path::Path;
use std::process::Command;

/// It is checked in the workspace's own target directory, whose crates from the registry it shares: that takes seconds, not the
/// minutes of torch-sys.
#[test]
fn a_plugin_needs_the_facade_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let outside = root.join("tests/outside");
    // The versions that the workspace has, so that nothing is fetched.
    let lock = outside.join("Cargo.lock");
    std::fs::copy(root.join("Cargo.lock"), &lock).expect("the workspace has a Cargo.lock");
    let output = Command::new(env!("CARGO"))
        .current_dir(&outside)
        .args(["check", "--offline", "--quiet"])
        .env("CARGO_TARGET_DIR", root.join("target"))
        .output()
        .expect("cargo is there");
    let _ = std::fs::remove_file(lock);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
