#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hearth_vmm::virtio::fuzz::net(input));
