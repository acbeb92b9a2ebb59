#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hearth_net::fuzz::dns_messages(input));
