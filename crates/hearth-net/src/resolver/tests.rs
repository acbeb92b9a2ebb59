use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, TYPE};

use std::net::Ipv4Addr;

use super::*;

fn question(id: u16) -> Vec<u8> {
    named_question(id, "a.example")
}

fn named_question(id: u16, name: &str) -> Vec<u8> {
    let mut packet = Packet::new_query(id);
    packet.questions.push(simple_dns::Question::new(
        Name::new(name).unwrap().into_owned(),
        QTYPE::TYPE(TYPE::A),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().unwrap()
}

fn guest() -> Arc<Guest> {
    Arc::new(Guest {
        names: Names::All,
        openings: None,
        questions: Own::new(QUESTIONS_OF_ONE),
        streams: Own::new(STREAMS_OF_ONE),
    })
}

fn shared(upstream: SocketAddr) -> Shared {
    Shared {
        guests: Arc::default(),
        upstream: Arc::new(Upstream::new(vec![upstream])),
        questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
    }
}

/// A name server that answers over TCP, each question with its own reply bit set.
async fn name_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let length = stream.read_u16().await?;
                let mut message = vec![0; usize::from(length)];
                stream.read_exact(&mut message).await?;
                message[2] |= 0x80;
                stream.write_u16(length).await?;
                stream.write_all(&message).await
            });
        }
    });
    address
}

/// The guest's end of a stream that is served.
async fn stream(shared: &Shared, guest: &Arc<Guest>) -> TcpStream {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let own = TcpStream::connect(listener.local_addr().unwrap());
    let (own, served) = tokio::join!(own, listener.accept());
    let (shared, guest, served) = (shared.clone(), Arc::clone(guest), served.unwrap().0);
    tokio::spawn(async move { shared.serve_stream(&guest, served).await });
    own.unwrap()
}

async fn ask(stream: &mut TcpStream, id: u16) -> io::Result<Vec<u8>> {
    let message = question(id);
    stream
        .write_u16(u16::try_from(message.len()).unwrap())
        .await?;
    stream.write_all(&message).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// However many streams are open: what they hold of the places for questions is what is being answered.
#[tokio::test]
async fn a_stream_that_asks_nothing_holds_no_place() {
    let shared = shared(name_server().await);
    let guests: Vec<_> = (0..16).map(|_| guest()).collect();
    let mut open = Vec::new();
    for guest in &guests {
        for id in 0..8 {
            let mut stream = stream(&shared, guest).await;
            assert_eq!(ask(&mut stream, id).await.unwrap()[2] & 0x80, 0x80);
            open.push(stream);
        }
    }
    assert_eq!(shared.questions.available_permits(), QUESTIONS_MAX);
    // And each goes on.
    for stream in &mut open {
        ask(stream, 9).await.unwrap();
    }
}

#[tokio::test]
async fn a_question_without_a_place_ends_the_stream() {
    let shared = shared(name_server().await);
    let guest = guest();
    let mut stream = stream(&shared, &guest).await;
    ask(&mut stream, 1).await.unwrap();
    let all = Arc::clone(&shared.questions);
    let _taken = all
        .try_acquire_many(u32::try_from(QUESTIONS_MAX).unwrap())
        .unwrap();
    let refused = ask(&mut stream, 2).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::UnexpectedEof);
}

/// Guests that take every place they can get, and hold them.
#[test]
fn no_number_of_greedy_guests_keeps_another_one_from_asking() {
    for (places, of_one) in [
        (QUESTIONS_MAX, QUESTIONS_OF_ONE),
        (STREAMS_MAX, STREAMS_OF_ONE),
    ] {
        for greedy in [1, 16, 64, 200] {
            let all = Arc::new(Semaphore::new(places));
            let guests: Vec<_> = (0..greedy).map(|_| Own::new(of_one)).collect();
            let mut held = Vec::new();
            loop {
                let before = held.len();
                held.extend(guests.iter().filter_map(|guest| guest.take(&all)));
                if held.len() == before {
                    break;
                }
            }
            // Those that ask no more than one thing at a time.
            let modest: Vec<_> = (0..4).map(|_| Own::new(of_one)).collect();
            let asking: Vec<_> = modest.iter().map(|guest| guest.take(&all)).collect();
            assert!(
                asking.iter().all(Option::is_some),
                "{greedy} guests hold {} of {places}",
                held.len()
            );
        }
    }
}

#[test]
fn one_guest_alone_has_what_it_may_and_gets_it_back() {
    let all = Arc::new(Semaphore::new(QUESTIONS_MAX));
    let guest = Own::new(QUESTIONS_OF_ONE);
    let held: Vec<_> = std::iter::from_fn(|| guest.take(&all)).collect();
    assert_eq!(held.len(), QUESTIONS_OF_ONE);
    drop(held);
    assert_eq!(all.available_permits(), QUESTIONS_MAX);
    assert!(guest.take(&all).is_some());
}

/// Answers only names that do not begin with `slow`, over UDP.
async fn name_server_that_is_slow_for_some() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut message = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut message).await {
            if !message[13..17].eq_ignore_ascii_case(b"slow") {
                message[2] |= 0x80;
                socket.send_to(&message[..length], from).await.unwrap();
            }
        }
    });
    address
}

/// Finding M6 in its own numbers: 16 guests with 32 questions each that nobody answers for seconds.
#[tokio::test]
async fn slow_names_of_sixteen_guests_leave_the_others_their_places() {
    let shared = shared(name_server_that_is_slow_for_some().await);
    let asked = |name: &str| named_question(3, name);
    let mut waiting = JoinSet::new();
    for _ in 0..16 {
        let greedy = guest();
        for _ in 0..32 {
            let Some(place) = greedy.questions.take(&shared.questions) else {
                continue;
            };
            let (shared, greedy, slow) =
                (shared.clone(), Arc::clone(&greedy), asked("slow.example"));
            waiting.spawn(async move {
                let _place = place;
                shared.answer(&greedy, slow, false).await
            });
        }
    }
    tokio::task::yield_now().await;
    for _ in 0..8 {
        let modest = guest();
        let place = modest.questions.take(&shared.questions);
        assert!(place.is_some(), "{} ask already", waiting.len());
        let answered = shared.answer(&modest, asked("quick.example"), false);
        let answer = time::timeout(Duration::from_secs(2), answered)
            .await
            .unwrap();
        assert_eq!(answer.unwrap()[3] & 15, 0);
    }
    assert!(
        waiting.try_join_next().is_none(),
        "the slow ones still wait"
    );
}
