//! Questions and answers (RFC 1035). What guests send is hostile, what servers send is not trusted.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::net::Ipv4Addr;

use simple_dns::rdata::RData;
use simple_dns::{OPCODE, Packet, PacketFlag};

/// Length of a message's header.
const HEADER: usize = 12;

/// Response codes.
const SERVER_FAILURE: u8 = 2;
const REFUSED: u8 = 5;

/// More addresses than this in one answer are not opened: no honest name has them.
const ADDRESSES_MAX: usize = 32;

/// One question for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: u16,
    pub(super) name: String,
    /// The question as it was written, without header and what follows.
    asked: Vec<u8>,
    wants_recursion: bool,
}

impl Question {
    /// Reads a message; `None` if it is anything but one ordinary question.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let packet = Packet::parse(message).ok()?;
        let [question] = packet.questions.as_slice() else {
            return None;
        };
        let is_question = !packet.has_flags(PacketFlag::RESPONSE);
        if !is_question || packet.opcode() != OPCODE::StandardQuery || !packet.answers.is_empty() {
            return None;
        }
        Some(Self {
            id: packet.id(),
            name: question.qname.to_string(),
            asked: asked(message)?.to_vec(),
            wants_recursion: packet.has_flags(PacketFlag::RECURSION_DESIRED),
        })
    }

    /// Whether a message answers this very question.
    pub(super) fn is_answered_by(&self, message: &[u8]) -> bool {
        let is_answer = Packet::parse(message)
            .is_ok_and(|packet| packet.id() == self.id && packet.has_flags(PacketFlag::RESPONSE));
        is_answer && asked(message).is_some_and(|asked| asked.eq_ignore_ascii_case(&self.asked))
    }

    /// The answer to a name that the guest may not know.
    pub(super) fn refusal(&self) -> Vec<u8> {
        self.empty_answer(REFUSED)
    }

    /// The answer when there is none.
    pub(super) fn failure(&self) -> Vec<u8> {
        self.empty_answer(SERVER_FAILURE)
    }

    fn empty_answer(&self, code: u8) -> Vec<u8> {
        let [high, low] = self.id.to_be_bytes();
        // QR, and RD as it was asked; RA; one question and nothing else.
        let flags = 0x80 | u8::from(self.wants_recursion);
        let mut answer = vec![high, low, flags, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0];
        answer.extend(&self.asked);
        answer
    }
}

/// The bytes of a message's first question: labels up to the empty one, type and class.
fn asked(message: &[u8]) -> Option<&[u8]> {
    let mut end = HEADER;
    loop {
        let length = usize::from(*message.get(end)?);
        // A pointer in the first name has nothing to point to.
        if length > 63 {
            return None;
        }
        end += 1 + length;
        if length == 0 {
            return message.get(HEADER..end + 4);
        }
    }
}

/// The IPv4 addresses in an answer, and for how many seconds each may be kept.
pub(super) fn addresses(answer: &[u8]) -> Vec<(Ipv4Addr, u32)> {
    let Ok(packet) = Packet::parse(answer) else {
        return Vec::new();
    };
    let address = |record: &simple_dns::ResourceRecord<'_>| match &record.rdata {
        RData::A(a) => Some((Ipv4Addr::from_bits(a.address), record.ttl)),
        _ => None,
    };
    let addresses = packet.answers.iter().filter_map(address);
    addresses.take(ADDRESSES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::rdata::A;
    use simple_dns::{CLASS, Name, QCLASS, QTYPE, ResourceRecord, TYPE};

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

    fn answer(name: &str, addresses: &[[u8; 4]]) -> Vec<u8> {
        let mut packet = Packet::parse(&question(name))
            .unwrap()
            .into_reply()
            .build_bytes_vec()
            .unwrap();
        let mut reply = Packet::parse(&packet).unwrap();
        for address in addresses {
            let address = Ipv4Addr::from(*address).to_bits();
            reply.answers.push(ResourceRecord::new(
                Name::new(name).unwrap().into_owned(),
                CLASS::IN,
                30,
                RData::A(A { address }),
            ));
        }
        packet = reply.build_bytes_vec().unwrap();
        packet
    }

    #[test]
    fn a_question_is_read_and_refused_in_its_own_words() {
        let bytes = question("Example.org");
        let question = Question::read(&bytes).unwrap();
        assert_eq!((question.id, question.name.as_str()), (7, "Example.org"));
        let refusal = question.refusal();
        assert!(question.is_answered_by(&refusal));
        assert_eq!(refusal[3] & 15, 5);
        assert_eq!(refusal[HEADER..], bytes[HEADER..]);
        assert!(question.is_answered_by(&answer("example.ORG", &[])));
        assert!(!question.is_answered_by(&answer("example.com", &[])));
        assert!(!question.is_answered_by(&bytes), "a question is no answer");
    }

    #[test]
    fn what_is_no_question_is_not_one() {
        let good = question("a.b");
        assert!(Question::read(&answer("a.b", &[])).is_none());
        for length in 0..good.len() {
            assert!(Question::read(&good[..length]).is_none(), "{length}");
        }
        let mut twice = good.clone();
        twice[5] = 2;
        twice.extend_from_within(HEADER..);
        assert!(Question::read(&twice).is_none());
        let mut update = good;
        update[2] |= 5 << 3;
        assert!(Question::read(&update).is_none());
    }

    #[test]
    fn addresses_are_taken_from_answers() {
        let bytes = answer("x.y", &[[192, 0, 2, 1], [192, 0, 2, 2]]);
        let expected = [1, 2].map(|last| (Ipv4Addr::new(192, 0, 2, last), 30));
        assert_eq!(addresses(&bytes), expected);
        assert_eq!(addresses(&bytes[..20]), []);
    }
}
