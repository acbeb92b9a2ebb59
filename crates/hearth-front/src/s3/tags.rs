//! Tags of objects and buckets.

use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput,
    DeleteObjectTaggingOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    GetObjectTaggingInput, GetObjectTaggingOutput, PutBucketTaggingInput, PutBucketTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3Request, S3Result, s3_error};

use super::store::AccountBuckets;
use crate::uri::query_pairs;

/// Tags of an object (S3's own bound).
const MAX_OF_OBJECT: usize = 10;

/// Tags of a bucket (S3's own bound).
const MAX_OF_BUCKET: usize = 50;

/// Characters of a tag's key (S3's own bound).
const MAX_KEY_CHARACTERS: usize = 128;

/// Characters of a tag's value (S3's own bound).
const MAX_VALUE_CHARACTERS: usize = 256;

/// Key and value of each tag.
pub(super) type Tags = Vec<(String, String)>;

/// Reads the header `x-amz-tagging`: a query.
pub(super) fn of_header(value: Option<&str>) -> S3Result<Tags> {
    // As forms write it: a space is a plus.
    let query = value.unwrap_or_default().replace('+', "%20");
    checked(query_pairs(&query).collect(), MAX_OF_OBJECT)
}

/// Reads tags of a body.
pub(super) fn of_set(set: Vec<Tag>) -> S3Result<Tags> {
    checked(pairs(set), MAX_OF_OBJECT)
}

fn pairs(set: Vec<Tag>) -> Tags {
    let pair = |tag: Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
    set.into_iter().map(pair).collect()
}

fn checked(tags: Tags, most: usize) -> S3Result<Tags> {
    if tags.len() > most {
        return Err(s3_error!(InvalidTag, "Tags cannot be more than {}", most));
    }
    for (at, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > MAX_KEY_CHARACTERS {
            return Err(s3_error!(
                InvalidTag,
                "The TagKey you have provided is invalid"
            ));
        }
        if value.chars().count() > MAX_VALUE_CHARACTERS {
            return Err(s3_error!(
                InvalidTag,
                "The TagValue you have provided is invalid"
            ));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(s3_error!(
                InvalidTag,
                "System tags cannot be added/updated by requester"
            ));
        }
        if tags[..at].iter().any(|(earlier, _)| earlier == key) {
            return Err(s3_error!(
                InvalidTag,
                "Cannot provide multiple Tags with the same key"
            ));
        }
    }
    let mut tags = tags;
    tags.sort_unstable();
    Ok(tags)
}

fn set(tags: Tags) -> Vec<Tag> {
    let tag = |(key, value)| Tag {
        key: Some(key),
        value: Some(value),
    };
    tags.into_iter().map(tag).collect()
}

pub(super) async fn get_object_tagging(
    buckets: &AccountBuckets,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<GetObjectTaggingOutput> {
    let object = buckets
        .object(&request.input.bucket, &request.input.key)
        .await?;
    Ok(GetObjectTaggingOutput {
        tag_set: set(object.attributes.tags),
        version_id: None,
    })
}

pub(super) async fn put_object_tagging(
    buckets: &AccountBuckets,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<PutObjectTaggingOutput> {
    let input = request.input;
    let tags = of_set(input.tagging.tag_set)?;
    buckets
        .with_store(move |store, account| store.set_tags(account, &input.bucket, &input.key, &tags))
        .await?;
    Ok(PutObjectTaggingOutput::default())
}

pub(super) async fn delete_object_tagging(
    buckets: &AccountBuckets,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<DeleteObjectTaggingOutput> {
    let input = request.input;
    buckets
        .with_store(move |store, account| store.set_tags(account, &input.bucket, &input.key, &[]))
        .await?;
    Ok(DeleteObjectTaggingOutput::default())
}

pub(super) async fn get_bucket_tagging(
    buckets: &AccountBuckets,
    request: S3Request<GetBucketTaggingInput>,
) -> S3Result<GetBucketTaggingOutput> {
    let bucket = request.input.bucket;
    let settings = buckets
        .with_store(move |store, account| store.bucket_settings(account, &bucket))
        .await?;
    if settings.tags.is_empty() {
        return Err(s3_error!(NoSuchTagSet, "The TagSet does not exist"));
    }
    Ok(GetBucketTaggingOutput {
        tag_set: set(settings.tags),
    })
}

pub(super) async fn put_bucket_tagging(
    buckets: &AccountBuckets,
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<PutBucketTaggingOutput> {
    let input = request.input;
    let tags = checked(pairs(input.tagging.tag_set), MAX_OF_BUCKET)?;
    set_bucket_tags(buckets, input.bucket, tags).await?;
    Ok(PutBucketTaggingOutput::default())
}

pub(super) async fn delete_bucket_tagging(
    buckets: &AccountBuckets,
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<DeleteBucketTaggingOutput> {
    set_bucket_tags(buckets, request.input.bucket, Vec::new()).await?;
    Ok(DeleteBucketTaggingOutput::default())
}

async fn set_bucket_tags(buckets: &AccountBuckets, bucket: String, tags: Tags) -> S3Result<()> {
    buckets
        .with_store(move |store, account| {
            store.change_bucket(account, &bucket, move |settings| {
                settings.tags.clone_from(&tags);
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_a_header_are_a_query_with_bounds() {
        assert_eq!(of_header(None).unwrap(), []);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let read = of_header(Some("a%20b=c+d&e")).unwrap();
        assert_eq!(read, [pair("a b", "c d"), pair("e", "")]);
        for bad in ["=x", "a=1&a=2", "aws:x=1", &format!("{}=", "k".repeat(129))] {
            assert!(of_header(Some(bad)).is_err(), "{bad}");
        }
        let eleven: Vec<_> = (0..11).map(|at| format!("k{at}=")).collect();
        assert!(of_header(Some(&eleven.join("&"))).is_err());
        assert!(of_header(Some(&eleven[1..].join("&"))).is_ok());
        assert!(of_header(Some(&format!("k={}", "é".repeat(256)))).is_ok());
        assert!(of_header(Some(&format!("k={}", "é".repeat(257)))).is_err());
    }
}
