//! Functions of AWS Lambda: their configuration and code. Running them is in `invocations`.

use bytes::Bytes;
use hearth_sigv4::uri::encode;
use http::Method;
use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::error::ClientError;
use crate::microvms::with_query;

/// What the paths of functions begin with.
const API: &str = "/2015-03-31/functions";

/// Pages of one list: more than an account may have of anything.
const MAX_PAGES: usize = 10_000;

/// Where the code of a function is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionCode {
    /// In the request: a zip of at most 50 MiB.
    Zip(Bytes),
    /// In an object of the account.
    Object {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
    },
}

impl FunctionCode {
    /// The members of a request that say it.
    #[must_use]
    pub fn members(&self) -> Value {
        match self {
            Self::Zip(zip) => json!({"ZipFile": base64_simd::STANDARD.encode_to_string(zip)}),
            Self::Object { bucket, key } => json!({"S3Bucket": bucket, "S3Key": key}),
        }
    }
}

impl Client {
    /// `CreateFunction`. The function is Pending in the answer.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn create_function(&self, input: &Value) -> Result<Value, ClientError> {
        let call = Call::lambda("CreateFunction", Method::POST, API.to_owned());
        self.call(call.json(input)).await
    }

    /// `UpdateFunctionCode`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn update_function_code(
        &self,
        function: &str,
        code: &FunctionCode,
    ) -> Result<Value, ClientError> {
        let path = format!("{}/code", function_path(function));
        let call = Call::lambda("UpdateFunctionCode", Method::PUT, path);
        self.call(call.json(&code.members())).await
    }

    /// `UpdateFunctionConfiguration`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn update_function_configuration(
        &self,
        function: &str,
        input: &Value,
    ) -> Result<Value, ClientError> {
        let path = format!("{}/configuration", function_path(function));
        let call = Call::lambda("UpdateFunctionConfiguration", Method::PUT, path);
        self.call(call.json(input)).await
    }

    /// `GetFunction`: its configuration, the address of its code, its tags. The name may have a qualifier.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn function(&self, function: &str) -> Result<Value, ClientError> {
        let path = function_path(function);
        self.call(Call::lambda("GetFunction", Method::GET, path))
            .await
    }

    /// `GetFunctionConfiguration`, which has the states that lists leave out. The name may have a qualifier.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn function_configuration(&self, function: &str) -> Result<Value, ClientError> {
        let path = format!("{}/configuration", function_path(function));
        self.call(Call::lambda("GetFunctionConfiguration", Method::GET, path))
            .await
    }

    /// `ListFunctions`: every page of it.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn functions(&self) -> Result<Vec<Value>, ClientError> {
        self.all_marked("ListFunctions", API, "Functions").await
    }

    /// `ListVersionsByFunction`: every page of it.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn function_versions(&self, function: &str) -> Result<Vec<Value>, ClientError> {
        let path = format!("{}/versions", function_path(function));
        self.all_marked("ListVersionsByFunction", &path, "Versions")
            .await
    }

    /// `ListAliases`: every page of it.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn function_aliases(&self, function: &str) -> Result<Vec<Value>, ClientError> {
        let path = format!("{}/aliases", function_path(function));
        self.all_marked("ListAliases", &path, "Aliases").await
    }

    /// `DeleteFunction`. The name may have a version.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn delete_function(&self, function: &str) -> Result<(), ClientError> {
        let path = function_path(function);
        self.call(Call::lambda("DeleteFunction", Method::DELETE, path))
            .await
            .map(drop)
    }

    /// The items of every page of a list that goes on after a marker.
    async fn all_marked(
        &self,
        operation: &'static str,
        path: &str,
        member: &str,
    ) -> Result<Vec<Value>, ClientError> {
        let mut items = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let pairs = marker.as_deref().map(|marker| ("Marker", marker));
            let path = with_query(path, pairs.into_iter());
            let mut page = self
                .call(Call::lambda(operation, Method::GET, path))
                .await?;
            if let Some(Value::Array(more)) = page.get_mut(member).map(Value::take) {
                items.extend(more);
            }
            match page.get("NextMarker").and_then(Value::as_str) {
                Some(next) if !next.is_empty() => marker = Some(next.to_owned()),
                _ => break,
            }
        }
        Ok(items)
    }
}

/// The path of a function. A name may have a qualifier, which the service reads from it.
pub(crate) fn function_path(function: &str) -> String {
    format!("{API}/{}", encode(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_qualifiers_are_one_part_of_a_path() {
        let path = |name| function_path(name);
        assert_eq!(path("hello"), "/2015-03-31/functions/hello");
        assert_eq!(
            path("hello:$LATEST"),
            "/2015-03-31/functions/hello%3A%24LATEST"
        );
        assert_eq!(path("a/b"), "/2015-03-31/functions/a%2Fb");
    }

    #[test]
    fn code_is_in_the_request_or_in_an_object() {
        let zip = FunctionCode::Zip(Bytes::from_static(b"hi"));
        assert_eq!(zip.members(), json!({"ZipFile": "aGk="}));
        let object = FunctionCode::Object {
            bucket: "b".to_owned(),
            key: "k".to_owned(),
        };
        assert_eq!(object.members(), json!({"S3Bucket": "b", "S3Key": "k"}));
    }
}
