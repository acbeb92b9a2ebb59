#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hearth_image::fuzz::artifact_zip(input));
