use super::*;

/// A small generator: the same inputs in every run, so that a failure can be repeated.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn input(&mut self) -> Vec<u8> {
        let len = self.next() as usize % 600;
        // Small bytes choose operations and short lengths; keep the large ones rare.
        let byte = |word: u64| if word & 3 == 0 { word >> 8 } else { word >> 8 & 15 } as u8;
        (0..len).map(|_| byte(self.next())).collect()
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
    let entries = fs::read_dir(PathBuf::from(directory).join(target)).expect("corpus");
    entries
        .map(|entry| fs::read(entry.expect("entry").path()).expect("input"))
        .collect()
}

fn check(name: &str) {
    let (_, target) = TARGETS
        .iter()
        .find(|(target, _)| *target == name)
        .expect("a target");
    let inputs = corpus(name);
    assert!(!inputs.is_empty());
    for input in inputs {
        target(&input);
    }
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15 ^ name.len() as u64);
    for _ in 0..300 {
        target(&noise.input());
    }
}

#[test]
fn balloon() {
    check("virtio_balloon");
}

#[test]
fn block() {
    check("virtio_block");
}

#[test]
fn net() {
    check("virtio_net");
}

#[test]
fn rng() {
    check("virtio_rng");
}

#[test]
fn vsock() {
    check("virtio_vsock");
}

#[test]
fn vsock_packets() {
    check("vsock_packets");
}
