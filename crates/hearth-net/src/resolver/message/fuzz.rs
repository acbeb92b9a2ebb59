//! The body of the fuzz target `dns_messages`.

use super::{ADDRESSES_MAX, Question, addresses};

/// Reads a message of a guest or of a name server. What is read as a question is answered in its own words, and no answer opens more
/// addresses than it may.
pub fn messages(input: &[u8]) {
    assert!(
        addresses(input).len() <= ADDRESSES_MAX,
        "too many addresses"
    );
    let Some(question) = Question::read(input) else {
        return;
    };
    for answer in [question.refusal(), question.failure()] {
        assert!(question.is_answered_by(&answer), "{question:?} {answer:?}");
        assert!(
            Question::read(&answer).is_none(),
            "an answer is no question"
        );
        assert!(addresses(&answer).is_empty());
        assert!(answer.len() <= 512, "{} bytes for a datagram", answer.len());
    }
    assert!(!question.is_answered_by(input), "a question is no answer");
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
