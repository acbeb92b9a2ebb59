//! The body of the fuzz target `wire_messages`.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{agent, frame, vmm};

/// Decodes any bytes as every message of the protocols. Nothing may panic, and a decoded message must be equal
/// after it was encoded and decoded again.
pub fn messages(body: &[u8]) {
    round_trip::<agent::Open>(body);
    round_trip::<agent::OpenReply>(body);
    round_trip::<agent::ControlRequest>(body);
    round_trip::<agent::ControlReply>(body);
    round_trip::<agent::ExecInput>(body);
    round_trip::<agent::ExecOutput>(body);
    round_trip::<agent::Chunk>(body);
    round_trip::<agent::LogLine>(body);
    round_trip::<vmm::Request>(body);
    round_trip::<vmm::Envelope>(body);
    // The same bytes as a stream of frames.
    let mut stream = body;
    while frame::read::<agent::Open>(&mut stream).is_ok() {}
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    let Ok(message) = frame::decode::<T>(body) else {
        return;
    };
    let Ok(bytes) = frame::encode(&message) else {
        return;
    };
    match frame::read::<T>(&mut bytes.as_slice()) {
        Ok(again) => assert_eq!(again, message),
        Err(error) => panic!("{message:?} was written but does not read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::agent::{ControlRequest, Open, Stream};
    use crate::vmm::{Command, Request, RequestId};

    #[test]
    fn the_fuzz_corpus_passes() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/wire_messages");
        let mut count = 0;
        for entry in fs::read_dir(corpus).unwrap() {
            messages(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "the corpus is empty");
    }

    #[test]
    fn messages_of_both_protocols_pass() {
        let body = |frame: Vec<u8>| frame[frame::PREFIX_BYTES..].to_vec();
        let open = Open::new(Stream::Proxy { port: 8080 });
        messages(&body(frame::encode(&open).unwrap()));
        messages(&body(frame::encode(&ControlRequest::Hello).unwrap()));
        messages(&body(
            frame::encode(&Request::new(RequestId(1), Command::Status)).unwrap(),
        ));
    }
}
