//! The account that is measured.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde_json::json;

use crate::request::{Account, Call, member};

const MICROVMS: &str = "/2025-09-09/microvms";
const OBJECT: &str = "/victim/object";
const GROUP: &str = "/victim";
const STREAM: &str = "output";

/// An object of the size that pages of the web have.
const OBJECT_BYTES: usize = 64 << 10;

/// Events of the log that is read.
const EVENTS: usize = 200;

/// What is measured.
pub(crate) const OPERATIONS: [&str; 3] = ["run", "get_object", "log_tail"];

/// Pause between two looks at an image that is built.
const POLL: Duration = Duration::from_millis(50);

pub(crate) struct Victim {
    account: Account,
    image: String,
}

/// One call, as its caller saw it.
pub(crate) struct Measured {
    pub(crate) operation: &'static str,
    pub(crate) took: Duration,
    pub(crate) has_failed: bool,
}

impl Victim {
    /// Makes what is called for.
    pub(crate) async fn prepare(account: Account) -> Result<Self> {
        for (path, body) in [
            ("/victim", Bytes::new()),
            (OBJECT, vec![7; OBJECT_BYTES].into()),
        ] {
            account.call(Call::s3(Method::PUT, path, body)).await?;
        }
        let named = json!({"logGroupName": GROUP, "logStreamName": STREAM});
        account
            .logs("CreateLogGroup", &json!({"logGroupName": GROUP}))
            .await?;
        account.logs("CreateLogStream", &named).await?;
        let now = Timestamp::now().as_millisecond();
        let mut input = named;
        input["logEvents"] = json!(vec![json!({"timestamp": now, "message": "a line"}); EVENTS]);
        account.logs("PutLogEvents", &input).await?;
        let image = create_image(&account, "measured").await?;
        Ok(Self { account, image })
    }

    /// One call of each kind.
    pub(crate) async fn round(&self) -> Vec<Measured> {
        let mut measured = Vec::new();
        let began = Instant::now();
        let launched = self.launch().await;
        measured.push(told(OPERATIONS[0], began, &launched));
        if let Ok(microvm) = launched {
            let path = format!("{MICROVMS}/{microvm}");
            // What is not terminated only takes a place.
            let _ = self.account.call(lambda(Method::DELETE, &path, None)).await;
        }
        let began = Instant::now();
        let read = self
            .account
            .call(Call::s3(Method::GET, OBJECT, Bytes::new()));
        let read = read.await;
        measured.push(told(OPERATIONS[1], began, &read));
        let began = Instant::now();
        let tail = json!({"logGroupName": GROUP, "logStreamName": STREAM, "limit": 50});
        let tail = self.account.logs("GetLogEvents", &tail).await;
        measured.push(told(OPERATIONS[2], began, &tail));
        measured
    }

    async fn launch(&self) -> Result<String> {
        let input = json!({"imageIdentifier": self.image});
        let call = lambda(Method::POST, MICROVMS, Some(&input));
        member(&self.account.call(call).await?, "microvmId")
    }
}

fn told<T>(operation: &'static str, began: Instant, answer: &Result<T>) -> Measured {
    Measured {
        operation,
        took: began.elapsed(),
        has_failed: answer.is_err(),
    }
}

/// A call of `lambda-microvms`.
pub(crate) fn lambda<'a>(
    method: Method,
    path: &'a str,
    input: Option<&serde_json::Value>,
) -> Call<'a> {
    Call {
        service: "lambda",
        method,
        path,
        headers: &[("content-type", "application/json")],
        body: input.map_or_else(Bytes::new, |input| input.to_string().into()),
    }
}

const IMAGES: &str = "/2025-09-09/microvm-images";

/// Begins an image; answers its ARN.
pub(crate) async fn begin_image(account: &Account, name: &str) -> Result<String> {
    let input = json!({
        "name": name,
        "baseImageArn": "arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1",
        "buildRoleArn": format!("arn:aws:iam::{}:role/build", account.number),
        "codeArtifact": {"uri": "s3://bucket/app.zip"},
        "resources": [{"minimumMemoryInMiB": 512}],
    });
    let made = account
        .call(lambda(Method::POST, IMAGES, Some(&input)))
        .await?;
    member(&made, "imageArn")
}

/// Makes an image, and waits until it is there.
pub(crate) async fn create_image(account: &Account, name: &str) -> Result<String> {
    let arn = begin_image(account, name).await?;
    let path = format!("{IMAGES}/{}", hearth_sigv4::uri::encode(&arn));
    while member(
        &account.call(lambda(Method::GET, &path, None)).await?,
        "state",
    )? != "CREATED"
    {
        tokio::time::sleep(POLL).await;
    }
    Ok(arn)
}
