//! Pages of other origins (CORS): the rules of a bucket, the question of a browser before a request, and what it is
//! told behind one.

use hearth_objects::{BucketSettings, CorsRule};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::dto::{
    CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput,
    GetBucketCorsOutput, PutBucketCorsInput, PutBucketCorsOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, s3_error};

use super::store::AccountBuckets;

/// Rules of a bucket (S3's own bound).
const MAX_RULES: usize = 100;

/// Bytes of the rules of a bucket (S3's own bound).
const MAX_BYTES: usize = 64 * 1024;

/// Methods that a rule may name.
const METHODS: &[&str] = &["GET", "PUT", "HEAD", "POST", "DELETE"];

/// What an answer depends on.
const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

pub(super) async fn put_bucket_cors(
    buckets: &AccountBuckets,
    request: S3Request<PutBucketCorsInput>,
) -> S3Result<PutBucketCorsOutput> {
    let rules = request.input.cors_configuration.cors_rules;
    let rules: Vec<_> = rules.into_iter().map(rule).collect::<S3Result<_>>()?;
    let bytes = rules.iter().map(bytes).sum::<usize>();
    if rules.is_empty() || rules.len() > MAX_RULES || bytes > MAX_BYTES {
        return Err(s3_error!(
            MalformedXML,
            "A CORS configuration has 1 to {} rules and at most {} bytes.",
            MAX_RULES,
            MAX_BYTES
        ));
    }
    set(buckets, request.input.bucket, rules).await?;
    Ok(PutBucketCorsOutput::default())
}

pub(super) async fn get_bucket_cors(
    buckets: &AccountBuckets,
    request: S3Request<GetBucketCorsInput>,
) -> S3Result<GetBucketCorsOutput> {
    let settings = settings(buckets, request.input.bucket).await?;
    if settings.cors.is_empty() {
        return Err(s3_error!(
            NoSuchCORSConfiguration,
            "The CORS configuration does not exist"
        ));
    }
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let rules = settings.cors.into_iter().map(|rule| CORSRule {
        allowed_headers: some(rule.headers),
        allowed_methods: rule.methods,
        allowed_origins: rule.origins,
        expose_headers: some(rule.exposed),
        id: rule.id,
        max_age_seconds: rule.max_age_s,
    });
    Ok(GetBucketCorsOutput {
        cors_rules: Some(rules.collect()),
    })
}

pub(super) async fn delete_bucket_cors(
    buckets: &AccountBuckets,
    request: S3Request<DeleteBucketCorsInput>,
) -> S3Result<DeleteBucketCorsOutput> {
    set(buckets, request.input.bucket, Vec::new()).await?;
    Ok(DeleteBucketCorsOutput::default())
}

async fn set(buckets: &AccountBuckets, bucket: String, rules: Vec<CorsRule>) -> S3Result<()> {
    buckets
        .with_store(move |store, account| {
            store.change_bucket(account, &bucket, move |settings| {
                settings.cors.clone_from(&rules);
            })
        })
        .await
}

async fn settings(buckets: &AccountBuckets, bucket: String) -> S3Result<BucketSettings> {
    buckets
        .with_store(move |store, account| store.bucket_settings(account, &bucket))
        .await
}

/// Checks a rule as S3 does.
fn rule(asked: CORSRule) -> S3Result<CorsRule> {
    let rule = CorsRule {
        id: asked.id,
        origins: asked.allowed_origins,
        methods: asked.allowed_methods,
        headers: asked.allowed_headers.unwrap_or_default(),
        exposed: asked.expose_headers.unwrap_or_default(),
        max_age_s: asked.max_age_seconds,
    };
    if let Some(other) = rule
        .methods
        .iter()
        .find(|method| !METHODS.contains(&method.as_str()))
    {
        return Err(s3_error!(
            InvalidRequest,
            "Found unsupported HTTP method in CORS config. Unsupported method is {}",
            other
        ));
    }
    for (what, list) in [
        ("AllowedOrigin", &rule.origins),
        ("AllowedHeader", &rule.headers),
    ] {
        if let Some(other) = list.iter().find(|text| text.matches('*').count() > 1) {
            return Err(s3_error!(
                InvalidRequest,
                "{} \"{}\" can not have more than one wildcard.",
                what,
                other
            ));
        }
    }
    let exposed = rule.exposed.iter();
    let mut unreadable = exposed.filter(|name| HeaderName::try_from(name.as_str()).is_err());
    if let Some(other) = unreadable.next() {
        return Err(s3_error!(
            InvalidRequest,
            "ExposeHeader \"{}\" contains invalid character.",
            other
        ));
    }
    if rule.methods.is_empty() || rule.origins.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "A CORS rule has a method and an origin."
        ));
    }
    Ok(rule)
}

fn bytes(rule: &CorsRule) -> usize {
    let lists = [&rule.origins, &rule.methods, &rule.headers, &rule.exposed];
    let texts = lists.into_iter().flatten().chain(&rule.id);
    texts.map(String::len).sum()
}

/// What a browser asks about, or what it did.
struct Question<'a> {
    origin: &'a str,
    method: &'a str,
    /// Headers that the request will have.
    headers: Vec<&'a str>,
}

/// The answer to a browser's question before its request: headers, or that the request is not allowed.
pub(super) async fn preflight(buckets: &AccountBuckets, head: &Parts) -> S3Result<HeaderMap> {
    let text = |name: HeaderName| {
        let value = head.headers.get(name);
        value.and_then(|value| value.to_str().ok())
    };
    let origin = text(header::ORIGIN).ok_or_else(|| {
        s3_error!(
            InvalidRequest,
            "Insufficient information. Origin request header needed."
        )
    })?;
    let method = text(header::ACCESS_CONTROL_REQUEST_METHOD).ok_or_else(|| {
        s3_error!(
            InvalidRequest,
            "Invalid Access-Control-Request-Method: null"
        )
    })?;
    let headers = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let question = Question {
        origin,
        method,
        headers: headers
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect(),
    };
    let rules = rules_of(buckets, head).await;
    let rule = rules.iter().find(|rule| question.is_allowed_by(rule));
    let rule = rule.ok_or_else(forbidden)?;
    let mut told = question.told_by(rule);
    if !question.headers.is_empty() {
        let headers = question.headers.join(", ").to_ascii_lowercase();
        put(&mut told, header::ACCESS_CONTROL_ALLOW_HEADERS, &headers);
    }
    Ok(told)
}

fn forbidden() -> S3Error {
    let text = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";
    let code = S3ErrorCode::from_bytes(b"AccessForbidden").unwrap_or(S3ErrorCode::AccessDenied);
    let mut error = S3Error::with_message(code, text);
    error.set_status_code(StatusCode::FORBIDDEN);
    error
}

/// Tells a browser behind its request whether the page may read the answer.
pub(super) async fn tell(buckets: &AccountBuckets, head: &Parts, answer: &mut HeaderMap) {
    let Some(origin) = head.headers.get(header::ORIGIN) else {
        return;
    };
    let question = Question {
        origin: origin.to_str().unwrap_or_default(),
        method: head.method.as_str(),
        headers: Vec::new(),
    };
    let rules = rules_of(buckets, head).await;
    if let Some(rule) = rules.iter().find(|rule| question.is_allowed_by(rule)) {
        answer.extend(question.told_by(rule));
    }
}

/// The rules of the bucket in a request's path; none of one that is not there.
async fn rules_of(buckets: &AccountBuckets, head: &Parts) -> Vec<CorsRule> {
    let path = head.uri.path().trim_start_matches('/');
    let bucket = path.split('/').next().unwrap_or_default().to_owned();
    let settings = settings(buckets, bucket).await;
    settings.map_or_else(|_| Vec::new(), |settings| settings.cors)
}

impl Question<'_> {
    fn is_allowed_by(&self, rule: &CorsRule) -> bool {
        let origins = rule.origins.iter();
        let mut origins = origins.filter(|pattern| matches(pattern, self.origin));
        let is_header_allowed = |name: &&str| {
            let name = name.to_ascii_lowercase();
            let mut patterns = rule.headers.iter();
            patterns.any(|pattern| matches(&pattern.to_ascii_lowercase(), &name))
        };
        origins.next().is_some()
            && rule.methods.iter().any(|method| method == self.method)
            && self.headers.iter().all(is_header_allowed)
    }

    fn told_by(&self, rule: &CorsRule) -> HeaderMap {
        let mut told = HeaderMap::new();
        let is_any = rule.origins.iter().any(|origin| origin == "*");
        let origin = if is_any { "*" } else { self.origin };
        put(&mut told, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !is_any {
            put(&mut told, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        let methods = rule.methods.join(", ");
        put(&mut told, header::ACCESS_CONTROL_ALLOW_METHODS, &methods);
        if !rule.exposed.is_empty() {
            let exposed = rule.exposed.join(", ");
            put(&mut told, header::ACCESS_CONTROL_EXPOSE_HEADERS, &exposed);
        }
        if let Some(seconds) = rule.max_age_s {
            let seconds = seconds.to_string();
            put(&mut told, header::ACCESS_CONTROL_MAX_AGE, &seconds);
        }
        put(&mut told, header::VARY, VARY);
        told
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Rules are checked when they come, and origins were headers.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Whether a text is one of a pattern, in which a `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((begin, end)) => {
            text.len() >= begin.len() + end.len() && text.starts_with(begin) && text.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_one_wildcard() {
        assert!(matches("*", "https://a.example") && matches("*", ""));
        assert!(matches("https://*.example", "https://a.b.example"));
        assert!(!matches("https://*.example", "https://a.example.org"));
        assert!(!matches("ab*ba", "aba"));
        assert!(matches("exact", "exact") && !matches("exact", "exactly"));
    }

    #[test]
    fn a_question_is_held_against_all_that_a_rule_says() {
        let rule = CorsRule {
            origins: vec!["https://*.example".to_owned()],
            methods: vec!["PUT".to_owned()],
            headers: vec!["x-amz-*".to_owned(), "Content-Type".to_owned()],
            ..CorsRule::default()
        };
        let ask = |origin, method, headers: &[&'static str]| {
            let question = Question {
                origin,
                method,
                headers: headers.to_vec(),
            };
            question.is_allowed_by(&rule)
        };
        assert!(ask(
            "https://a.example",
            "PUT",
            &["content-type", "X-Amz-Date"]
        ));
        assert!(!ask("https://a.example", "PUT", &["authorization"]));
        assert!(!ask("https://a.example", "GET", &[]));
        assert!(!ask("http://a.example", "PUT", &[]));
    }
}
