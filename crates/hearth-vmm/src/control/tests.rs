use std::os::unix::net::UnixStream;

use super::*;
use crate::virtio::Poller;
use crate::virtio::poller::MACHINE_SLOT;
use hearth_wire::vmm::{Command, Reply};

fn control() -> (Control, Poller) {
    let poller = Poller::new().unwrap();
    (Control::new(poller.registrar(MACHINE_SLOT)), poller)
}

fn connected() -> (Control, UnixStream, Poller) {
    let (mut control, poller) = control();
    let (ours, theirs) = UnixStream::pair().unwrap();
    control.inherit(ours.into()).unwrap();
    (control, theirs, poller)
}

#[test]
fn requests_come_whole_however_they_are_cut() {
    let (mut control, mut client, _poller) = connected();
    let bytes = frame::encode(&Request::new(Command::Pause)).unwrap();
    let both = [bytes.clone(), bytes].concat();
    for byte in &both[..both.len() - 1] {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(control.next_request().unwrap().command, Command::Pause);
    assert!(control.next_request().is_none());
    client.write_all(&both[both.len() - 1..]).unwrap();
    assert_eq!(control.next_request().unwrap().command, Command::Pause);
}

#[test]
fn an_oversized_frame_ends_the_connection() {
    let (mut control, mut client, _poller) = connected();
    client.write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert!(control.next_request().is_none());
    assert!(!control.is_reachable());
}

#[test]
fn another_version_is_seen_as_such() {
    let (mut control, mut client, _poller) = connected();
    frame::write(&mut client, &(7_u16, "what a later version may say")).unwrap();
    assert_eq!(control.next_request().unwrap().version, 7);
}

#[test]
fn a_client_that_never_reads_is_cut_off_and_memory_stays_bounded() {
    let (mut control, _client, _poller) = connected();
    let reply = Message::Reply(Reply::Failed {
        machine_intact: true,
        reason: "x".repeat(4096),
        refusal: None,
    });
    for _ in 0..1000 {
        control.send(&reply);
    }
    assert!(!control.is_reachable());
}

#[test]
fn the_newest_client_is_the_client() {
    let (mut control, poller) = control();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    control.listen(&path).unwrap();
    let mut first = UnixStream::connect(&path).unwrap();
    control.accept();
    let mut second = UnixStream::connect(&path).unwrap();
    control.accept();
    control.send(&Message::Reply(Reply::Done));
    assert!(matches!(
        frame::read::<Message>(&mut first),
        Err(FrameError::Closed)
    ));
    assert_eq!(
        frame::read::<Message>(&mut second).unwrap(),
        Message::Reply(Reply::Done)
    );
    drop(poller);
}
