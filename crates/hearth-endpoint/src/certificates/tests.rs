use std::os::unix::fs::PermissionsExt;

use super::*;

fn open(directory: &Path) -> Certificates {
    Certificates::new(Authority::open(directory).unwrap(), &[]).unwrap()
}

#[test]
fn the_authority_stays_and_its_key_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).authority().certificate().clone();
    let second = open(directory.path()).authority().certificate().clone();
    assert_eq!(first, second);
    let key = std::fs::metadata(directory.path().join("ca-key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_authority_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ca-key.pem"), "not a key").unwrap();
    assert!(matches!(
        Authority::open(directory.path()),
        Err(AuthorityError::Damaged { .. })
    ));
}

#[test]
fn each_endpoint_gets_its_own_leaf_and_strangers_none() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = open(directory.path());
    let name = "0192d3a4-0000-3000-8000-000000000001.hearth.test";
    assert!(!certificates.is_ready(name));
    certificates.prepare(name);
    let leaf = certificates.by_name(name).unwrap();
    assert!(covers(&leaf, name));
    assert!(!covers(
        &leaf,
        "0192d3a4-0000-3000-8000-000000000002.hearth.test"
    ));
    assert!(Arc::ptr_eq(&leaf, &certificates.by_name(name).unwrap()));
    assert!(certificates.by_name("example.org").is_none());
    assert!(covers(&certificates.by_address().unwrap(), "127.0.0.1"));
}

#[test]
fn a_host_is_known_by_what_it_is_called() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::open(directory.path()).unwrap();
    let host = ["192.0.2.7".to_owned(), "Hearth.example.org".to_owned()];
    let certificates = Certificates::new(authority, &host).unwrap();
    let leaf = certificates.by_name("hearth.example.org").unwrap();
    for name in ["192.0.2.7", "127.0.0.1", "localhost", "hearth.example.org"] {
        assert!(covers(&leaf, name), "{name}");
    }
    assert!(!covers(&leaf, "192.0.2.8"));
    assert!(certificates.by_name("other.example.org").is_none());
}

#[test]
fn the_operators_certificate_goes_first_where_it_fits() {
    let directory = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["*.example.org".to_owned()]).unwrap();
    let (chain, key) = (directory.path().join("chain"), directory.path().join("key"));
    std::fs::write(&chain, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let certificates = open(directory.path()).with_own(&chain, &key).unwrap();
    assert!(certificates.is_ready("0192d3a4-0000-3000-8000-000000000001.example.org"));
    let shown = certificates
        .by_name("0192d3a4-0000-3000-8000-000000000001.example.org")
        .unwrap();
    assert_eq!(shown.cert[0], *own.cert.der());
    certificates.prepare("0192d3a4-0000-3000-8000-000000000001.hearth.test");
    let local = certificates
        .by_name("0192d3a4-0000-3000-8000-000000000001.hearth.test")
        .unwrap();
    assert_ne!(local.cert[0], *own.cert.der());
}

/// Finding L12: when the cache was full, all leaves were thrown away.
#[test]
fn the_leaf_that_was_not_asked_for_the_longest_makes_room() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = open(directory.path());
    certificates.prepare("busy.hearth.test");
    certificates.prepare("quiet.hearth.test");
    let busy = certificates.by_name("busy.hearth.test").unwrap();
    let begun = Instant::now();
    let quiet = lock(&certificates.leaves)["quiet.hearth.test"].leaf.clone();
    for number in 2..MAX_LEAVES {
        let cached = CachedLeaf {
            leaf: quiet.clone(),
            asked_at: begun,
        };
        lock(&certificates.leaves).insert(number.to_string(), cached);
    }
    certificates.prepare("one-more.hearth.test");
    assert_eq!(lock(&certificates.leaves).len(), MAX_LEAVES);
    assert!(!certificates.is_ready("quiet.hearth.test"));
    let still = certificates.by_name("busy.hearth.test").unwrap();
    assert!(Arc::ptr_eq(&busy, &still));
}

/// Finding L12: names that are nobody's cost so many signatures a second and no more.
#[test]
fn strange_names_are_signed_for_at_a_rate() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = open(directory.path());
    let signed = (0..1000).filter(|_| certificates.may_sign_for_unknown_name());
    assert!((100..200).contains(&signed.count()));
}
