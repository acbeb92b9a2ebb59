//! MicroVMs and their tokens.

use hearth_sigv4::uri::encode;
use http::Method;
use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::error::ClientError;

/// What the paths of `lambda-microvms` begin with.
pub(crate) const API: &str = "/2025-09-09";

/// Pages of one list: more than an account may have of anything.
const MAX_PAGES: usize = 10_000;

impl Client {
    /// `RunMicrovm`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn run_microvm(&self, input: &Value) -> Result<Value, ClientError> {
        let path = format!("{API}/microvms");
        self.call(Call::lambda("RunMicrovm", Method::POST, path).json(input))
            .await
    }

    /// `GetMicrovm`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn microvm(&self, id: &str) -> Result<Value, ClientError> {
        self.call(Call::lambda("GetMicrovm", Method::GET, microvm(id)))
            .await
    }

    /// `ListMicrovms`: every page of it, of one image or of all.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn microvms(&self, image: Option<&str>) -> Result<Vec<Value>, ClientError> {
        let query: Vec<_> = image
            .map(|image| ("imageIdentifier", image))
            .into_iter()
            .collect();
        self.all_pages("ListMicrovms", &format!("{API}/microvms"), &query)
            .await
    }

    /// `SuspendMicrovm`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn suspend(&self, id: &str) -> Result<Value, ClientError> {
        let path = format!("{}/suspend", microvm(id));
        self.call(Call::lambda("SuspendMicrovm", Method::POST, path))
            .await
    }

    /// `ResumeMicrovm`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn resume(&self, id: &str) -> Result<Value, ClientError> {
        let path = format!("{}/resume", microvm(id));
        self.call(Call::lambda("ResumeMicrovm", Method::POST, path))
            .await
    }

    /// `TerminateMicrovm`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn terminate(&self, id: &str) -> Result<Value, ClientError> {
        self.call(Call::lambda(
            "TerminateMicrovm",
            Method::DELETE,
            microvm(id),
        ))
        .await
    }

    /// `CreateMicrovmAuthToken` for one port, or for all.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn auth_token(
        &self,
        id: &str,
        port: Option<u16>,
        minutes: u32,
    ) -> Result<Value, ClientError> {
        let path = format!("{}/auth-token", microvm(id));
        let port = port.map_or_else(|| json!({"allPorts": {}}), |port| json!({"port": port}));
        let input = json!({"expirationInMinutes": minutes, "allowedPorts": [port]});
        self.call(Call::lambda("CreateMicrovmAuthToken", Method::POST, path).json(&input))
            .await
    }

    /// `CreateMicrovmShellAuthToken`.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn shell_token(&self, id: &str, minutes: u32) -> Result<Value, ClientError> {
        let path = format!("{}/shell-auth-token", microvm(id));
        let input = json!({"expirationInMinutes": minutes});
        let call = Call::lambda("CreateMicrovmShellAuthToken", Method::POST, path);
        self.call(call.json(&input)).await
    }

    /// The items of every page of a list.
    pub(crate) async fn all_pages(
        &self,
        operation: &'static str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<Value>, ClientError> {
        let mut items = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let pairs = query.iter().copied();
            let pairs = pairs.chain(token.as_deref().map(|token| ("nextToken", token)));
            let path = with_query(path, pairs);
            let mut page = self
                .call(Call::lambda(operation, Method::GET, path))
                .await?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            match page.get("nextToken").and_then(Value::as_str) {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        Ok(items)
    }
}

fn microvm(id: &str) -> String {
    format!("{API}/microvms/{}", encode(id))
}

/// A path with a query; empty pairs leave it as it is.
pub(crate) fn with_query<'a>(
    path: &str,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let pairs: Vec<_> = pairs
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    if pairs.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", pairs.join("&"))
    }
}
