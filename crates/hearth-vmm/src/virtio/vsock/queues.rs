//! Moves packets between the queues and the streams.

use super::super::chain::{Buffers, Chain};
use super::super::device::Activation;
use super::super::fault::FaultCause;
use super::super::queue::VirtioQueue;
use super::super::ram::GuestRam;
use super::mux::{Mux, Output};
use super::packet::{HEADER_LEN, Header};

pub(super) const RX: usize = 0;
pub(super) const TX: usize = 1;

/// Most bytes of a chain. Packets carry up to 64 KiB in Linux; only a faulty driver sends longer chains.
pub(super) const MAX_CHAIN_BYTES: u64 = 1 << 20;

/// Receive buffers filled by one read of a socket. Linux offers 4 KiB each, so this is 64 KiB.
const MAX_BATCH: usize = 16;

/// Index of the queue that failed, and the cause.
pub(super) type Fault = (usize, FaultCause);

/// Handles at most as many packets as the queue has descriptors; the rest waits for the next turn of the event loop.
pub(super) fn drain_tx(active: &mut Activation, mux: &mut Mux) -> Result<(), Fault> {
    let fault = |error| (TX, FaultCause::from(error));
    let queue = &mut active.queues[TX];
    let mut budget = queue.size();
    let mut more = true;
    while more && budget > 0 && mux.can_take_packets() {
        match queue.pop(&active.ram, MAX_CHAIN_BYTES).map_err(fault)? {
            Some(chain) => {
                budget -= 1;
                let head = chain.head;
                take_packet(chain, mux);
                queue.push_used(&active.ram, head, 0).map_err(fault)?;
            }
            None => more = queue.rearm(&active.ram).map_err(fault)?,
        }
    }
    queue.signal(&active.ram).map_err(fault)?;
    // Without room for answers the guest must take some first: fill_rx kicks us then.
    if more && mux.can_take_packets() {
        queue.kick();
    }
    Ok(())
}

fn take_packet(mut chain: Chain<'_>, mux: &mut Mux) {
    // A chain without a header names nobody to whom an answer could go.
    let Some(bytes) = chain.readable.read_array::<HEADER_LEN>() else {
        return;
    };
    let header = Header::decode(&bytes);
    let mut payload = chain.readable;
    let complete = header.len as usize <= payload.len();
    payload.truncate(header.len as usize);
    mux.on_packet(&header, complete.then_some(payload));
}

/// Fills receive buffers while there are buffers and output; at most as many as the queue has descriptors.
pub(super) fn fill_rx(active: &mut Activation, mux: &mut Mux) -> Result<(), Fault> {
    let fault = |error| (RX, FaultCause::from(error));
    let could_take = mux.can_take_packets();
    let queue = &mut active.queues[RX];
    let mut budget = usize::from(queue.size());
    while mux.has_output() && budget > 0 {
        if !queue.has_pending(&active.ram).map_err(fault)?
            && !queue.rearm(&active.ram).map_err(fault)?
        {
            break;
        }
        budget = budget.saturating_sub(deliver(queue, &active.ram, mux).map_err(|c| (RX, c))?);
    }
    queue.signal(&active.ram).map_err(fault)?;
    if budget == 0 && mux.has_output() {
        queue.kick();
    }
    if !could_take && mux.can_take_packets() {
        active.queues[TX].kick();
    }
    Ok(())
}

/// Gives the guest one packet, or the data of one read from a stream's socket. Returns the share of the queue's turn
/// that it used: the number of filled buffers, at least 1. The queue must have at least one buffer.
fn deliver(queue: &mut VirtioQueue, ram: &GuestRam, mux: &mut Mux) -> Result<usize, FaultCause> {
    match mux.next_output() {
        None => Ok(1),
        Some(Output::Control(header)) => {
            let Some((head, mut start, _)) = receive_buffer(queue, ram)? else {
                return Ok(1);
            };
            start.write(&header.encode());
            queue.push_used(ram, head, HEADER_LEN as u32)?;
            Ok(1)
        }
        Some(Output::Data { id, limit }) => deliver_data(queue, ram, mux, id, limit),
    }
}

fn deliver_data(
    queue: &mut VirtioQueue,
    ram: &GuestRam,
    mux: &mut Mux,
    id: usize,
    limit: u32,
) -> Result<usize, FaultCause> {
    let Some(stream) = mux.stream(id) else {
        return Ok(1);
    };
    let mut room = limit as usize;
    let mut buffers = Vec::with_capacity(stream.batch);
    while room > 0 && buffers.len() < stream.batch {
        let Some((head, start, mut payload)) = receive_buffer(queue, ram)? else {
            break;
        };
        payload.truncate(room);
        room -= payload.len();
        buffers.push((head, start, payload));
    }
    let offered: usize = buffers.iter().map(|(_, _, payload)| payload.len()).sum();
    let received = stream.read_into(buffers.iter().map(|(_, _, payload)| payload));
    // The batch follows what the host sends: more while reads fill it, less when they do not. An
    // empty read only says that the host is slower than we are.
    stream.batch = match received {
        0 => stream.batch,
        _ if received == offered => (stream.batch * 2).min(MAX_BATCH),
        _ => stream.batch.div_ceil(2),
    };
    let mut left = received;
    let mut filled = 0;
    for (head, start, payload) in &mut buffers {
        if left == 0 {
            break;
        }
        let len = payload.len().min(left);
        left -= len;
        filled += 1;
        if let Some(header) = mux.data_header(id, len as u32) {
            start.write(&header.encode());
        }
        queue.push_used(ram, *head, (HEADER_LEN + len) as u32)?;
    }
    for _ in filled..buffers.len() {
        queue.undo_pop();
    }
    mux.end_turn(id);
    Ok(filled.max(1))
}

type ReceiveBuffer<'m> = (u16, Buffers<'m>, Buffers<'m>);

/// Takes the next receive buffer, split into header and payload.
fn receive_buffer<'m>(
    queue: &mut VirtioQueue,
    ram: &'m GuestRam,
) -> Result<Option<ReceiveBuffer<'m>>, FaultCause> {
    let Some(mut chain) = queue.pop(ram, MAX_CHAIN_BYTES)? else {
        return Ok(None);
    };
    if chain.writable.len() <= HEADER_LEN {
        return Err(FaultCause::Request(
            "vsock receive buffer without room for data",
        ));
    }
    let payload = chain.writable.split_off(HEADER_LEN);
    Ok(Some((chain.head, chain.writable, payload)))
}
