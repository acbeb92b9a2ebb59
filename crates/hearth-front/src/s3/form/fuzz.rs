//! The body of the fuzz target `s3_forms`.

use bytes::Bytes;
use http_body_util::Full;
use jiff::Timestamp;

use super::fields::{self, FormBody};
use super::policy::Policy;

/// Reads a form up to its file, and holds its fields against its policy. What a policy lets pass has a condition for each
/// field that is neither verified itself nor bounds the file further.
pub fn forms(input: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    else {
        return;
    };
    let read = runtime.block_on(async {
        let body = FormBody::new(Full::new(Bytes::copy_from_slice(input)));
        fields::read(body, "b".to_owned()).await
    });
    let Ok((mut fields, file)) = read else {
        return;
    };
    fields.name_file(file.file_name().unwrap_or_default());
    let document = fields.get("policy").unwrap_or_default().to_owned();
    let Ok(policy) = Policy::parse(&document) else {
        return;
    };
    if policy
        .check("bucket", &fields, Timestamp::UNIX_EPOCH)
        .is_ok()
    {
        let more = "x-amz-meta-that-no-policy-names";
        assert!(
            fields.get(more).is_some() || !policy.lets(more),
            "a field needs a condition"
        );
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_s3_forms() {
        let words: &[&[u8]] = &[
            b"--b\r\n",
            b"--b--\r\n",
            b"Content-Disposition: form-data; name=\"policy\"\r\n\r\n",
            b"Content-Disposition: form-data; name=\"key\"\r\n\r\n${filename}\r\n",
            b"Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n",
            b"eyJleHBpcmF0aW9uIjogIjIwMjYtMDEtMDFUMDA6MDA6MDBaIiwgImNvbmRpdGlvbnMiOiBbWyJzdGFydHMtd2l0aCIsICIka2V5IiwgIiJdXX0=",
        ];
        hearth_corpus::run("s3_forms", words, super::forms);
    }
}
