use http::Request;

use super::*;

const NOW_S: i64 = 1_800_000_000;

const V4: &str = "AWS4-HMAC-SHA256 Credential=K/20260101/eu-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00";

const PRESIGNED: &str = "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=K%2F20260101%2Feu-1%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=00";

fn judge(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), &'static str> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    admit(&head, NOW_S).map_err(|refused| refused.code)
}

#[test]
fn what_clients_send_is_admitted() {
    let signed = [
        ("authorization", V4),
        ("x-amz-date", "20260101T000000Z"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ];
    assert_eq!(judge("PUT", "/b/k", &signed), Ok(()));
    assert_eq!(judge("GET", PRESIGNED, &[]), Ok(()));
    assert_eq!(
        judge("PUT", PRESIGNED, &[("content-type", "multipart/form-data")]),
        Ok(())
    );
    assert_eq!(
        judge("PUT", PRESIGNED, &[("x-amz-content-sha256", "00")]),
        Ok(())
    );
    let version_2 = format!("/b/k?AWSAccessKeyId=K&Signature=s&Expires={}", NOW_S + 3600);
    assert_eq!(
        judge("GET", &version_2, &[("x-amz-meta-a", "signed")]),
        Ok(())
    );
}

#[test]
fn forms_are_refused_whoever_signs_them() {
    // The last two are forms to `s3s`, which reads headers as UTF-8 and leaves out what follows a `+`.
    for kind in [
        "multipart/form-data; boundary=b",
        "Multipart/Form-Data",
        "multipart/form-data+x; boundary=b",
        "multipart/form-data; boundary=b; x=\"\u{e9}\"",
    ] {
        let form = ("content-type", kind);
        assert_eq!(
            judge("POST", "/b?AWSAccessKeyId=K", &[form]),
            Err("NotImplemented")
        );
        assert_eq!(judge("POST", PRESIGNED, &[form]), Err("NotImplemented"));
        assert_eq!(
            judge("POST", "/b", &[form, ("authorization", V4)]),
            Err("NotImplemented")
        );
    }
}

#[test]
fn every_amz_header_is_signed() {
    for name in [
        "x-amz-copy-source",
        "x-amz-meta-a",
        "x-amz-acl",
        "x-amz-tagging",
        "x-amz-security-token",
    ] {
        assert_eq!(
            judge("PUT", PRESIGNED, &[(name, "x")]),
            Err("AccessDenied"),
            "{name}"
        );
        let with_signature = [("authorization", V4), (name, "x")];
        assert_eq!(
            judge("PUT", "/b/k", &with_signature),
            Err("AccessDenied"),
            "{name}"
        );
    }
    let signed = PRESIGNED.replace("SignedHeaders=host", "SignedHeaders=host%3Bx-amz-meta-a");
    assert_eq!(judge("PUT", &signed, &[("x-amz-meta-a", "x")]), Ok(()));
    // Another prefix: what proxies and tracers add.
    assert_eq!(judge("PUT", PRESIGNED, &[("x-amzn-trace-id", "x")]), Ok(()));
}

#[test]
fn old_and_doubtful_signatures_are_refused() {
    let version_2 = ("authorization", "AWS K:signature");
    assert_eq!(judge("GET", "/b/k", &[version_2]), Err("InvalidRequest"));
    assert_eq!(
        judge("GET", "/b?AWSAccessKeyId=K", &[version_2]),
        Err("InvalidRequest")
    );
    assert_eq!(
        judge("GET", "/b?AWSAccessKeyId=K", &[]),
        Err("AccessDenied")
    );
    assert_eq!(
        judge("GET", PRESIGNED, &[("authorization", V4)]),
        Err("InvalidArgument")
    );
    let two = format!("{PRESIGNED}&Signature=s");
    assert_eq!(judge("GET", &two, &[]), Err("InvalidArgument"));
    let twice = [("authorization", V4), ("authorization", V4)];
    assert_eq!(judge("GET", "/b/k", &twice), Err("InvalidArgument"));
    let hidden = format!("/b/k?{}X-Amz-Signature=00", "a=b&".repeat(MAX_PARAMETERS));
    assert_eq!(judge("GET", &hidden, &[]), Err("InvalidRequest"));
}

#[test]
fn nothing_is_presigned_for_longer_than_a_week() {
    for (expires, outcome) in [
        ("604800", Ok(())),
        ("604801", Err("AuthorizationQueryParametersError")),
        ("-1", Err("AuthorizationQueryParametersError")),
        ("", Err("AuthorizationQueryParametersError")),
    ] {
        let uri = PRESIGNED.replace("X-Amz-Expires=3600", &format!("X-Amz-Expires={expires}"));
        assert_eq!(judge("GET", &uri, &[]), outcome, "{expires}");
    }
    let until = |moment: i64| format!("/b/k?AWSAccessKeyId=K&Signature=s&Expires={moment}");
    assert_eq!(judge("GET", &until(NOW_S + MAX_EXPIRES_S), &[]), Ok(()));
    assert_eq!(
        judge("GET", &until(NOW_S + MAX_EXPIRES_S + 1), &[]),
        Err("AccessDenied")
    );
}

/// `s3s` does not see a header that is no UTF-8, and so takes the one behind it.
#[test]
fn a_form_is_seen_behind_a_header_that_is_no_text() {
    let request = Request::post("/b")
        .header(
            "content-type",
            http::HeaderValue::from_bytes(b"\xff").unwrap(),
        )
        .header("content-type", "multipart/form-data; boundary=b")
        .header("authorization", V4);
    let (head, ()) = request.body(()).unwrap().into_parts();
    let refused = admit(&head, NOW_S).unwrap_err();
    assert_eq!(refused.code, "NotImplemented");
}
