//! Images, their versions and builds.

use hearth_sigv4::uri::encode;
use http::Method;
use serde_json::Value;

use crate::client::{Call, Client};
use crate::error::ClientError;
use crate::microvms::API;

impl Client {
    /// `CreateMicrovmImage`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn create_image(&self, input: &Value) -> Result<Value, ClientError> {
        let path = format!("{API}/microvm-images");
        self.call(Call::lambda("CreateMicrovmImage", Method::POST, path).json(input))
            .await
    }

    /// `UpdateMicrovmImage`: begins the next version.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn update_image(&self, arn: &str, input: &Value) -> Result<Value, ClientError> {
        let call = Call::lambda("UpdateMicrovmImage", Method::PUT, image(arn));
        self.call(call.json(input)).await
    }

    /// `GetMicrovmImage`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn image(&self, arn: &str) -> Result<Value, ClientError> {
        self.call(Call::lambda("GetMicrovmImage", Method::GET, image(arn)))
            .await
    }

    /// `ListMicrovmImages`: every page of it, those whose name contains the text.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn images(&self, name_filter: Option<&str>) -> Result<Vec<Value>, ClientError> {
        let path = format!("{API}/microvm-images");
        let query: Vec<_> = name_filter
            .map(|filter| ("nameFilter", filter))
            .into_iter()
            .collect();
        self.all_pages("ListMicrovmImages", &path, &query).await
    }

    /// `DeleteMicrovmImage`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn delete_image(&self, arn: &str) -> Result<Value, ClientError> {
        self.call(Call::lambda(
            "DeleteMicrovmImage",
            Method::DELETE,
            image(arn),
        ))
        .await
    }

    /// `DeleteMicrovmImageVersion`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn delete_version(&self, arn: &str, version: &str) -> Result<Value, ClientError> {
        let path = version_path(arn, version);
        self.call(Call::lambda(
            "DeleteMicrovmImageVersion",
            Method::DELETE,
            path,
        ))
        .await
    }

    /// `GetMicrovmImageVersion`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn version(&self, arn: &str, version: &str) -> Result<Value, ClientError> {
        let path = version_path(arn, version);
        self.call(Call::lambda("GetMicrovmImageVersion", Method::GET, path))
            .await
    }

    /// `ListMicrovmImageVersions`: every page of it.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn versions(&self, arn: &str) -> Result<Vec<Value>, ClientError> {
        let path = format!("{}/versions", image(arn));
        self.all_pages("ListMicrovmImageVersions", &path, &[]).await
    }

    /// `ListMicrovmImageBuilds`: every page of it.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn builds(&self, arn: &str, version: &str) -> Result<Vec<Value>, ClientError> {
        let path = format!("{}/builds", version_path(arn, version));
        self.all_pages("ListMicrovmImageBuilds", &path, &[]).await
    }

    /// `GetMicrovmImageBuild`: with its sizes.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn build(&self, arn: &str, version: &str, id: &str) -> Result<Value, ClientError> {
        let path = format!("{}/builds/{}", version_path(arn, version), encode(id));
        self.call(Call::lambda("GetMicrovmImageBuild", Method::GET, path))
            .await
    }
}

impl Client {
    /// Cancels the build of an image of this account, by the image's name. AWS has no such operation.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; also if no build is under way.
    pub async fn cancel_build(&self, name: &str) -> Result<Value, ClientError> {
        let path = format!("/hearth/v1/images/{}/cancel-build", encode(name));
        self.call(Call::lambda("CancelMicrovmImageBuild", Method::POST, path))
            .await
    }
}

fn image(arn: &str) -> String {
    format!("{API}/microvm-images/{}", encode(arn))
}

fn version_path(arn: &str, version: &str) -> String {
    format!("{}/versions/{}", image(arn), encode(version))
}
