//! The whole story of an image and its microVMs, told by the AWS SDK for Rust.
//!
//! `AWS_ENDPOINT_URL`, keys and region come from the environment; the arguments are the address of an artifact and the ARN of a base image.
//! Every answer is checked as a user's program would: by the SDK's types.

#![forbid(unsafe_code)]

use std::env;
use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_credential_types::Credentials;
use aws_sdk_lambdamicrovms::Client;
use aws_sdk_lambdamicrovms::config::Region;
use aws_sdk_lambdamicrovms::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_lambdamicrovms::types::{
    CodeArtifact, IdlePolicy, MicrovmImageState, MicrovmImageVersionStatus, MicrovmState,
    PortSpecification,
};

const ROLE: &str = "arn:aws:iam::000000000000:role/build";
const PATIENCE: Duration = Duration::from_secs(30);
/// More than a page holds.
const MANY: usize = 55;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let artifact = arguments.next().context("no artifact")?;
    let base = arguments.next().context("no base image")?;
    let client = client()?;

    let image = image(&client, &artifact, &base).await?;
    microvm(&client, &image).await?;
    pages(&client, &image).await?;
    update(&client, &image, &artifact, &base).await?;
    deletion(&client, &image).await?;
    println!("the story is told");
    Ok(())
}

fn client() -> Result<Client> {
    let key = env::var("AWS_ACCESS_KEY_ID")?;
    let secret = env::var("AWS_SECRET_ACCESS_KEY")?;
    let config = aws_sdk_lambdamicrovms::Config::builder()
        .endpoint_url(env::var("AWS_ENDPOINT_URL")?)
        .region(Region::new(env::var("AWS_REGION")?))
        .credentials_provider(Credentials::new(key, secret, None, None, "environment"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Ok(Client::from_conf(config))
}

async fn image(client: &Client, artifact: &str, base: &str) -> Result<String> {
    let created = client
        .create_microvm_image()
        .name("told-in-rust")
        .base_image_arn(base)
        .build_role_arn(ROLE)
        .code_artifact(CodeArtifact::Uri(artifact.to_owned()))
        .tags("told", "in rust")
        .send()
        .await
        .map_err(explained)?;
    ensure!(
        created.state() == &MicrovmImageState::Creating,
        "{created:?}"
    );
    let arn = created.image_arn().to_owned();
    settled(client, &arn, &MicrovmImageState::Created).await?;

    let tags = client
        .list_tags()
        .resource(&arn)
        .send()
        .await
        .map_err(explained)?;
    ensure!(
        tags.tags().is_some_and(|tags| tags["told"] == "in rust"),
        "{tags:?}"
    );
    client
        .tag_resource()
        .resource(&arn)
        .tags("more", "1")
        .send()
        .await
        .map_err(explained)?;
    client
        .untag_resource()
        .resource(&arn)
        .tag_keys("told")
        .send()
        .await
        .map_err(explained)?;
    let tags = client
        .list_tags()
        .resource(&arn)
        .send()
        .await
        .map_err(explained)?;
    ensure!(tags.tags().is_some_and(|tags| tags.len() == 1), "{tags:?}");

    let builds = client
        .list_microvm_image_builds()
        .image_identifier(&arn)
        .image_version("1.0")
        .send()
        .await
        .map_err(explained)?;
    ensure!(builds.items().len() == 1, "{builds:?}");
    Ok(arn)
}

async fn microvm(client: &Client, image: &str) -> Result<()> {
    let policy = IdlePolicy::builder()
        .max_idle_duration_seconds(60)
        .suspended_duration_seconds(3600)
        .auto_resume_enabled(true)
        .build()?;
    let started = client
        .run_microvm()
        .image_identifier(image)
        .idle_policy(policy)
        .send()
        .await
        .map_err(explained)?;
    let id = started.microvm_id();
    reached(client, id, &MicrovmState::Running).await?;

    let token = client
        .create_microvm_auth_token()
        .microvm_identifier(id)
        .expiration_in_minutes(5)
        .allowed_ports(PortSpecification::Port(8080))
        .send()
        .await
        .map_err(explained)?;
    ensure!(
        token.auth_token().contains_key("X-aws-proxy-auth"),
        "no token"
    );

    client
        .suspend_microvm()
        .microvm_identifier(id)
        .send()
        .await
        .map_err(explained)?;
    reached(client, id, &MicrovmState::Suspended).await?;
    client
        .resume_microvm()
        .microvm_identifier(id)
        .send()
        .await
        .map_err(explained)?;
    reached(client, id, &MicrovmState::Running).await?;
    client
        .terminate_microvm()
        .microvm_identifier(id)
        .send()
        .await
        .map_err(explained)?;
    reached(client, id, &MicrovmState::Terminated).await?;

    // An error is the modelled one, with its text.
    let late = client.suspend_microvm().microvm_identifier(id).send().await;
    let error = late
        .err()
        .context("a terminated microVM was suspended")?
        .into_service_error();
    ensure!(error.is_validation_exception(), "{error:?}");
    ensure!(
        error
            .message()
            .is_some_and(|text| text.contains("has been terminated")),
        "{error:?}"
    );
    let unknown = client
        .get_microvm()
        .microvm_identifier("microvm-00000000-0000-0000-0000-000000000000")
        .send()
        .await;
    let error = unknown
        .err()
        .context("an unknown microVM was found")?
        .into_service_error();
    ensure!(error.is_resource_not_found_exception(), "{error:?}");
    Ok(())
}

async fn pages(client: &Client, image: &str) -> Result<()> {
    let mut wanted = Vec::new();
    for _ in 0..MANY {
        let started = client
            .run_microvm()
            .image_identifier(image)
            .send()
            .await
            .map_err(explained)?;
        wanted.push(started.microvm_id().to_owned());
    }
    let mut pages = client
        .list_microvms()
        .image_identifier(image)
        .max_results(20)
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        found.extend(
            page.map_err(explained)?
                .items()
                .iter()
                .map(|item| item.microvm_id().to_owned()),
        );
    }
    for id in &wanted {
        ensure!(
            found.iter().filter(|other| *other == id).count() == 1,
            "{id} is not listed once"
        );
        client
            .terminate_microvm()
            .microvm_identifier(id)
            .send()
            .await
            .map_err(explained)?;
    }
    for id in &wanted {
        reached(client, id, &MicrovmState::Terminated).await?;
    }
    Ok(())
}

async fn update(client: &Client, image: &str, artifact: &str, base: &str) -> Result<()> {
    let updated = client
        .update_microvm_image()
        .image_identifier(image)
        .base_image_arn(base)
        .build_role_arn(ROLE)
        .code_artifact(CodeArtifact::Uri(artifact.to_owned()))
        .send()
        .await
        .map_err(explained)?;
    ensure!(updated.image_version() == "2.0", "{updated:?}");
    settled(client, image, &MicrovmImageState::Updated).await?;
    let status = MicrovmImageVersionStatus::Inactive;
    let switched = client
        .update_microvm_image_version()
        .image_identifier(image)
        .image_version("1.0")
        .status(status.clone())
        .send()
        .await
        .map_err(explained)?;
    ensure!(switched.status() == &status, "{switched:?}");
    client
        .delete_microvm_image_version()
        .image_identifier(image)
        .image_version("1.0")
        .send()
        .await
        .map_err(explained)?;
    settled(client, image, &MicrovmImageState::Updated).await?;
    let versions = client
        .list_microvm_image_versions()
        .image_identifier(image)
        .send()
        .await
        .map_err(explained)?;
    ensure!(versions.items().len() == 1, "{versions:?}");
    Ok(())
}

async fn deletion(client: &Client, image: &str) -> Result<()> {
    client
        .delete_microvm_image()
        .image_identifier(image)
        .send()
        .await
        .map_err(explained)?;
    patiently("deleted", async || {
        match client
            .get_microvm_image()
            .image_identifier(image)
            .send()
            .await
        {
            Ok(_) => Ok(false),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                Ok(true)
            }
            Err(error) => Err(explained(error)),
        }
    })
    .await
}

async fn settled(client: &Client, image: &str, wanted: &MicrovmImageState) -> Result<()> {
    patiently(wanted, async || {
        let found = client
            .get_microvm_image()
            .image_identifier(image)
            .send()
            .await
            .map_err(explained)?;
        Ok(found.state() == wanted)
    })
    .await
}

async fn reached(client: &Client, microvm: &str, wanted: &MicrovmState) -> Result<()> {
    patiently(wanted, async || {
        let found = client
            .get_microvm()
            .microvm_identifier(microvm)
            .send()
            .await
            .map_err(explained)?;
        Ok(found.state() == wanted)
    })
    .await
}

/// Asks until it is so.
async fn patiently<F: Future<Output = Result<bool>>>(
    what: impl Debug,
    is_so: impl Fn() -> F,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await? {
        if Instant::now() > deadline {
            bail!("not {what:?} within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The SDK's errors say what happened in their sources alone.
fn explained(error: impl std::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", DisplayErrorContext(error))
}
