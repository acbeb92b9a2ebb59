//! The body of the fuzz target `dns_messages`.

use super::{ADDRESSES_MAX, DnsName, Match, Query, Question, addresses};

/// Parses a message of a guest or of a name server. The answer to a question repeats the question, is no answer to a
/// query made from it, and opens no more addresses than allowed.
pub fn messages(input: &[u8]) {
    let other = DnsName::of_labels([b"example".as_slice(), b"com"]);
    assert!(
        addresses(input, &other).len() <= ADDRESSES_MAX,
        "too many addresses"
    );
    let Some(question) = Question::read(input.to_vec()) else {
        return;
    };
    for answer in [question.refusal(), question.failure()] {
        assert!(
            Question::read(answer.clone()).is_none(),
            "an answer is no question"
        );
        assert!(addresses(&answer, &question.name).is_empty());
        assert!(answer.len() <= 512, "{} bytes for a datagram", answer.len());
    }
    let Ok(query) = Query::of(&question) else {
        return;
    };
    let asked = query.message();
    assert_eq!(query.judge(asked), Match::Other, "a question is no answer");
    let mut answer = asked.to_vec();
    answer[2] |= 0x80;
    assert_eq!(query.judge(&answer), Match::Answer, "{question:?}");
    assert_eq!(
        query.to_guest(answer).len(),
        input.len(),
        "the guest's own question comes back"
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_dns_messages() {
        let words: &[&[u8]] = &[
            b"\xc0\x0c",
            b"\x07example\x03com\0",
            b"\0\x01\0\x01",
            b"\x3f",
            b"\0\0\x29\x10\0\0\0\0\0\0\0",
        ];
        hearth_corpus::run("dns_messages", words, super::messages);
    }
}
