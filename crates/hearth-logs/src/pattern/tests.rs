use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, message: &str) -> bool {
    Pattern::parse(pattern).unwrap().matches(message)
}

#[test]
fn terms_are_words_phrases_alternatives_and_exclusions() {
    let message = "ERROR 401: the user's token was not found";
    for pattern in [
        "",
        "ERROR",
        "ERROR token",
        "\"not found\"",
        "?WARN ?ERROR",
        "ERROR -retry",
        "%40[0-9]%",
        "%WARN|ERROR% token",
        "?",
    ] {
        assert!(matches(pattern, message), "{pattern}");
    }
    for pattern in [
        "error",
        "ERROR WARN",
        "\"found not\"",
        "?WARN ?INFO",
        "ERROR -token",
        "-%[0-9]{3}%",
        "%^token%",
    ] {
        assert!(!matches(pattern, message), "{pattern}");
    }
    assert!(matches(r#""a \"b\"""#, r#"a "b" c"#));
}

/// The forms of the User Guide, over an event like the one there.
#[test]
fn members_of_json() {
    let event = r#"{"eventType":"UpdateTrail","sourceIPAddress":"111.111.111.111","level":"ERROR","ms":12.5,"status":404,
        "ok":false,"deep":{"a.b":"dots","none":null,"big":1e3},"users":[{"id":1,"email":"j@example.com"},{"id":2}],
        "text":"say \"hi\"","list":[1,2]}"#;
    for pattern in [
        r#"{ $.eventType = "UpdateTrail" }"#,
        "{ $.eventType = UpdateTrail }",
        "{$.eventType=Update*}",
        r#"{ $.eventType = "*Trail" }"#,
        r#"{ $.eventType = "U*date*T*l" }"#,
        "{ $.sourceIPAddress != 123.123.* }",
        r#"{ $.level = "ERROR" && $.ms > 10 }"#,
        "{ $.ms <= 12.5 && $.ms >= 1.25e1 }",
        "{ $.status = 404 }",
        "{ $.status = 4.04e2 }",
        "{ $.status = 4* }",
        r#"{ $.status = "*" }"#,
        "{ $.deep.big = 1000 }",
        "{ $.ok IS FALSE }",
        "{ $.ok = false }",
        "{ $.deep.none IS NULL }",
        "{ $.missing NOT EXISTS }",
        "{ $.missing.too NOT EXISTS && $.list[2] NOT EXISTS }",
        "{ $.users[1].id = 2 }",
        r#"{ ($.users[0].id = 1) && ($.users[0].email = "j@example.com") }"#,
        r#"{ $.level = "INFO" || $.level = "WARN" || ($.status != 200 && $.ok is false) }"#,
        "{ $.level = INFO && $.ms > 1 || $.status = 404 }",
        "{ $.deep.['a.b'] = dots }",
        r#"{ $["deep"]["a.b"] = "dots" }"#,
        "{ $.level = %^ERR|WARN$% }",
        r#"{ $.text = "say \"hi\"" }"#,
    ] {
        assert!(matches(pattern, event), "{pattern}");
    }
    for pattern in [
        "{ $.eventType = updatetrail }",
        "{ $.eventType = Update }",
        r#"{ $.eventType = "Trail*" }"#,
        "{ $.ms > 12.5 }",
        "{ $.level > 1 }",
        "{ $.missing = x }",
        "{ $.missing != x }",
        "{ $.deep = * }",
        "{ $.list != x }",
        "{ $.deep.none = * }",
        "{ $.ok IS TRUE }",
        "{ $.missing IS NULL }",
        "{ $.level NOT EXISTS }",
        "{ $.level = INFO && ($.ms > 1 || $.status = 404) }",
        "{ $.users[2].id = 2 }",
        "{ $.users.id = 1 }",
    ] {
        assert!(!matches(pattern, event), "{pattern}");
    }
    for message in ["", "level ERROR", "[1]", r#"{"level":"ERROR""#, "null"] {
        assert!(
            !matches("{ $.level NOT EXISTS || $.level = * }", message),
            "{message}"
        );
    }
}

#[test]
fn columns_between_spaces() {
    let line =
        r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
    for pattern in [
        "[ip, server, user, time, request, status, bytes]",
        "[ip, server, user, time, request, status=404, bytes>1000]",
        "[ip, server, user, time, request=*.html*, status=4*, bytes]",
        "[ip, ..., status=404 || status=410, bytes]",
        "[..., bytes>=1534]",
        "[ip=%^127%, ...]",
        r#"[ip, server, user="frank", ...]"#,
        "[ip, server, user!=alice, ..., status!=200 && status!=300, bytes]",
        "[...]",
        "[,,,,,,]",
    ] {
        assert!(matches(pattern, line), "{pattern}");
    }
    for pattern in [
        "[ip, server, user]",
        "[ip, server, user, time, request, status=200, bytes]",
        "[..., bytes<1534]",
        "[ip=10.*, ...]",
        "[a, b, c, d, e, ..., f, g, h]",
        "[status>1, ...]",
    ] {
        assert!(!matches(pattern, line), "{pattern}");
    }
    assert!(matches("[a, b]", "\"open quotation"));
}

#[test]
fn what_is_no_pattern_says_where_and_why() {
    let told = |pattern: &str| Pattern::parse(pattern).unwrap_err().to_string();
    for (pattern, error) in [
        ("\"open", "at character 6: expected a quotation mark"),
        (
            "{ $.a = 1",
            "at character 10: expected &&, || or a closing brace",
        ),
        (
            "{ $.a 1 }",
            "at character 7: expected one of =, !=, <, >, <=, >=, IS, NOT EXISTS",
        ),
        (
            "{ a = 1 }",
            "at character 3: expected a member, such as $.level",
        ),
        ("{ $.a > x }", "at character 10: expected a number"),
        ("{ $.a = }", "at character 9: expected a value"),
        (
            "{ $.a = 1 } x",
            "at character 13: expected the end of the pattern",
        ),
        (
            "{ $.a IS 1 }",
            "at character 10: expected TRUE, FALSE or NULL",
        ),
        (
            "[a, b",
            "at character 6: expected a comma or a closing bracket",
        ),
        (
            "[a=1 || b=2]",
            "at character 10: expected the same column again",
        ),
        (
            "%open",
            "at character 6: expected a percent sign at the end of the regular expression",
        ),
    ] {
        assert_eq!(told(pattern), error, "{pattern}");
    }
    assert!(told("%a(b)%").starts_with("the regular expression %a(b)% is malformed"));
    assert!(told("%a{1000}{1000}%").starts_with("the regular expression"));
    let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(40), ")".repeat(40));
    assert_eq!(told(&deep), "parentheses are nested too deeply");
    assert_eq!(told(&"x".repeat(1025)), "it has more than 1024 characters");
}

proptest! {
    /// Nothing that a stranger sends ends the thread that reads it.
    #[test]
    fn no_text_panics(text in "[\\PC]{0,40}", message in "[\\PC]{0,40}") {
        for pattern in [text.clone(), format!("{{{text}}}"), format!("[{text}]"), format!("{{ $.a {text} }}")] {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let _ = pattern.matches(&message);
                let _ = pattern.matches(&format!("{{\"a\":\"{message}\"}}"));
            }
        }
    }
}
