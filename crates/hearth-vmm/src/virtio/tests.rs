//! Transport and queue rules that hold for every device, and the entropy device.

use proptest::prelude::*;
use virtio_bindings::bindings::virtio_mmio as reg;

use super::chain::QueueError;
use super::driver::{Driver, event_fd, ram};
use super::limiter::RateLimit;
use super::rng::Rng;
use super::*;

fn rng() -> Driver<Rng> {
    Driver::started(Rng::new(), 0)
}

#[test]
fn identifies_itself() {
    let driver = Driver::cold(Rng::new(), ram());
    assert_eq!(driver.read(reg::VIRTIO_MMIO_MAGIC_VALUE), 0x7472_6976);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_VERSION), 2);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_DEVICE_ID), 4);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_QUEUE_NUM_MAX), 64);
    driver.write(reg::VIRTIO_MMIO_QUEUE_SEL, 1);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
    driver.write(reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_DEVICE_FEATURES), 1);
}

#[test]
fn refuses_features_it_did_not_offer() {
    let driver = Driver::cold(Rng::new(), ram());
    for features in [0u64, 1 << 32 | 1 << 5] {
        driver.write(reg::VIRTIO_MMIO_STATUS, 0);
        driver.write(reg::VIRTIO_MMIO_STATUS, 3);
        for half in 0..2u32 {
            driver.write(reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
            driver.write(
                reg::VIRTIO_MMIO_DRIVER_FEATURES,
                (features >> (32 * half)) as u32,
            );
        }
        driver.write(reg::VIRTIO_MMIO_STATUS, 11);
        assert_eq!(driver.read(reg::VIRTIO_MMIO_STATUS), 3);
    }
}

#[test]
fn entropy_fills_what_was_asked_for() {
    let mut driver = rng();
    let small = driver.writable(64);
    assert_eq!(driver.request(0, &[small]), 64);
    assert_ne!(driver.bytes(small), [0; 64]);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_INTERRUPT_STATUS), 1);
    driver.write(reg::VIRTIO_MMIO_INTERRUPT_ACK, 1);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    let large = driver.writable(1 << 20);
    assert_eq!(driver.request(0, &[large]), 4096);
}

#[test]
fn entropy_is_rate_limited_and_goes_on_by_itself() {
    let mut driver = rng();
    let buffer = driver.writable(4096);
    for _ in 0..20 {
        driver.request(0, &[buffer]);
    }
}

#[test]
fn an_interrupt_not_acknowledged_is_raised_again_after_a_move() {
    let mut driver = rng();
    let buffer = driver.writable(16);
    driver.request(0, &[buffer]);
    let driver = driver.moved_to(Rng::new());
    assert_eq!(driver.read(reg::VIRTIO_MMIO_INTERRUPT_STATUS), 1);
    assert_eq!(driver.transport.irq_event().read().unwrap(), 1);
}

#[test]
fn waiting_buffers_are_served_after_a_move_without_a_notification() {
    for features in [0, 1 << 29] {
        let mut driver = Driver::started(Rng::new(), features);
        let buffer = driver.writable(16);
        driver.request(0, &[buffer]);
        driver.offer(0, &[buffer]);
        let mut driver = driver.moved_to(Rng::new());
        driver.wait_for(|driver| driver.used(0));
        driver.request(0, &[buffer]);
    }
}

#[test]
fn a_fork_goes_on_in_the_parent() {
    let mut driver = rng();
    let buffer = driver.writable(16);
    driver.transport.pause();
    driver.offer(0, &[buffer]);
    driver.kick(0);
    driver.pump();
    assert_eq!(driver.used(0), None);
    driver.transport.pause();
    driver.transport.resume();
    driver.wait_for(|driver| driver.used(0));
}

#[test]
fn broken_rings_are_faults() {
    // Available index far ahead.
    let mut driver = rng();
    let avail = driver.rings[0].avail;
    vm_memory::Bytes::write_obj(&driver.ram, 1000u16, vm_memory::GuestAddress(avail + 2)).unwrap();
    driver.kick(0);
    assert!(matches!(
        driver.fault().cause,
        FaultCause::Queue(QueueError::AvailableIndex)
    ));

    // A readable descriptor after a writable one.
    let mut driver = rng();
    let (write, read) = (driver.writable(8), driver.readable(&[0; 8]));
    driver.offer(0, &[write, read]);
    driver.kick(0);
    assert!(matches!(
        driver.fault().cause,
        FaultCause::Queue(QueueError::Order)
    ));

    // Rings outside memory are refused when they are made ready.
    let driver = Driver::cold(Rng::new(), ram());
    driver.write(reg::VIRTIO_MMIO_QUEUE_DESC_HIGH, 0xffff_ffff);
    driver.write(reg::VIRTIO_MMIO_QUEUE_READY, 1);
    assert_eq!(driver.read(reg::VIRTIO_MMIO_QUEUE_READY), 0);
    assert_eq!(driver.faults.take().0, 1);
}

#[test]
fn a_failed_device_stays_failed_through_a_move_until_it_is_reset() {
    let mut driver = rng();
    driver.publish(0, 999);
    driver.kick(0);
    driver.fault();
    let mut driver = driver.moved_to(Rng::new());
    assert_eq!(driver.read(reg::VIRTIO_MMIO_STATUS), 15 | 64);
    driver.reset();
    driver.start(0);
    let buffer = driver.writable(16);
    driver.request(0, &[buffer]);
}

#[test]
fn faults_are_counted_but_their_records_are_bounded() {
    let sink = FaultSink::new(event_fd());
    for _ in 0..1000 {
        let cause = FaultCause::Request("nonsense");
        sink.record(DeviceFault {
            device: "x".into(),
            queue: 0,
            cause,
        });
    }
    let (total, records) = sink.take();
    assert_eq!((total, records.len()), (1000, 16));
}

#[test]
fn a_state_of_something_else_is_refused() {
    let driver = rng();
    driver.transport.pause();
    let good = driver.transport.save();
    let other = Driver::cold(Rng::new(), ram());
    let refuse = |change: fn(&mut DeviceState)| {
        let mut state = good.clone();
        change(&mut state);
        other.transport.restore(&state).unwrap_err()
    };
    assert!(matches!(
        refuse(|state| state.transport.device_id = 2),
        RestoreError::DeviceId { saved: 2, now: 4 }
    ));
    assert!(matches!(
        refuse(|state| state.transport.driver_features |= 1 << 40),
        RestoreError::Features(_)
    ));
    assert!(matches!(
        refuse(|state| state.transport.queues.clear()),
        RestoreError::QueueCount { saved: 0, now: 1 }
    ));
    assert!(matches!(
        refuse(|state| state.transport.queues[0].used_ring = u64::MAX << 4),
        RestoreError::Queue { index: 0, .. }
    ));
    assert!(matches!(
        refuse(|state| state.body = DeviceBody::Vsock(state::VsockState { guest_cid: 3 })),
        RestoreError::Body(_)
    ));
    other.transport.restore(&good).unwrap();
}

/// The encoding is a format: if this fails, raise STATE_VERSION and write the new bytes here.
#[test]
fn state_encoding_is_pinned() {
    assert_eq!(STATE_VERSION, 1);
    let queue = QueueImage {
        size: 64,
        ready: true,
        next_avail: 5,
        next_used: 4,
        desc_table: 0x1000,
        avail_ring: 0x2000,
        used_ring: 0x3000,
    };
    let transport = TransportState {
        device_id: 4,
        status: 15,
        driver_features: 1 << 32,
        device_features_sel: 1,
        driver_features_sel: 1,
        queue_sel: 0,
        interrupt_status: 1,
        config_generation: 2,
        queues: vec![queue],
    };
    let bodies = [
        DeviceBody::Block(state::BlockState {
            capacity_sectors: 8,
            read_only: true,
            serial: "b".into(),
        }),
        DeviceBody::Net(state::NetState {
            mac: [1, 2, 3, 4, 5, 6],
        }),
        DeviceBody::Rng,
        DeviceBody::Balloon(state::BalloonState {
            target_pages: 3,
            actual_pages: 2,
        }),
        DeviceBody::Vsock(state::VsockState { guest_cid: 3 }),
    ];
    let encoded = postcard::to_stdvec(&(transport, bodies)).unwrap();
    let golden = [
        4, 15, 128, 128, 128, 128, 16, 1, 1, 0, 1, 2, 1, 64, 1, 5, 4, 128, 32, 128, 64, 128, 96, 0,
        8, 1, 1, 98, 1, 1, 2, 3, 4, 5, 6, 2, 3, 3, 2, 4, 3,
    ];
    assert_eq!(encoded, golden);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// No sequence of accesses to the window panics or stops the device from answering.
    #[test]
    fn register_accesses_never_panic(
        accesses in prop::collection::vec(
            (0u64..0x1100, prop::collection::vec(any::<u8>(), 0..9), any::<bool>()),
            1..300,
        ),
    ) {
        let driver = Driver::cold(Rng::new(), ram());
        for (offset, mut data, is_write) in accesses {
            // Aligned registers are where the state machine is; keep some that are not.
            let offset = if data.len() == 4 { offset & !3 } else { offset };
            if is_write {
                driver.transport.write(offset, &data);
            } else {
                driver.transport.read(offset, &mut data);
            }
        }
        driver.transport.pause();
        let state = driver.transport.save();
        driver.transport.resume();
        driver.write(reg::VIRTIO_MMIO_STATUS, 0);
        prop_assert_eq!(driver.read(reg::VIRTIO_MMIO_MAGIC_VALUE), 0x7472_6976);
        // Whatever a guest made of its registers can be saved and restored.
        let other = Driver::cold(Rng::new(), driver.ram.clone());
        prop_assert!(other.transport.restore(&state).is_ok());
    }
}

#[test]
fn limits_default_to_none() {
    assert_eq!(
        RateLimit::default(),
        RateLimit {
            operations: None,
            bytes: None
        }
    );
}
