//! Filters the virtio header of a frame from the guest: only fields of negotiated features reach the host's kernel.
//!
//! The kernel parses these fields. Kernel code that no guest needs must not be reachable from a guest: UDP
//! fragmentation and segmentation, ECN, tunnels, and features of future bits.

use virtio_bindings::virtio_net as net;

use super::tap::HEADER_LEN;

/// Bytes of a checksum at `csum_start` + `csum_offset`.
const CHECKSUM_LEN: usize = 2;

/// struct virtio_net_hdr_v1 (VIRTIO 1.3 section 5.1.6), without `num_buffers`, which means nothing in this direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Header {
    flags: u8,
    gso_type: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

impl Header {
    fn decode(bytes: [u8; HEADER_LEN]) -> Self {
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1, _, _] = bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_le_bytes([h0, h1]),
            gso_size: u16::from_le_bytes([g0, g1]),
            csum_start: u16::from_le_bytes([s0, s1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
        }
    }

    fn encode(self) -> [u8; HEADER_LEN] {
        let ([h0, h1], [g0, g1]) = (self.hdr_len.to_le_bytes(), self.gso_size.to_le_bytes());
        let ([s0, s1], [o0, o1]) = (
            self.csum_start.to_le_bytes(),
            self.csum_offset.to_le_bytes(),
        );
        [
            self.flags,
            self.gso_type,
            h0,
            h1,
            g0,
            g1,
            s0,
            s1,
            o0,
            o1,
            0,
            0,
        ]
    }
}

/// The filtered header with which a frame of `frame_len` bytes goes to the TAP; `None` if the frame is to be dropped.
///
/// Unknown flags are ignored, as the specification requires (section 5.1.6.2.2). A frame with a kind of segmentation
/// that was not negotiated is dropped: unsegmented, it would be longer than the network's MTU.
pub(super) fn sanitize(
    bytes: [u8; HEADER_LEN],
    features: u64,
    frame_len: usize,
) -> Option<[u8; HEADER_LEN]> {
    let has = |feature: u32| features & 1 << feature != 0;
    let asked = Header::decode(bytes);
    let needs_checksum = has(net::VIRTIO_NET_F_CSUM)
        && u32::from(asked.flags) & net::VIRTIO_NET_HDR_F_NEEDS_CSUM != 0;
    let mut given = Header::default();
    if needs_checksum {
        let end = usize::from(asked.csum_start) + usize::from(asked.csum_offset) + CHECKSUM_LEN;
        if end > frame_len {
            return None;
        }
        given.flags = net::VIRTIO_NET_HDR_F_NEEDS_CSUM as u8;
        given.csum_start = asked.csum_start;
        given.csum_offset = asked.csum_offset;
    }
    let is_offered = match u32::from(asked.gso_type) {
        net::VIRTIO_NET_HDR_GSO_NONE => return Some(given.encode()),
        net::VIRTIO_NET_HDR_GSO_TCPV4 => has(net::VIRTIO_NET_F_HOST_TSO4),
        net::VIRTIO_NET_HDR_GSO_TCPV6 => has(net::VIRTIO_NET_F_HOST_TSO6),
        // UDP, ECN, and what later versions add: none of it is offered.
        _ => false,
    };
    // A segment needs a checksum of its own and a size (section 5.1.6.2.1).
    if !is_offered || !needs_checksum || asked.gso_size == 0 {
        return None;
    }
    if usize::from(asked.hdr_len) > frame_len {
        return None;
    }
    given.gso_type = asked.gso_type;
    given.gso_size = asked.gso_size;
    given.hdr_len = asked.hdr_len;
    Some(given.encode())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: u64 = 1 << net::VIRTIO_NET_F_CSUM
        | 1 << net::VIRTIO_NET_F_HOST_TSO4
        | 1 << net::VIRTIO_NET_F_HOST_TSO6;

    const FRAME: usize = 1500;

    fn segment(gso_type: u32) -> Header {
        Header {
            flags: net::VIRTIO_NET_HDR_F_NEEDS_CSUM as u8,
            gso_type: gso_type as u8,
            hdr_len: 54,
            gso_size: 1448,
            csum_start: 34,
            csum_offset: 16,
        }
    }

    fn sent(header: Header, features: u64) -> Option<Header> {
        sanitize(header.encode(), features, FRAME).map(Header::decode)
    }

    #[test]
    fn tcp_segments_pass_as_they_are_where_they_were_negotiated() {
        for (kind, feature) in [
            (net::VIRTIO_NET_HDR_GSO_TCPV4, net::VIRTIO_NET_F_HOST_TSO4),
            (net::VIRTIO_NET_HDR_GSO_TCPV6, net::VIRTIO_NET_F_HOST_TSO6),
        ] {
            assert_eq!(sent(segment(kind), ALL), Some(segment(kind)));
            assert_eq!(sent(segment(kind), ALL & !(1 << feature)), None);
        }
    }

    /// Each of them reached the host's parser as long as any offload was negotiated.
    #[test]
    fn what_was_never_offered_is_refused() {
        let ecn = net::VIRTIO_NET_HDR_GSO_TCPV4 | net::VIRTIO_NET_HDR_GSO_ECN;
        for kind in [net::VIRTIO_NET_HDR_GSO_UDP, 5, 2, 0x20, 0x40, 0x7f, ecn] {
            assert_eq!(sent(segment(kind), ALL), None, "{kind:#x}");
        }
        let tcp = segment(net::VIRTIO_NET_HDR_GSO_TCPV4);
        for bad in [
            Header { flags: 0, ..tcp },
            Header { gso_size: 0, ..tcp },
            Header {
                hdr_len: FRAME as u16 + 1,
                ..tcp
            },
            Header {
                csum_start: FRAME as u16 - 1,
                csum_offset: 0,
                ..tcp
            },
            Header {
                csum_start: u16::MAX,
                csum_offset: u16::MAX,
                ..tcp
            },
        ] {
            assert_eq!(sent(bad, ALL), None, "{bad:?}");
        }
    }

    #[test]
    fn fields_without_meaning_are_zero() {
        let plain = Header {
            flags: !(net::VIRTIO_NET_HDR_F_NEEDS_CSUM as u8),
            gso_type: 0,
            ..segment(0)
        };
        assert_eq!(sent(plain, ALL), Some(Header::default()));
        let checksum = Header {
            flags: 0xff,
            ..segment(0)
        };
        let expected = Header {
            flags: net::VIRTIO_NET_HDR_F_NEEDS_CSUM as u8,
            hdr_len: 0,
            gso_size: 0,
            ..checksum
        };
        assert_eq!(sent(checksum, ALL), Some(expected));
        assert_eq!(sent(checksum, 0), Some(Header::default()));
    }

    proptest! {
        #[test]
        fn whatever_passes_points_into_the_frame(
            bytes: [u8; HEADER_LEN],
            features: u64,
            frame_len in 14_usize..2000,
        ) {
            if let Some(passed) = sanitize(bytes, features, frame_len) {
                let header = Header::decode(passed);
                prop_assert!(header.flags & !1 == 0 && matches!(header.gso_type, 0 | 1 | 4));
                prop_assert!(usize::from(header.hdr_len) <= frame_len);
                let end = usize::from(header.csum_start) + usize::from(header.csum_offset);
                prop_assert!(header.flags == 0 && end == 0 || end + CHECKSUM_LEN <= frame_len);
                prop_assert_eq!(&passed[10..], &[0, 0][..]);
            }
        }
    }
}
