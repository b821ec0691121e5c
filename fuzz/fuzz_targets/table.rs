#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| lopper_fuzz::run("table", input));
