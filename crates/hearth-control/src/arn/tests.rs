use proptest::prelude::*;

use super::*;

#[test]
fn arns_come_back_as_they_went() {
    for text in [
        "arn:aws:lambda:us-east-1:000000000000:microvm-image:web_1",
        "arn:aws:lambda:us-east-1:000000000000:network-connector:nc-a991cd0b-3321-3e2c-a982-d5c4db52b17a",
        "arn:aws:lambda:us-east-1:000000000000:network-connector:nc-a991cd0b-3321-3e2c-a982-d5c4db52b17a:3",
    ] {
        assert_eq!(text.parse::<TaggedArn>().unwrap().to_string(), text);
    }
    let base = "arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1";
    assert_eq!(base.parse::<ManagedImageArn>().unwrap().to_string(), base);
    assert_eq!(base.parse::<ImageArn>(), Err(ArnError::Foreign));
}

#[test]
fn managed_connectors_are_known_by_name() {
    let prefix = "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:";
    for connector in ManagedConnector::ALL {
        let text = format!("{prefix}{}", connector.name());
        assert_eq!(text.parse::<ConnectorRef>().unwrap().to_string(), text);
    }
    let parse = |text: &str| text.parse::<ConnectorRef>();
    assert_eq!(
        parse(&format!("{prefix}SOME_INGRESS")),
        Err(ConnectorRefError::UnknownManaged)
    );
    assert_eq!(
        parse(&format!("{prefix}NO_INGRESS:1")),
        Err(ConnectorRefError::Malformed)
    );
    assert_eq!(parse("web"), Err(ConnectorRefError::Malformed));
}

#[test]
fn what_is_wrong_is_told_apart() {
    let parse = |text: &str| text.parse::<ImageArn>();
    assert_eq!(parse("web"), Err(ArnError::NotAnArn));
    assert_eq!(parse("arn:aws:lambda:us-east-1"), Err(ArnError::Foreign));
    assert_eq!(
        parse("arn:aws:s3:us-east-1:000000000000:microvm-image:web"),
        Err(ArnError::Foreign)
    );
    assert_eq!(
        parse("arn:aws:lambda:us-east-1:000000000000:microvm-image/web"),
        Err(ArnError::Resource)
    );
    assert_eq!(
        parse("arn:aws:lambda:us-east-1:000000000000:microvm-image:a:b"),
        Err(ArnError::Resource)
    );
    let zero = "arn:aws:lambda:us-east-1:000000000000:network-connector:nc-a991cd0b-3321-3e2c-a982-d5c4db52b17a:0";
    assert_eq!(zero.parse::<ConnectorArn>(), Err(ArnError::Resource));
}

proptest! {
    #[test]
    fn no_text_makes_parsing_panic(text in ".{0,200}", tail in "[a-z0-9:/_-]{0,80}") {
        let _ = text.parse::<TaggedArn>();
        let _ = format!("arn:aws:lambda:us-east-1:{tail}").parse::<ConnectorRef>();
    }
}
