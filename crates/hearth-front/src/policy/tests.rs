use proptest::prelude::*;

use super::glob::Glob;
use super::*;

const GET: &str = "s3:GetObject";
const OBJECT: &str = "arn:aws:s3:::bucket/a/b";

fn document(statements: &str) -> Document {
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": {statements}}}"#);
    Document::parse(&text, DocumentKind::Identity).unwrap()
}

fn ask(documents: &[Document], action: &str, resource: &str) -> Decision {
    ask_with(documents, action, resource, &Facts::new())
}

fn ask_with(documents: &[Document], action: &str, resource: &str, facts: &Facts) -> Decision {
    let question = Question {
        principals: &[],
        action,
        resources: &[resource.to_owned()],
        facts,
    };
    decide(documents, &question)
}

fn allow(action: &str, resource: &str) -> String {
    format!(r#"{{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}"#)
}

fn deny(action: &str, resource: &str) -> String {
    allow(action, resource).replace("Allow", "Deny")
}

#[test]
fn nothing_is_allowed_by_nothing() {
    assert_eq!(ask(&[], GET, OBJECT), Decision::NotAllowed);
    assert_eq!(ask(&[document("[]")], GET, OBJECT), Decision::NotAllowed);
}

#[test]
fn actions_and_resources_have_wildcards() {
    for (action, resource) in [
        ("s3:GetObject", "arn:aws:s3:::bucket/a/b"),
        ("s3:Get*", "arn:aws:s3:::bucket/*"),
        ("S3:getOBJECT", "*"),
        ("*", "arn:aws:s3:::buc???/a/b"),
    ] {
        let allowed = [document(&allow(action, resource))];
        assert_eq!(
            ask(&allowed, GET, OBJECT),
            Decision::Allowed,
            "{action} {resource}"
        );
    }
    for (action, resource) in [
        ("s3:GetObjectAcl", "*"),
        ("s3:Put*", "*"),
        ("*", "arn:aws:s3:::bucket"),
        ("*", "arn:aws:s3:::Bucket/*"),
        ("*", "arn:aws:s3:::bucket/a/?/b"),
        ("*", ""),
    ] {
        let others = [document(&allow(action, resource))];
        assert_eq!(
            ask(&others, GET, OBJECT),
            Decision::NotAllowed,
            "{action} {resource}"
        );
    }
}

#[test]
fn a_denial_wins_wherever_it_stands() {
    let (open, closed) = (
        allow("*", "*"),
        deny("s3:GetObject", "arn:aws:s3:::bucket/a/*"),
    );
    for documents in [
        vec![document(&format!("[{open}, {closed}]"))],
        vec![document(&format!("[{closed}, {open}]"))],
        vec![document(&open), document(&closed)],
        vec![document(&closed), document(&open)],
    ] {
        assert_eq!(ask(&documents, GET, OBJECT), Decision::DeniedExplicitly);
        assert_eq!(
            ask(&documents, GET, "arn:aws:s3:::bucket/c"),
            Decision::Allowed
        );
    }
}

#[test]
fn what_is_not_named_is_covered_by_the_negations() {
    let but =
        r#"{"Effect": "Allow", "NotAction": "s3:Delete*", "NotResource": "arn:aws:s3:::secret/*"}"#;
    let documents = [document(but)];
    assert_eq!(ask(&documents, GET, OBJECT), Decision::Allowed);
    assert_eq!(
        ask(&documents, "s3:DeleteObject", OBJECT),
        Decision::NotAllowed
    );
    assert_eq!(
        ask(&documents, GET, "arn:aws:s3:::secret/k"),
        Decision::NotAllowed
    );
}

#[test]
fn what_is_not_understood_closes() {
    let odd = [
        r#", "Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}"#,
        r#", "Condition": {"StringEquals": {"aws:PrincipalTag/team": "a"}}"#,
        r#", "Condition": {"StringEquals": {"s3:prefix": "${aws:username}"}}"#,
        r#", "Condition": {"ForAnyValue:StringEquals": {"s3:prefix": "a"}}"#,
    ];
    let facts = Facts::from([("s3:prefix", Some("a".to_owned()))]);
    for condition in odd {
        let with = |statement: String| statement.replace('}', &format!("{condition}}}"));
        let open = document(&with(allow("*", "*")));
        assert_eq!(
            ask_with(&[open], GET, OBJECT, &facts),
            Decision::NotAllowed,
            "{condition}"
        );
        let closed = [document(&allow("*", "*")), document(&with(deny("*", "*")))];
        assert_eq!(
            ask_with(&closed, GET, OBJECT, &facts),
            Decision::DeniedExplicitly,
            "{condition}"
        );
        // Unless it is about something else altogether.
        let elsewhere = [
            document(&allow("*", "*")),
            document(&with(deny("sts:*", "*"))),
        ];
        assert_eq!(
            ask_with(&elsewhere, GET, OBJECT, &facts),
            Decision::Allowed,
            "{condition}"
        );
    }
    let variable = "arn:aws:s3:::${aws:username}/*";
    assert_eq!(
        ask(&[document(&allow("*", variable))], GET, OBJECT),
        Decision::NotAllowed
    );
    let closed = [document(&allow("*", "*")), document(&deny("*", variable))];
    assert_eq!(ask(&closed, GET, OBJECT), Decision::DeniedExplicitly);
}

#[test]
fn conditions_on_what_is_known() {
    let listing = |operator: &str, values: &str| {
        let condition = format!(r#"{{"{operator}": {{"S3:Prefix": {values}}}}}"#);
        let statement = allow("*", "*").replace('}', &format!(r#", "Condition": {condition}}}"#));
        [document(&statement)]
    };
    let cases = [
        ("StringEquals", r#""home/""#, Some("home/"), true),
        ("StringEquals", r#"["x", "home/"]"#, Some("home/"), true),
        ("StringEquals", r#""home/""#, Some("home/a"), false),
        ("StringEquals", r#""""#, None, false),
        ("StringLike", r#""home/*""#, Some("home/a"), true),
        ("StringNotEquals", r#""home/""#, Some("other"), true),
        ("StringNotEquals", r#""home/""#, None, true),
        ("StringNotLike", r#""ho*""#, Some("home/"), false),
    ];
    for (operator, values, prefix, is_allowed) in cases {
        let facts = Facts::from([("s3:prefix", prefix.map(str::to_owned))]);
        let decision = ask_with(&listing(operator, values), "s3:ListBucket", "r", &facts);
        assert_eq!(
            decision == Decision::Allowed,
            is_allowed,
            "{operator} {values} {prefix:?}"
        );
    }
}

#[test]
fn a_resource_is_known_by_all_its_spellings() {
    let question = |resources: &[String], document: &Document| {
        let facts = Facts::new();
        let question = Question {
            principals: &[],
            action: "logs:CreateLogGroup",
            resources,
            facts: &facts,
        };
        decide([document], &question)
    };
    let group = "arn:aws:logs:r:1:log-group:g".to_owned();
    let spellings = [format!("{group}:log-stream:"), group.clone()];
    for pattern in [
        format!("{group}:*"),
        group.clone(),
        "arn:aws:logs:*:*:*".to_owned(),
    ] {
        assert_eq!(
            question(&spellings, &document(&allow("logs:*", &pattern))),
            Decision::Allowed
        );
        let closed = format!("[{}, {}]", allow("*", "*"), deny("logs:*", &pattern));
        assert_eq!(
            question(&spellings, &document(&closed)),
            Decision::DeniedExplicitly
        );
    }
}

#[test]
fn who_may_take_a_role() {
    let trust = |principal: &str, rest: &str| {
        let text = format!(
            r#"{{"Statement": {{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {principal}{rest}}}}}"#
        );
        let facts = Facts::from([("aws:sourceaccount", Some("1".to_owned()))]);
        let question = Question {
            principals: &["Service:lambda.amazonaws.com".to_owned()],
            action: "sts:AssumeRole",
            resources: &[],
            facts: &facts,
        };
        decide(
            &[Document::parse(&text, DocumentKind::Trust).unwrap()],
            &question,
        ) == Decision::Allowed
    };
    assert!(trust(r#"{"Service": "lambda.amazonaws.com"}"#, ""));
    assert!(trust(
        r#"{"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]}"#,
        ""
    ));
    assert!(trust(r#""*""#, ""));
    assert!(!trust(r#"{"Service": "ec2.amazonaws.com"}"#, ""));
    assert!(!trust(r#"{"AWS": "*"}"#, ""));
    let source = |account: &str| {
        format!(r#", "Condition": {{"StringEquals": {{"aws:SourceAccount": "{account}"}}}}"#)
    };
    assert!(trust(
        r#"{"Service": "lambda.amazonaws.com"}"#,
        &source("1")
    ));
    assert!(!trust(
        r#"{"Service": "lambda.amazonaws.com"}"#,
        &source("2")
    ));
}

/// The account stands for all of its roles, a role for its sessions, and nobody for another account.
#[test]
fn accounts_roles_and_sessions_are_principals() {
    let root = "AWS:arn:aws:iam::000000000001:root";
    let role = "AWS:arn:aws:iam::000000000001:role/a/app";
    let session = "AWS:arn:aws:sts::000000000001:assumed-role/app/s";
    let decided = |effect: &str, principal: &str, asking: &[&str]| {
        let allowed = r#"{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*"}"#;
        let text = format!(
            r#"{{"Statement": [{}{{"Effect": "{effect}", "Action": "sts:AssumeRole", "Principal": {principal}}}]}}"#,
            if effect == "Deny" {
                format!("{allowed}, ")
            } else {
                String::new()
            }
        );
        let asking: Vec<_> = asking.iter().map(|name| (*name).to_owned()).collect();
        let question = Question {
            principals: &asking,
            action: "sts:AssumeRole",
            resources: &[],
            facts: &Facts::new(),
        };
        decide(
            &[Document::parse(&text, DocumentKind::Trust).unwrap()],
            &question,
        )
    };
    let allows =
        |principal: &str, asking: &[&str]| decided("Allow", principal, asking) == Decision::Allowed;
    for account in [
        r#"{"AWS": "000000000001"}"#,
        r#"{"AWS": ["arn:aws:iam::000000000001:root"], "Federated": "f"}"#,
    ] {
        assert!(allows(account, &[root]), "{account}");
        assert!(allows(account, &[root, role, session]), "{account}");
        assert!(!allows(account, &[role, session]), "{account}");
    }
    assert!(!allows(
        r#"{"AWS": "000000000002"}"#,
        &[root, role, session]
    ));
    let named = r#"{"AWS": "arn:aws:iam::000000000001:role/a/app"}"#;
    assert!(allows(named, &[role, session]));
    assert!(!allows(named, &[root]));
    assert!(allows(r#"{"AWS": "*"}"#, &[role]));
    assert!(!allows(r#"{"Federated": "*"}"#, &[role]));
    // A service cannot be named as an account, nor the other way round.
    assert!(!allows(
        r#"{"AWS": "lambda.amazonaws.com"}"#,
        &["Service:lambda.amazonaws.com"]
    ));
    let denies = |principal: &str, asking: &str| {
        decided("Deny", principal, &[asking]) == Decision::DeniedExplicitly
    };
    assert!(denies(r#"{"AWS": "*"}"#, "Service:lambda.amazonaws.com"));
    assert!(denies(r#"{"AWS": "*"}"#, role));
    assert!(!denies(r#"{"AWS": "000000000001"}"#, role));
    let partial = r#"{"Statement": {"Effect": "Allow", "Action": "*", "Principal": {"AWS": "arn:aws:iam::*:root"}}}"#;
    assert!(Document::parse(partial, DocumentKind::Trust).is_err());
}

#[test]
fn what_is_no_policy_is_refused() {
    for text in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"Statement": 1}"#,
        r#"{"Statement": [1]}"#,
        r#"{"Statement": [], "Statements": []}"#,
        r#"{"Version": "2013-01-01", "Statement": []}"#,
        r#"{"Statement": {"Effect": "allow", "Action": "*", "Resource": "*"}}"#,
        r#"{"Statement": {"Effect": "Allow", "Action": "*"}}"#,
        r#"{"Statement": {"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}}"#,
        r#"{"Statement": {"Effect": "Allow", "Action": 1, "Resource": "*"}}"#,
        r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": ["*", 1]}}"#,
        r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"}}"#,
        r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": []}}"#,
    ] {
        assert!(
            Document::parse(text, DocumentKind::Identity).is_err(),
            "{text}"
        );
    }
}

/// What the definition says, without regard to cost.
fn matches_by_definition(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => {
            (0..=text.len()).any(|skip| matches_by_definition(rest, &text[skip..]))
        }
        (Some(('?', rest)), Some((_, more))) => matches_by_definition(rest, more),
        (Some((wanted, rest)), Some((found, more))) => {
            wanted == found && matches_by_definition(rest, more)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_is_what_the_definition_says(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(
            Glob::new(&pattern).matches(&text),
            matches_by_definition(&chars(&pattern), &chars(&text))
        );
    }

    #[test]
    fn no_text_panics(text in ".{0,200}", statement in "[\\[\\]{}\":, A-Za-z*]{0,120}") {
        for kind in [DocumentKind::Identity, DocumentKind::Trust] {
            let _ = Document::parse(&text, kind);
            let _ = Document::parse(&format!(r#"{{"Statement": {statement}}}"#), kind);
        }
    }

    /// More denials never open anything, and more allowances never overcome a denial.
    #[test]
    fn denials_only_close(
        statements in prop::collection::vec(("(Allow|Deny)", "s3:(Get|Put|\\*)[a-z*]{0,3}", "[ab*?/]{0,4}"), 0..6),
        action in "s3:(Get|Put)[a-z]{0,3}",
        resource in "[ab/]{0,4}",
    ) {
        let write = |(effect, action, resource): &(String, String, String)| {
            format!(r#"{{"Effect": "{effect}", "Action": "{action}", "Resource": "{resource}"}}"#)
        };
        let join = |statements: &[String]| document(&format!("[{}]", statements.join(",")));
        let all: Vec<_> = statements.iter().map(write).collect();
        let denials: Vec<_> = all.iter().filter(|text| text.contains("Deny")).cloned().collect();
        let decided = ask(&[join(&all)], &action, &resource);
        let denied = ask(&[join(&denials)], &action, &resource) == Decision::DeniedExplicitly;
        prop_assert_eq!(decided == Decision::DeniedExplicitly, denied);
        let open = ask(&[join(&all), document(&allow("*", "*"))], &action, &resource);
        prop_assert_eq!(open, if denied { Decision::DeniedExplicitly } else { Decision::Allowed });
    }
}
