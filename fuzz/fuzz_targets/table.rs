#![no_main]

use std::sync::Once;

/// libFuzzer ends the process at any panic, and those of other people's crates are turned into errors.
fn forgive_dependencies() {
    std::panic::set_hook(Box::new(|panic| {
        if !panic.location().is_some_and(|location| location.file().contains("registry")) {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static ONCE: Once = Once::new();
    ONCE.call_once(forgive_dependencies);
    lopper_fuzz::run("table", input);
});
