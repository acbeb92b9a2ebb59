#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hearth_front::fuzz::s3_forms(input));
