//! The client against a VMM that this test plays.

use hearth_wire::vmm::Command;

use super::*;

fn connected() -> (VmmClient, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (VmmClient::new(ours), theirs)
}

async fn asked(vmm: &mut UnixStream) -> Request {
    let mut prefix = [0; PREFIX_BYTES];
    vmm.read_exact(&mut prefix).await.unwrap();
    let mut body = vec![0; frame::body_length(prefix).unwrap()];
    vmm.read_exact(&mut body).await.unwrap();
    frame::decode(&body).unwrap()
}

fn answer(id: RequestId, reply: Reply) -> Vec<u8> {
    frame::encode(&Envelope::new(Message::Reply { id, reply })).unwrap()
}

/// The VMM answers late, when the request was given up.
#[tokio::test]
async fn a_connection_whose_request_was_given_up_goes_on() {
    let (mut client, mut vmm) = connected();
    let given_up = client.request(Command::TouchedPages);
    let limit = Duration::from_millis(20);
    assert!(time::timeout(limit, given_up).await.is_err());
    let first = asked(&mut vmm).await;
    assert_eq!(first.command, Command::TouchedPages);

    let late = answer(first.id, Reply::Pages(Vec::new()));
    // The late reply is cut in two, by a second request that is given up as well.
    let (head, tail) = late.split_at(late.len() / 2);
    vmm.write_all(head).await.unwrap();
    let given_up = client.request(Command::Pause);
    assert!(time::timeout(limit, given_up).await.is_err());
    let second = asked(&mut vmm).await;
    vmm.write_all(tail).await.unwrap();
    vmm.write_all(&answer(second.id, Reply::Done))
        .await
        .unwrap();

    let expected = client.next_id();
    let vmm = tokio::spawn(async move {
        let third = asked(&mut vmm).await;
        assert_eq!(third.id, expected);
        let busy = Reply::Busy(Sealing {
            request: first.id,
            directory: "outgoing".into(),
            is_suspend: true,
            since_us: 3000,
        });
        vmm.write_all(&answer(third.id, busy)).await.unwrap();
    });
    let error = client.request(Command::Resume).await.unwrap_err();
    assert!(
        matches!(&error, VmmError::Busy(sealing) if sealing.request == first.id),
        "{error}"
    );
    vmm.await.unwrap();
    let error = client.request(Command::Status).await.unwrap_err();
    assert!(matches!(error, VmmError::Stream(_)), "{error}");
}

/// A VMM that was started by an earlier release lives, and is not taken for dead or mad.
#[tokio::test]
async fn a_vmm_of_version_1_is_known_as_such() {
    // `Message::Reply(Reply::Failed { .. })` and `Message::Event(Event::Ended(..))` as version 1 encoded them.
    let reason = b"the request has protocol version 2, this VMM speaks 1";
    let refusal = [&[0, 5, 1, reason.len() as u8], reason.as_slice()].concat();
    for body in [refusal, vec![1, 0, 5]] {
        let (mut client, mut vmm) = connected();
        let length = (body.len() as u32).to_le_bytes();
        vmm.write_all(&[length.as_slice(), &body].concat())
            .await
            .unwrap();
        let error = client.request(Command::Status).await.unwrap_err();
        assert!(matches!(error, VmmError::OtherVersion(1)), "{error}");
    }
}

#[tokio::test]
async fn a_vmm_that_left_has_closed_the_stream() {
    let (mut client, vmm) = connected();
    drop(vmm);
    let error = client.request(Command::Status).await.unwrap_err();
    assert!(matches!(error, VmmError::Stream(_)), "{error}");
    // Half a frame is none.
    let (mut client, mut vmm) = connected();
    vmm.write_all(&[9, 0, 0, 0, 2]).await.unwrap();
    drop(vmm);
    let error = client.ended().await.unwrap_err();
    assert!(
        matches!(error, VmmError::Stream(FrameError::Io(_))),
        "{error}"
    );
}

/// What a VMM says stands in logs beside what the service says (finding L5).
#[tokio::test]
async fn what_a_vmm_says_is_one_harmless_line() {
    let (mut client, mut vmm) = connected();
    let vmm = tokio::spawn(async move {
        let request = asked(&mut vmm).await;
        let reply = Reply::Failed {
            machine_intact: true,
            reason: "no\n2026-01-01 INFO all is well\x1b[2J".to_owned(),
            refusal: None,
        };
        vmm.write_all(&answer(request.id, reply)).await.unwrap();
        let ended = Event::Ended(EndReason::Kvm("a\nb".to_owned()));
        let ended = frame::encode(&Envelope::new(Message::Event(ended))).unwrap();
        vmm.write_all(&ended).await.unwrap();
    });
    let error = client.request(Command::Resume).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no\\n2026-01-01 INFO all is well\\u{1b}[2J"
    );
    let reason = client.ended().await.unwrap();
    assert_eq!(reason, EndReason::Kvm("a\\nb".to_owned()));
    vmm.await.unwrap();
}
