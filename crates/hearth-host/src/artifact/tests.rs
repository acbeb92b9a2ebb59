use std::collections::{BTreeMap, BTreeSet};

use hearth_client::Settings;
use hearth_control::id::AccountId;
use hearth_image::ArtifactError;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{GetObjectInput, GetObjectOutput, StreamingBlob};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use tokio::net::TcpListener;

use super::*;
use crate::build::VersionBuildError;

const KEY: &str = "AKIAEXAMPLE";
const SECRET: &str = "a secret";

/// Another S3: it verifies signatures, and has one bucket.
struct OtherS3;

#[async_trait::async_trait]
impl S3 for OtherS3 {
    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let content = match (request.input.bucket.as_str(), request.input.key.as_str()) {
            ("code", "a folder/app+1.zip") => zip(),
            ("code", "text") => b"no zip".to_vec(),
            ("code", "locked") => return Err(s3_error!(AccessDenied)),
            ("code", "broken") => return Err(s3_error!(InternalError)),
            ("code", _) => return Err(s3_error!(NoSuchKey)),
            _ => return Err(s3_error!(NoSuchBucket)),
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(content.len() as i64),
            body: Some(StreamingBlob::from(Body::from(content))),
            ..GetObjectOutput::default()
        }))
    }
}

/// A Dockerfile in a zip, stored: local header, central directory, end (APPNOTE 4.3).
fn zip() -> Vec<u8> {
    let (name, content) = (b"Dockerfile", b"FROM hearth/debian:12\n");
    let size = (content.len() as u32).to_le_bytes();
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    common.extend(crc32(content).to_le_bytes());
    // Compressed and not.
    common.extend([size, size].concat());
    common.extend((name.len() as u16).to_le_bytes());
    common.extend([0, 0]);
    let mut bytes = b"PK\x03\x04".to_vec();
    bytes.extend(&common);
    bytes.extend(name);
    bytes.extend(content);
    let directory = bytes.len() as u32;
    bytes.extend(b"PK\x01\x02\x14\x00");
    bytes.extend(&common);
    bytes.extend([0; 14]);
    bytes.extend(name);
    let directory_bytes = bytes.len() as u32 - directory;
    bytes.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    bytes.extend(directory_bytes.to_le_bytes());
    bytes.extend(directory.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

/// The checksum of zip files, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| match crc & 1 {
        0 => crc >> 1,
        _ => crc >> 1 ^ 0xedb8_8320,
    };
    let add = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(u32::MAX, add)
}

/// The other S3 on a port of the loopback; ends with the test's runtime.
async fn other_s3() -> String {
    let mut builder = S3ServiceBuilder::new(OtherS3);
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(async move {
                let _ = serving.await;
            });
        }
    });
    url
}

fn artifacts(url: &str, secret: &str) -> Artifacts {
    let settings = Settings {
        endpoint_url: url.to_owned(),
        region: "eu-central-1".to_owned(),
        access_key_id: KEY.to_owned(),
        secret_access_key: secret.to_owned(),
        ca_bundle_pem: String::new(),
    };
    let buckets = BTreeSet::from(["code".to_owned(), "gone".to_owned()]);
    let accounts = BTreeMap::from([(AccountId::FIRST, buckets)]);
    Artifacts::External(ExternalS3::new(settings, accounts).unwrap())
}

/// What an account is told about an artifact, and the lines of the build log. Checks that the build's directory is
/// empty afterwards.
async fn attempt(
    artifacts: &Artifacts,
    account: AccountId,
    bucket: &str,
    key: &str,
) -> Result<(), (String, String)> {
    let place = tempfile::tempdir().unwrap();
    let scope = Scope {
        account,
        region: "us-east-1".parse().unwrap(),
    };
    let uri = ArtifactUri {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
    };
    let fetched = artifacts
        .fetch(&scope, &uri, place.path(), &ArtifactLimits::default())
        .await;
    assert_eq!(place.path().read_dir().unwrap().count(), 0);
    fetched.map(drop).map_err(|error| {
        let failure = VersionBuildError::from(error);
        (failure.reason(), failure.cause())
    })
}

#[tokio::test]
async fn an_artifact_is_read_from_another_s3() {
    let artifacts = artifacts(&other_s3().await, SECRET);
    let fetched = attempt(&artifacts, AccountId::FIRST, "code", "a folder/app+1.zip").await;
    fetched.unwrap();
}

#[tokio::test]
async fn what_another_s3_says_is_told() {
    let url = other_s3().await;
    let own = artifacts(&url, SECRET);
    let denied = "Access to the S3 object of the code artifact was denied.";
    let unread = "The S3 object of the code artifact could not be read.";
    for (bucket, key, expected) in [
        (
            "code",
            "none",
            "The S3 object of the code artifact does not exist.",
        ),
        (
            "gone",
            "x",
            "The S3 bucket of the code artifact does not exist.",
        ),
        ("code", "locked", denied),
        ("code", "broken", unread),
    ] {
        let told = attempt(&own, AccountId::FIRST, bucket, key).await;
        assert_eq!(told.unwrap_err().0, expected, "{bucket}/{key}");
    }
    let told = attempt(&own, AccountId::FIRST, "code", "text").await;
    let (reason, _) = told.unwrap_err();
    assert!(
        reason.starts_with("The code artifact is not valid"),
        "{reason}"
    );

    let stranger = artifacts(&url, "another secret");
    let told = attempt(&stranger, AccountId::FIRST, "code", "text").await;
    let (reason, cause) = told.unwrap_err();
    assert_eq!(reason, denied);
    assert!(cause.contains("SignatureDoesNotMatch"), "{cause}");
}

#[tokio::test]
async fn what_is_missing_is_known_before_a_build() {
    let artifacts = artifacts(&other_s3().await, SECRET);
    let scope = Scope {
        account: AccountId::FIRST,
        region: "us-east-1".parse().unwrap(),
    };
    let look = async |bucket: &str, key: &str| {
        let uri = ArtifactUri {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        };
        artifacts.look_for(&scope, &uri).await
    };
    assert_eq!(look("code", "text").await, Ok(()));
    assert_eq!(look("code", "none").await, Err(ArtifactRefusal::NoKey));
    assert_eq!(look("gone", "x").await, Err(ArtifactRefusal::NoBucket));
    assert_eq!(look("code", "locked").await, Err(ArtifactRefusal::Denied));
    assert_eq!(look("secrets", "x").await, Err(ArtifactRefusal::Denied));
    // The build says more, minutes later.
    assert_eq!(look("code", "broken").await, Ok(()));
}

#[tokio::test]
async fn an_account_reads_its_own_buckets_and_no_other() {
    let artifacts = artifacts(&other_s3().await, SECRET);
    let other: AccountId = "111111111111".parse().unwrap();
    for (account, bucket) in [(other, "code"), (AccountId::FIRST, "secrets")] {
        let told = attempt(&artifacts, account, bucket, "a folder/app+1.zip").await;
        let (reason, cause) = told.unwrap_err();
        assert_eq!(
            reason,
            "Access to the S3 object of the code artifact was denied."
        );
        assert!(cause.contains("s3.accounts"), "{cause}");
    }
}

#[tokio::test]
async fn nobody_there_is_told() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let told = attempt(&artifacts(&url, SECRET), AccountId::FIRST, "code", "x").await;
    let (reason, cause) = told.unwrap_err();
    assert_eq!(
        reason,
        "The S3 object of the code artifact could not be read."
    );
    assert!(cause.contains(&url), "{cause}");
}

#[tokio::test]
async fn an_object_that_is_too_large_is_not_read_to_its_end() {
    let url = other_s3().await;
    let Artifacts::External(other) = artifacts(&url, SECRET) else {
        unreachable!()
    };
    let place = tempfile::NamedTempFile::new().unwrap();
    let uri = ArtifactUri {
        bucket: "code".to_owned(),
        key: "a folder/app+1.zip".to_owned(),
    };
    let fetched = other.fetch(AccountId::FIRST, &uri, 20, place.path()).await;
    let error = fetched.unwrap_err();
    assert!(matches!(
        error,
        FetchError::Artifact(ArtifactError::ArchiveTooLarge { limit: 20, .. })
    ));
}
