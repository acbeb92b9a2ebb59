//! DNS questions and answers (RFC 1035). Messages of guests are hostile, messages of servers are not trusted.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::io;
use std::net::Ipv4Addr;

use rustix::rand::{GetRandomFlags, getrandom};
use simple_dns::rdata::{CNAME, RData};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, ResourceRecord};

use crate::dns_name::DnsName;

/// The length of a message's header in bytes.
const HEADER: usize = 12;

/// Response codes.
const SERVER_FAILURE: u8 = 2;
const REFUSED: u8 = 5;

/// The TC bit in the third byte of a message: ask again over TCP.
const TRUNCATED: u8 = 0x02;

/// The size that every client accepts over UDP (RFC 1035 section 2.3.4).
const SMALLEST_DATAGRAM: usize = 512;

/// Most addresses of one answer that are opened: no honest name has more.
const ADDRESSES_MAX: usize = 32;

/// Most aliases that are followed one after the other. Other resolvers have about the same limit.
const ALIASES_MAX: usize = 16;

/// Random bytes for the spelling: one bit for each letter, and a name of 255 bytes has fewer letters.
const SPELLING_BYTES: usize = 32;

/// One question for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: u16,
    pub(super) name: DnsName,
    /// The whole message.
    message: Vec<u8>,
    /// The end of the question in the message. The question begins after the header.
    end: usize,
}

/// A question as it is sent to a name server: with a random id and spelling. To forge an answer, one has to guess
/// both, and the port.
#[derive(Debug)]
pub(super) struct Query<'a> {
    question: &'a Question,
    message: Vec<u8>,
}

/// How a message relates to a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The answer to the query.
    Answer,
    /// The answer to the query except for its spelling: the server does not keep it, or the answer is forged.
    Respelled,
    /// Another message.
    Other,
}

impl Question {
    /// Parses a message. `None` if it is anything but one ordinary question.
    pub(super) fn read(message: Vec<u8>) -> Option<Self> {
        let packet = Packet::parse(&message).ok()?;
        let [question] = packet.questions.as_slice() else {
            return None;
        };
        let is_question = !packet.has_flags(PacketFlag::RESPONSE);
        if !is_question || packet.opcode() != OPCODE::StandardQuery || !packet.answers.is_empty() {
            return None;
        }
        let (id, name) = (packet.id(), name_of(&question.qname));
        let end = HEADER + asked(&message)?.len();
        Some(Self {
            id,
            name,
            message,
            end,
        })
    }

    /// The answer for a name that the guest may not ask for.
    pub(super) fn refusal(&self) -> Vec<u8> {
        self.empty_answer(REFUSED)
    }

    /// The answer if no server answers.
    pub(super) fn failure(&self) -> Vec<u8> {
        self.empty_answer(SERVER_FAILURE)
    }

    /// An answer, shortened if it is too long for a datagram to the guest.
    pub(super) fn datagram(&self, answer: Vec<u8>) -> Vec<u8> {
        if answer.len() <= SMALLEST_DATAGRAM {
            return answer;
        }
        let mut shorter = self.empty_answer(0);
        shorter[2] |= TRUNCATED;
        shorter
    }

    fn empty_answer(&self, code: u8) -> Vec<u8> {
        let [high, low] = self.id.to_be_bytes();
        // QR; RD as in the question; RA; one question and no records.
        let flags = 0x80 | self.message[2] & 1;
        let mut answer = vec![high, low, flags, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0];
        answer.extend(&self.message[HEADER..self.end]);
        answer
    }
}

impl<'a> Query<'a> {
    pub(super) fn of(question: &'a Question) -> io::Result<Self> {
        let mut random = [0; 2 + SPELLING_BYTES];
        // So few bytes always come at once (getrandom(2)).
        getrandom(&mut random[..], GetRandomFlags::empty())?;
        let (id, spelling) = random.split_at(2);
        let mut message = question.message.clone();
        message[..2].copy_from_slice(id);
        let labels = &mut message[HEADER..question.end - 4];
        // A label's length is at most 63, which is not a letter.
        let letters = labels.iter_mut().filter(|byte| byte.is_ascii_alphabetic());
        for (number, letter) in letters.enumerate() {
            let bit = spelling[number / 8 % SPELLING_BYTES] >> (number % 8) & 1;
            *letter ^= bit << 5;
        }
        Ok(Self { question, message })
    }

    /// The message for the name server.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// How a message relates to this query.
    pub(super) fn judge(&self, message: &[u8]) -> Match {
        let is_answer = message.starts_with(&self.message[..2])
            && Packet::parse(message).is_ok_and(|packet| packet.has_flags(PacketFlag::RESPONSE));
        let own = &self.message[HEADER..self.question.end];
        match asked(message) {
            Some(asked) if is_answer && asked == own => Match::Answer,
            Some(asked) if is_answer && asked.eq_ignore_ascii_case(own) => Match::Respelled,
            _ => Match::Other,
        }
    }

    /// An answer as the guest expects it: with its id, and the question as the guest spelled it.
    pub(super) fn to_guest(&self, mut answer: Vec<u8>) -> Vec<u8> {
        let question = self.question;
        answer[..2].copy_from_slice(&question.message[..2]);
        answer[HEADER..question.end].copy_from_slice(&question.message[HEADER..question.end]);
        answer
    }
}

fn name_of(name: &Name<'_>) -> DnsName {
    DnsName::of_labels(name.as_bytes())
}

/// The bytes of a message's first question: labels up to the empty one, type and class.
fn asked(message: &[u8]) -> Option<&[u8]> {
    let mut end = HEADER;
    loop {
        let length = usize::from(*message.get(end)?);
        // The first name of a message has nothing before it that a pointer could point to.
        if length > 63 {
            return None;
        }
        end += 1 + length;
        if length == 0 {
            return message.get(HEADER..end + 4);
        }
    }
}

/// The IPv4 addresses that an answer gives for a name or its aliases, each with the seconds that it may be cached.
/// Records of other names are ignored and open nothing.
pub(super) fn addresses(answer: &[u8], name: &DnsName) -> Vec<(Ipv4Addr, u32)> {
    let Ok(packet) = Packet::parse(answer) else {
        return Vec::new();
    };
    let chain = aliases(&packet.answers, name);
    let address = |record: &ResourceRecord<'_>| match &record.rdata {
        RData::A(a) if record.class == CLASS::IN && chain.contains(&name_of(&record.name)) => {
            Some((Ipv4Addr::from_bits(a.address), record.ttl))
        }
        _ => None,
    };
    let addresses = packet.answers.iter().filter_map(address);
    addresses.take(ADDRESSES_MAX).collect()
}

/// A name and its aliases, by these records.
fn aliases(records: &[ResourceRecord<'_>], name: &DnsName) -> Vec<DnsName> {
    let mut chain = vec![name.clone()];
    for _ in 0..ALIASES_MAX {
        let alias = |record: &ResourceRecord<'_>| match &record.rdata {
            RData::CNAME(CNAME(target)) if Some(&name_of(&record.name)) == chain.last() => {
                Some(name_of(target))
            }
            _ => None,
        };
        match records.iter().find_map(alias) {
            Some(next) if !chain.contains(&next) => chain.push(next),
            _ => break,
        }
    }
    chain
}

#[cfg(test)]
mod tests;
