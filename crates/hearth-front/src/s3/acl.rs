//! Access control lists: every bucket and object belongs to its account alone, and nothing else can be said of it.

use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput,
    GetObjectAclOutput, Grant, Grantee, Owner, Permission, PutBucketAclInput, PutBucketAclOutput,
    PutObjectAclInput, PutObjectAclOutput, Type,
};
use s3s::{S3Request, S3Result, s3_error};

use super::store::AccountBuckets;

/// The owner of what an account has. It is known by the account's number, as nothing has other names here.
pub(super) fn owner(account: &str) -> Owner {
    Owner {
        display_name: Some(account.to_owned()),
        id: Some(account.to_owned()),
    }
}

fn grants(account: &str) -> Vec<Grant> {
    let grantee = Grantee {
        display_name: Some(account.to_owned()),
        email_address: None,
        id: Some(account.to_owned()),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    vec![Grant {
        grantee: Some(grantee),
        permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
    }]
}

/// Takes a list that says what holds anyway. `admission` has judged those that stand in headers.
fn check(account: &str, list: Option<AccessControlPolicy>) -> S3Result<()> {
    let grants = list.and_then(|list| list.grants).unwrap_or_default();
    let is_own = |grant: &Grant| {
        let grantee = grant
            .grantee
            .as_ref()
            .and_then(|grantee| grantee.id.as_deref());
        let permission = grant.permission.as_ref().map(Permission::as_str);
        grantee == Some(account) && permission == Some(Permission::FULL_CONTROL)
    };
    if grants.iter().all(is_own) {
        return Ok(());
    }
    Err(s3_error!(
        NotImplemented,
        "Access control lists that give others access are not supported: only full control of the owner."
    ))
}

pub(super) async fn get_bucket_acl(
    buckets: &AccountBuckets,
    request: S3Request<GetBucketAclInput>,
) -> S3Result<GetBucketAclOutput> {
    buckets.check_bucket(&request.input.bucket).await?;
    Ok(GetBucketAclOutput {
        grants: Some(grants(buckets.account())),
        owner: Some(owner(buckets.account())),
    })
}

pub(super) async fn put_bucket_acl(
    buckets: &AccountBuckets,
    request: S3Request<PutBucketAclInput>,
) -> S3Result<PutBucketAclOutput> {
    buckets.check_bucket(&request.input.bucket).await?;
    check(buckets.account(), request.input.access_control_policy)?;
    Ok(PutBucketAclOutput::default())
}

pub(super) async fn get_object_acl(
    buckets: &AccountBuckets,
    request: S3Request<GetObjectAclInput>,
) -> S3Result<GetObjectAclOutput> {
    buckets
        .object(&request.input.bucket, &request.input.key)
        .await?;
    Ok(GetObjectAclOutput {
        grants: Some(grants(buckets.account())),
        owner: Some(owner(buckets.account())),
        ..Default::default()
    })
}

pub(super) async fn put_object_acl(
    buckets: &AccountBuckets,
    request: S3Request<PutObjectAclInput>,
) -> S3Result<PutObjectAclOutput> {
    buckets
        .object(&request.input.bucket, &request.input.key)
        .await?;
    check(buckets.account(), request.input.access_control_policy)?;
    Ok(PutObjectAclOutput::default())
}
