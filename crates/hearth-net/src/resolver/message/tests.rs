use proptest::prelude::*;
use simple_dns::rdata::A;
use simple_dns::{QCLASS, QTYPE, TYPE};

use super::*;

fn question(name: &str) -> Vec<u8> {
    let mut packet = Packet::new_query(7);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(simple_dns::Question::new(
        Name::new(name).unwrap().into_owned(),
        QTYPE::TYPE(TYPE::A),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().unwrap()
}

fn record(name: &str, data: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new(name).unwrap().into_owned(), CLASS::IN, 30, data)
}

fn at(name: &str, address: [u8; 4]) -> ResourceRecord<'static> {
    let address = Ipv4Addr::from(address).to_bits();
    record(name, RData::A(A { address }))
}

fn alias(name: &str, target: &str) -> ResourceRecord<'static> {
    let target = Name::new(target).unwrap().into_owned();
    record(name, RData::CNAME(CNAME(target)))
}

/// The answer to a message with one question.
fn answer(question: &[u8], records: Vec<ResourceRecord<'static>>) -> Vec<u8> {
    let mut reply = Packet::parse(question).unwrap().into_reply();
    reply.answers = records;
    reply.build_bytes_vec().unwrap()
}

fn read(name: &str) -> Question {
    Question::read(question(name)).unwrap()
}

#[test]
fn a_question_is_read_and_refused_in_its_own_words() {
    let bytes = question("Example.org");
    let question = Question::read(bytes.clone()).unwrap();
    assert_eq!(question.id, 7);
    assert_eq!(question.name, DnsName::of_labels([&b"example"[..], b"org"]));
    let refusal = question.refusal();
    assert_eq!(refusal[..2], bytes[..2]);
    assert_eq!(refusal[2..4], [0x81, 0x85]);
    assert_eq!(refusal[HEADER..], bytes[HEADER..]);
}

#[test]
fn what_is_no_question_is_not_one() {
    let good = question("a.b");
    assert!(Question::read(answer(&good, Vec::new())).is_none());
    for length in 0..good.len() {
        assert!(
            Question::read(good[..length].to_vec()).is_none(),
            "{length}"
        );
    }
    let mut twice = good.clone();
    twice[5] = 2;
    twice.extend_from_within(HEADER..);
    assert!(Question::read(twice).is_none());
    let mut update = good;
    update[2] |= 5 << 3;
    assert!(Question::read(update).is_none());
}

/// Finding M14: what the guest sent says nothing about what a forged answer has to look like.
#[test]
fn a_query_has_an_id_and_a_spelling_of_its_own() {
    let question = read("a-name-with-many-letters.example.org");
    let queries: Vec<_> = (0..64).map(|_| Query::of(&question).unwrap()).collect();
    let message = |query: &Query<'_>| query.message().to_vec();
    let first = message(&queries[0]);
    let ids = queries
        .iter()
        .filter(|query| message(query)[..2] != first[..2]);
    assert!(ids.count() > 32, "ids are random");
    let end = question.end;
    let spelled = queries
        .iter()
        .filter(|query| message(query)[HEADER..end] != first[HEADER..end]);
    assert!(spelled.count() > 32, "spellings are random");
    for query in &queries {
        let asked = &query.message()[HEADER..end];
        assert!(asked.eq_ignore_ascii_case(&question.message[HEADER..end]));
        assert_eq!(asked[asked.len() - 4..], [0, 1, 0, 1], "type and class");
    }
}

#[test]
fn only_the_answer_to_this_very_query_is_one() {
    let question = read("some.name.example.org");
    let query = Query::of(&question).unwrap();
    let good = answer(query.message(), Vec::new());
    assert_eq!(query.judge(&good), Match::Answer);
    assert_eq!(
        query.judge(query.message()),
        Match::Other,
        "a question is no answer"
    );
    let mut other_id = good.clone();
    other_id[0] ^= 1;
    assert_eq!(query.judge(&other_id), Match::Other);
    let mut respelled = good.clone();
    respelled[HEADER + 1] ^= 0x20;
    assert_eq!(query.judge(&respelled), Match::Respelled);
    let mut other_name = good.clone();
    other_name[HEADER + 1] = b'x';
    assert_eq!(query.judge(&other_name), Match::Other);
    let to_guest = query.to_guest(good);
    assert_eq!(to_guest[..2], question.message[..2]);
    assert_eq!(
        to_guest[HEADER..question.end],
        question.message[HEADER..question.end]
    );
}

#[test]
fn a_long_answer_is_asked_for_again_over_tcp() {
    let question = read("x.y");
    let short = answer(&question.message, vec![at("x.y", [192, 0, 2, 1])]);
    assert_eq!(question.datagram(short.clone()), short);
    let long = answer(&question.message, vec![at("x.y", [192, 0, 2, 1]); 64]);
    let shorter = question.datagram(long);
    let packet = Packet::parse(&shorter).unwrap();
    assert!(packet.has_flags(PacketFlag::TRUNCATION) && packet.answers.is_empty());
}

/// Finding M14: records of names that were not asked for open nothing.
#[test]
fn addresses_belong_to_the_name_or_to_its_aliases() {
    let question = read("x.y");
    let opened = |records| {
        let bytes = answer(&question.message, records);
        let found = addresses(&bytes, &question.name);
        found
            .iter()
            .map(|(address, _)| address.octets()[3])
            .collect::<Vec<_>>()
    };
    let own = vec![at("X.y", [192, 0, 2, 1]), at("x.y", [192, 0, 2, 2])];
    assert_eq!(opened(own), [1, 2]);
    assert_eq!(opened(vec![at("z.y", [192, 0, 2, 1])]), [0u8; 0]);
    let chain = vec![
        at("z.c", [192, 0, 2, 3]),
        alias("q.b", "z.c"),
        alias("x.y", "q.b"),
        at("q.c", [192, 0, 2, 4]),
    ];
    assert_eq!(opened(chain), [3]);
    let circle = vec![
        alias("x.y", "a.b"),
        alias("a.b", "x.y"),
        at("a.b", [192, 0, 2, 5]),
    ];
    assert_eq!(opened(circle), [5]);
    let backwards = vec![alias("a.b", "x.y"), at("a.b", [192, 0, 2, 6])];
    assert_eq!(opened(backwards), [0u8; 0]);
    let mut other_class = at("x.y", [192, 0, 2, 7]);
    other_class.class = CLASS::CH;
    assert_eq!(opened(vec![other_class]), [0u8; 0]);
    let bytes = answer(&question.message, vec![at("x.y", [192, 0, 2, 1])]);
    assert!(addresses(&bytes[..20], &question.name).is_empty());
}

/// A message that begins as a question does, so that more of it is looked at.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let header = prop::collection::vec(any::<u8>(), HEADER);
    let plausible =
        (any::<u16>(), prop::collection::vec(any::<u8>(), 0..64)).prop_map(|(id, rest)| {
            let [high, low] = id.to_be_bytes();
            let mut message = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            message.extend(rest);
            message
        });
    let noise =
        (header, prop::collection::vec(any::<u8>(), 0..600)).prop_map(|(mut header, rest)| {
            header.extend(rest);
            header
        });
    prop_oneof![plausible, noise, prop::collection::vec(any::<u8>(), 0..20)]
}

/// Labels of any bytes, as a message carries them.
fn labels() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 1..12), 1..8)
}

fn written(labels: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label);
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

proptest! {
    /// Whatever comes: nothing panics, and what is taken for a question can be refused and asked.
    #[test]
    fn hostile_messages_are_questions_or_nothing(message in hostile(), other in hostile()) {
        if let Some(question) = Question::read(message.clone()) {
            let refusal = question.refusal();
            prop_assert_eq!(&refusal[..2], &message[..2]);
            prop_assert!(Packet::parse(&refusal).is_ok());
            let query = Query::of(&question).unwrap();
            prop_assert_eq!(query.message().len(), message.len());
            if query.judge(&other) == Match::Answer {
                query.to_guest(other);
            }
        } else {
            let name = DnsName::of_labels([&b"x"[..]]);
            addresses(&message, &name);
        }
    }

    /// A name is read label by label, whatever bytes these have.
    #[test]
    fn labels_are_read_as_they_are_written(labels in labels()) {
        let question = Question::read(written(&labels)).unwrap();
        let expected = DnsName::of_labels(labels.iter().map(Vec::as_slice));
        prop_assert_eq!(&question.name, &expected);
        let query = Query::of(&question).unwrap();
        let again = Question::read(query.message().to_vec()).unwrap();
        prop_assert_eq!(&again.name, &expected, "a spelling is the same name");
        let mut reply = query.message().to_vec();
        reply[2] |= 0x80;
        prop_assert_eq!(query.judge(&reply), Match::Answer);
    }
}
