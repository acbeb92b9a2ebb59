#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hearth_snapshot::fuzz_state(bytes));
