use proptest::prelude::*;

use super::*;

fn end_of(input: &[u8]) -> State {
    let mut framing = Framing::default();
    framing.advance(input);
    framing.state
}

fn head(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

#[test]
fn honest_requests_pass() {
    for (lines, body) in [
        ("", ""),
        ("Content-Length: 0\r\n", ""),
        ("Content-Length: 5\r\n", "\r\n\r\nx"),
        (
            "Transfer-Encoding: chunked\r\n",
            "3;ext=\"a\"\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
        ),
        ("transfer-encoding:CHUNKED\r\n", "0\r\nTrailer: x\r\n\r\n"),
    ] {
        let mut input = head(lines);
        input.extend_from_slice(body.as_bytes());
        assert_eq!(end_of(&input), State::Head, "{lines:?}");
        // The next request must be seen as one.
        input.extend_from_slice(&head("Content-Length: 7\r\n"));
        assert_eq!(end_of(&input), State::Sized(7), "{lines:?}");
    }
}

#[test]
fn doubtful_requests_are_seen() {
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding\u{b}: chunked\r\n\u{20}x\r\n",
        "X: a\r\n\u{20}folded\r\n",
        "X: a\r\n\tTransfer-Encoding: chunked\r\n",
        "no colon\r\n",
    ] {
        assert_eq!(end_of(&head(lines)), State::Malformed, "{lines:?}");
    }
    for body in [
        "x\r\n",
        "-1\r\n",
        "\r\n",
        "0x1\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let mut input = head("Transfer-Encoding: chunked\r\n");
        input.extend_from_slice(body.as_bytes());
        assert_eq!(end_of(&input), State::Malformed, "{body:?}");
    }
}

#[test]
fn long_lines_are_no_trouble() {
    let long = "x".repeat(100_000);
    assert_eq!(
        end_of(&head(&format!("{long}: 1\r\nA: {long}\r\n"))),
        State::Head
    );
    let blanks = " ".repeat(1000);
    assert_eq!(
        end_of(&head(&format!("Content-Length:{blanks}5\r\n"))),
        State::Malformed
    );
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        input in prop::collection::vec(
            prop::sample::select(b"\r\n :0123AaCTcontent-length transfer-encoding chunked".to_vec()), 0..200),
        at in 0usize..200,
    ) {
        let mut whole = head("Content-Length: 3\r\n");
        whole.extend_from_slice(&input);
        let at = at.min(whole.len());
        let mut framing = Framing::default();
        framing.advance(&whole[..at]);
        framing.advance(&whole[at..]);
        prop_assert_eq!(framing.state, end_of(&whole));
    }

    #[test]
    fn nothing_makes_it_panic(input in prop::collection::vec(any::<u8>(), 0..500)) {
        end_of(&input);
    }
}
