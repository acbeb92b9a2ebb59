#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hearth_node::fuzz::agent_frames(input));
