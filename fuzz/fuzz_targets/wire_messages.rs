#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| hearth_wire::fuzz::messages(body));
