//! The saved state of virtio devices.
//!
//! These types are encoded into the snapshot by postcard, so they are a format. [`STATE_VERSION`] is written in front
//! of the machine state (not in here). Any change to a type in this file changes that number and the golden bytes in
//! `tests.rs`.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Version of everything in this file.
pub const STATE_VERSION: u16 = 1;

/// State of one device: the transport's registers and the device-specific part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Transport registers and queues.
    pub transport: TransportState,
    /// Device-specific part.
    pub body: DeviceBody,
}

/// Registers of the MMIO transport (VIRTIO 1.3 section 4.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportState {
    /// Device ID, checked at restore.
    pub device_id: u32,
    /// Status register, with DEVICE_NEEDS_RESET.
    pub status: u32,
    /// Features the driver accepted.
    pub driver_features: u64,
    /// DeviceFeaturesSel.
    pub device_features_sel: u32,
    /// DriverFeaturesSel.
    pub driver_features_sel: u32,
    /// QueueSel.
    pub queue_sel: u32,
    /// InterruptStatus: what the driver had not acknowledged.
    pub interrupt_status: u32,
    /// ConfigGeneration.
    pub config_generation: u32,
    /// The queues in their order.
    pub queues: Vec<QueueImage>,
}

/// State of one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueImage {
    /// Size chosen by the driver.
    pub size: u16,
    /// QueueReady.
    pub ready: bool,
    /// Next entry of the available ring that the device will read.
    pub next_avail: u16,
    /// Next entry of the used ring that the device will write.
    pub next_used: u16,
    /// Guest physical address of the descriptor table.
    pub desc_table: u64,
    /// Guest physical address of the available ring.
    pub avail_ring: u64,
    /// Guest physical address of the used ring.
    pub used_ring: u64,
}

/// The device-specific part of a device's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceBody {
    /// Block device.
    Block(BlockState),
    /// Network card.
    Net(NetState),
    /// Entropy source: nothing to keep.
    Rng,
    /// Balloon.
    Balloon(BalloonState),
    /// Sockets. Connections are not kept: the restored guest gets TRANSPORT_RESET.
    Vsock(VsockState),
}

/// The properties of a disk that a restored disk must have too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockState {
    /// Capacity in 512-byte sectors: a guest cannot survive a disk that changed its size unseen.
    pub capacity_sectors: u64,
    /// Whether the guest sees the disk as read-only.
    pub read_only: bool,
    /// VIRTIO_BLK_T_GET_ID string.
    pub serial: String,
}

/// The properties of a network card that a restored card must have too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetState {
    /// Hardware address.
    pub mac: [u8; 6],
}

/// Balloon size on both sides, in 4 KiB pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalloonState {
    /// Pages that the host asked for.
    pub target_pages: u32,
    /// Pages that the driver reported.
    pub actual_pages: u32,
}

/// Identity of the guest on its socket device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsockState {
    /// The guest's context id.
    pub guest_cid: u64,
}

/// Why a device refuses a saved state.
#[derive(Debug, Error)]
pub enum RestoreBodyError {
    /// The state belongs to another kind of device.
    #[error("the saved state is of another kind of device")]
    WrongKind,
    /// A property that the guest depends on has changed.
    #[error("{what} was {saved} when the state was saved and is {now} now")]
    Changed {
        /// Name of the property.
        what: &'static str,
        /// Value in the saved state.
        saved: String,
        /// Value of the device.
        now: String,
    },
}
