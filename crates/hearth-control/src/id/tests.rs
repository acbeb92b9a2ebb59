use super::*;

#[test]
fn accounts_are_twelve_digits() {
    assert_eq!("000000000007".parse(), Ok(AccountId(7)));
    assert_eq!(AccountId(7).to_string(), "000000000007");
    for bad in [
        "",
        "7",
        "0000000000007",
        "00000000000a",
        "+00000000007",
        "aws",
    ] {
        assert!(bad.parse::<AccountId>().is_err(), "{bad}");
    }
    assert_eq!(AccountId::from_number(1_000_000_000_000), None);
}

#[test]
fn microvm_ids_look_like_those_of_aws() {
    let id = MicrovmId::generate();
    let text = id.to_string();
    assert_eq!(text.len(), "microvm-".len() + 36);
    assert_eq!(id.uuid().get_version_num(), 3);
    assert_eq!(text.parse(), Ok(id));
}

#[test]
fn ids_of_another_kind_are_refused() {
    let connector = ConnectorId::generate().to_string();
    assert!(connector.parse::<MicrovmId>().is_err());
    assert!("microvm-".parse::<MicrovmId>().is_err());
    assert!(
        "microvm-a991cd0b33213e2ca982d5c4db52b17a"
            .parse::<MicrovmId>()
            .is_err()
    );
    assert!(
        "microvm-a991cd0b-3321-3e2c-a982-d5c4db52b17g"
            .parse::<MicrovmId>()
            .is_err()
    );
}

/// Finding M11: in capitals an id passed by policies that name it.
#[test]
fn ids_have_one_spelling() {
    let id = ConnectorId::generate().to_string();
    assert!(id.parse::<ConnectorId>().is_ok());
    let (prefix, uuid) = id.split_once('-').unwrap();
    for other in [
        format!("{prefix}-{}", uuid.to_uppercase()),
        format!("{prefix}-{}", uuid.replace('-', "")),
        format!("{prefix}-{{{uuid}}}"),
        format!("{prefix}-urn:uuid:{uuid}"),
        id.to_uppercase(),
    ] {
        // Digits alone have no capitals.
        assert!(
            other == id || other.parse::<ConnectorId>().is_err(),
            "{other}"
        );
    }
}

#[test]
fn versions_have_one_spelling() {
    assert_eq!("12.0".parse(), Ok(VersionNumber(12)));
    assert_eq!(VersionNumber::FIRST.next().to_string(), "2.0");
    for bad in [
        "",
        "0.0",
        "1",
        "1.1",
        "01.0",
        "+1.0",
        "-1.0",
        ".0",
        "99999999999.0",
    ] {
        assert!(bad.parse::<VersionNumber>().is_err(), "{bad}");
    }
}

#[test]
fn names_are_bounded() {
    assert!("a".repeat(64).parse::<ImageName>().is_ok());
    assert!("a".repeat(65).parse::<ImageName>().is_err());
    assert!("a b".parse::<ImageName>().is_err());
    assert!("".parse::<ImageName>().is_err());
}
