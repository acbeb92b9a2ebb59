use std::os::unix::net::UnixStream;

use super::*;
use crate::virtio::Poller;
use crate::virtio::poller::MACHINE_SLOT;
use hearth_wire::vmm::{EndReason, Event};

fn control() -> (ControlServer, Poller) {
    let poller = Poller::new().unwrap();
    (ControlServer::new(poller.registrar(MACHINE_SLOT)), poller)
}

fn connected() -> (ControlServer, UnixStream, Poller) {
    let (mut control, poller) = control();
    let client = join(&mut control);
    (control, client, poller)
}

/// One more client. The first one has the first token.
fn join(control: &mut ControlServer) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    control.inherit(ours.into()).unwrap();
    theirs
}

fn ask(client: &mut UnixStream, id: u64, command: Command) {
    frame::write(client, &Request::new(RequestId(id), command)).unwrap();
}

/// The next request of the client in that place.
fn asked(control: &mut ControlServer, place: u32) -> Option<(Asker, Request)> {
    control.next_request(CLIENT_TOKENS + place)
}

fn heard(client: &mut UnixStream) -> Option<Message> {
    match frame::read::<Envelope>(client) {
        Ok(envelope) => {
            assert_eq!(envelope.version, PROTOCOL_VERSION);
            Some(envelope.message)
        }
        Err(FrameError::Closed) => None,
        Err(error) => panic!("{error}"),
    }
}

fn reply(id: u64, reply: Reply) -> Option<Message> {
    let id = RequestId(id);
    Some(Message::Reply { id, reply })
}

#[test]
fn requests_come_whole_however_they_are_cut() {
    let (mut control, mut client, _poller) = connected();
    let bytes = frame::encode(&Request::new(RequestId(1), Command::Pause)).unwrap();
    let both = [bytes.clone(), bytes].concat();
    for byte in &both[..both.len() - 1] {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(asked(&mut control, 0).unwrap().1.command, Command::Pause);
    assert!(asked(&mut control, 0).is_none());
    client.write_all(&both[both.len() - 1..]).unwrap();
    assert_eq!(asked(&mut control, 0).unwrap().1.command, Command::Pause);
}

#[test]
fn an_oversized_frame_ends_the_connection() {
    let (mut control, mut client, _poller) = connected();
    client.write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert!(asked(&mut control, 0).is_none());
    assert!(!control.is_reachable());
}

#[test]
fn another_version_is_seen_as_such_and_keeps_its_id() {
    let (mut control, mut client, _poller) = connected();
    frame::write(&mut client, &(7_u16, 9_u64, "what a later version may say")).unwrap();
    let (asker, request) = asked(&mut control, 0).unwrap();
    assert_eq!((request.version, asker.request), (7, RequestId(9)));
    // Version 1 had no ids: a command, here `Status`, followed its version.
    frame::write(&mut client, &(1_u16, 7_u8)).unwrap();
    assert_eq!(asked(&mut control, 0).unwrap().1.version, 1);
}

#[test]
fn a_client_that_never_reads_is_cut_off_and_memory_stays_bounded() {
    let (mut control, mut client, _poller) = connected();
    ask(&mut client, 1, Command::Status);
    let (asker, _) = asked(&mut control, 0).unwrap();
    let long = Reply::Failed {
        machine_intact: true,
        reason: "x".repeat(4096),
        refusal: None,
    };
    for _ in 0..1000 {
        control.reply(asker, long.clone());
    }
    assert!(!control.is_reachable());
}

#[test]
fn replies_go_to_the_client_that_asked_in_any_order() {
    let (mut control, mut first, _poller) = connected();
    let mut second = join(&mut control);
    ask(&mut first, 10, Command::Pause);
    ask(&mut first, 11, Command::Status);
    // Another client may use the same numbers.
    ask(&mut second, 10, Command::Resume);
    let (slow, _) = asked(&mut control, 0).unwrap();
    let (quick, _) = asked(&mut control, 0).unwrap();
    let (other, _) = asked(&mut control, 1).unwrap();
    let busy = Reply::Pages(Vec::new());
    control.reply(quick, Reply::Done);
    control.reply(other, busy.clone());
    control.reply(slow, Reply::Done);
    assert_eq!(heard(&mut first), reply(11, Reply::Done));
    assert_eq!(heard(&mut first), reply(10, Reply::Done));
    assert_eq!(heard(&mut second), reply(10, busy));
}

#[test]
fn the_reply_to_a_client_that_left_reaches_nobody_else() {
    let (mut control, mut first, _poller) = connected();
    ask(&mut first, 1, Command::Pause);
    let (asker, _) = asked(&mut control, 0).unwrap();
    drop(first);
    assert!(asked(&mut control, 0).is_none());
    // It takes the place that became free.
    let mut second = join(&mut control);
    ask(&mut second, 1, Command::Status);
    let (later, _) = asked(&mut control, 0).unwrap();
    control.reply(asker, Reply::Pages(Vec::new()));
    control.reply(later, Reply::Done);
    assert_eq!(heard(&mut second), reply(1, Reply::Done));
}

#[test]
fn one_client_too_many_takes_the_place_of_the_quietest_that_waits_for_nothing() {
    let (mut control, _poller) = control();
    let mut clients: Vec<UnixStream> = (0..CLIENTS_MAX).map(|_| join(&mut control)).collect();
    // The first, which came before all others, waits for a reply; the second was answered just now.
    ask(&mut clients[0], 1, Command::Pause);
    let (waiting, _) = asked(&mut control, 0).unwrap();
    ask(&mut clients[1], 1, Command::Status);
    let (answered, _) = asked(&mut control, 1).unwrap();
    control.reply(answered, Reply::Done);
    assert_eq!(heard(&mut clients[1]), reply(1, Reply::Done));

    let mut newest = join(&mut control);
    assert_eq!(heard(&mut clients[2]), None, "the quietest goes");
    control.reply(waiting, Reply::Done);
    assert_eq!(heard(&mut clients[0]), reply(1, Reply::Done));
    let event = Event::Ended(EndReason::Terminated);
    control.tell(&event);
    for client in [0, 1, 3] {
        assert_eq!(
            heard(&mut clients[client]),
            Some(Message::Event(event.clone()))
        );
    }
    assert_eq!(heard(&mut newest), Some(Message::Event(event)));
}

#[test]
fn whoever_connects_later_finds_the_others_there() {
    let (mut control, poller) = control();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control");
    control.listen(&path).unwrap();
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(UnixStream::connect(&path).unwrap());
        control.accept();
    }
    for (place, client) in (0..).zip(&mut clients) {
        ask(client, 5, Command::Status);
        let (asker, _) = asked(&mut control, place).unwrap();
        control.reply(asker, Reply::Done);
        assert_eq!(heard(client), reply(5, Reply::Done));
    }
    drop(poller);
}
