use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::id::MicrovmId;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn grant() -> Grant {
    Grant {
        microvm: MicrovmId(Uuid::from_u128(7)),
        access: Access::Ports(vec![8080..=8080]),
    }
}

fn ring() -> (tempfile::TempDir, TokenKeys) {
    let directory = tempfile::tempdir().unwrap();
    let ring = TokenKeys::open(&directory.path().join("keys"), SystemTime::now()).unwrap();
    (directory, ring)
}

#[test]
fn a_token_says_what_was_granted() {
    let (_directory, ring) = ring();
    let now = SystemTime::now();
    for access in [Access::Shell, Access::Ports(vec![1..=2, 0..=u16::MAX])] {
        let grant = Grant { access, ..grant() };
        let token = ring.issue(&grant, MINUTE, now).unwrap();
        assert_eq!(ring.verify(token.reveal(), now), Ok(grant));
    }
}

#[test]
fn a_token_has_five_parts_and_no_key() {
    let (_directory, ring) = ring();
    let token = ring.issue(&grant(), MINUTE, SystemTime::now()).unwrap();
    let parts: Vec<&str> = token.reveal().split('.').collect();
    assert_eq!(parts.len(), 5);
    assert!(parts[1].is_empty());
    let header = base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(parts[0])
        .unwrap();
    let header = String::from_utf8(header).unwrap();
    assert!(
        header.starts_with(r#"{"kid":""#) && header.ends_with(r#"","alg":"dir","enc":"A256GCM"}"#)
    );
}

#[test]
fn a_token_ends() {
    let (_directory, ring) = ring();
    let now = SystemTime::now();
    let token = ring.issue(&grant(), MINUTE, now).unwrap();
    assert!(ring.verify(token.reveal(), now + MINUTE / 2).is_ok());
    assert_eq!(
        ring.verify(token.reveal(), now + MINUTE),
        Err(VerifyError::Expired)
    );
}

#[test]
fn a_clock_that_is_set_back_makes_no_token_live_longer() {
    let (_directory, ring) = ring();
    let now = SystemTime::now();
    let token = ring.issue(&grant(), 60 * MINUTE, now).unwrap();
    assert!(ring.verify(token.reveal(), now - MINUTE / 2).is_ok());
    assert_eq!(
        ring.verify(token.reveal(), now - 120 * MINUTE),
        Err(VerifyError::Expired)
    );
}

#[test]
fn lifetimes_and_ports_are_bounded() {
    let (_directory, ring) = ring();
    let now = SystemTime::now();
    for lifetime in [Duration::ZERO, 61 * MINUTE] {
        assert!(matches!(
            ring.issue(&grant(), lifetime, now),
            Err(IssueError::Lifetime)
        ));
    }
    assert!(ring.issue(&grant(), 60 * MINUTE, now).is_ok());
    for count in [0, 257] {
        let grant = Grant {
            access: Access::Ports(vec![1..=1; count]),
            ..grant()
        };
        assert!(matches!(
            ring.issue(&grant, MINUTE, now),
            Err(IssueError::Ports)
        ));
    }
    let full = Grant {
        access: Access::Ports(vec![60000..=65535; 256]),
        ..grant()
    };
    assert!(ring.issue(&full, MINUTE, now).is_ok());
}

#[test]
fn keys_rotate_and_old_tokens_live_out_their_time() {
    let (_directory, ring) = ring();
    let now = SystemTime::now();
    let old = ring
        .issue(&grant(), 60 * MINUTE, now + DAY - MINUTE)
        .unwrap();
    let new = ring.issue(&grant(), 60 * MINUTE, now + DAY).unwrap();
    let header = |token: &Token| token.reveal().split('.').next().unwrap().to_owned();
    assert_ne!(header(&old), header(&new));
    assert!(ring.verify(old.reveal(), now + DAY + 30 * MINUTE).is_ok());
    ring.rotate(now + 2 * DAY).unwrap();
    assert_eq!(ring.verify(old.reveal(), now), Err(VerifyError::UnknownKey));
}

#[test]
fn the_ring_survives_a_restart_and_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let now = SystemTime::now();
    let token = TokenKeys::open(&path, now)
        .unwrap()
        .issue(&grant(), MINUTE, now)
        .unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let again = TokenKeys::open(&path, now).unwrap();
    assert_eq!(again.verify(token.reveal(), now), Ok(grant()));
    std::fs::write(&path, b"[{}]").unwrap();
    assert!(matches!(
        TokenKeys::open(&path, now),
        Err(OpenRingError::Damaged { .. })
    ));
}

#[test]
fn secrets_are_not_shown() {
    let (_directory, ring) = ring();
    let token = ring.issue(&grant(), MINUTE, SystemTime::now()).unwrap();
    assert!(!format!("{token:?}").contains(token.reveal()));
    let stored = std::fs::read_to_string(ring_path(&ring)).unwrap();
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    assert!(!format!("{ring:?}").contains(stored[0]["secret"].as_str().unwrap()));
}

fn ring_path(ring: &TokenKeys) -> String {
    let shown = format!("{ring:?}");
    shown.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn no_prefix_of_a_token_is_one() {
    let (_directory, ring) = ring();
    let now = SystemTime::now();
    let token = ring.issue(&grant(), MINUTE, now).unwrap();
    for end in 0..token.reveal().len() {
        assert!(ring.verify(&token.reveal()[..end], now).is_err());
    }
}

/// A key ring and a token of the first release. Both must stay readable: rings outlive upgrades, tokens restarts.
#[test]
fn what_was_stored_and_handed_out_stays_valid() {
    let ring = r#"[{"id":"0192d3a4-0000-4000-8000-000000000001","made_at_s":1795000000,"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}]"#;
    let token = concat!(
        "eyJraWQiOiIwMTkyZDNhNC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDEiLCJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0.",
        ".hJifZi6uvmCkTjL_.IP06HpL1q1gsmw4rZ1FNqEqvKYqEWNAWcHaRHjMFAVus-xJKx4Mf49Q7_Wp78KgeKqtDoBvGyE7r-",
        "5debticXlUGKrTCt5xThvC5cLO_1Qgq1OpCQQ.jysIubMRW_7-6xXfQDEp2Q",
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    std::fs::write(&path, ring).unwrap();
    let then = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let ring = TokenKeys::open(&path, then).unwrap();
    assert_eq!(ring.verify(token, then), Ok(grant()));
}

proptest! {
    #[test]
    fn any_text_is_refused(text in "\\PC{0,400}") {
        let (_directory, ring) = ring();
        prop_assert!(ring.verify(&text, SystemTime::now()).is_err());
    }

    #[test]
    fn any_text_with_dots_is_refused(parts in prop::collection::vec("[A-Za-z0-9_-]{0,60}", 5)) {
        let (_directory, ring) = ring();
        prop_assert_eq!(ring.verify(&parts.join("."), SystemTime::now()), Err(VerifyError::Unparseable));
    }

    #[test]
    fn any_altered_character_is_refused(at in 0usize..4096, to in "[A-Za-z0-9_.-]") {
        let (_directory, ring) = ring();
        let now = SystemTime::now();
        let token = ring.issue(&grant(), MINUTE, now).unwrap();
        let mut text = token.reveal().to_owned();
        let at = at % text.len();
        text.replace_range(at..=at, &to);
        prop_assume!(text != token.reveal());
        prop_assert!(ring.verify(&text, now).is_err());
    }

    #[test]
    fn what_goes_in_comes_out(
        id: u128,
        ports in prop::collection::vec((any::<u16>(), any::<u16>()), 1..20),
    ) {
        let (_directory, ring) = ring();
        let now = SystemTime::now();
        let ranges = ports.iter().map(|(a, b)| *a..=*b).collect();
        let grant = Grant { microvm: MicrovmId(Uuid::from_u128(id)), access: Access::Ports(ranges) };
        let token = ring.issue(&grant, MINUTE, now).unwrap();
        prop_assert_eq!(ring.verify(token.reveal(), now), Ok(grant));
    }
}
