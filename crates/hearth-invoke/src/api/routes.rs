//! What a request to the guest-facing APIs asks for.

use http::Method;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Next,
    Response(String),
    Error(String),
    InitError,
    Register,
    ExtensionNext,
    ExtensionInitError,
    ExtensionExitError,
    /// The Telemetry API or its predecessor.
    Telemetry,
    /// Only for functions that start from snapshots.
    Restore,
    /// A known path with another method.
    WrongMethod,
    Unknown,
}

/// Finds the route of a request.
pub(super) fn route(method: &Method, path: &str) -> Route {
    let is = |wanted: Method, route: Route| {
        if *method == wanted {
            route
        } else {
            Route::WrongMethod
        }
    };
    if let Some(runtime) = path.strip_prefix("/2018-06-01/runtime/") {
        return match runtime {
            "invocation/next" => is(Method::GET, Route::Next),
            "init/error" => is(Method::POST, Route::InitError),
            "restore/next" => is(Method::GET, Route::Restore),
            "restore/error" => is(Method::POST, Route::Restore),
            _ => answer(runtime).map_or(Route::Unknown, |route| is(Method::POST, route)),
        };
    }
    match path {
        "/2020-01-01/extension/register" => is(Method::POST, Route::Register),
        "/2020-01-01/extension/event/next" => is(Method::GET, Route::ExtensionNext),
        "/2020-01-01/extension/init/error" => is(Method::POST, Route::ExtensionInitError),
        "/2020-01-01/extension/exit/error" => is(Method::POST, Route::ExtensionExitError),
        "/2022-07-01/telemetry" | "/2020-08-15/logs" => is(Method::PUT, Route::Telemetry),
        _ => Route::Unknown,
    }
}

fn answer(path: &str) -> Option<Route> {
    let (id, what) = path.strip_prefix("invocation/")?.split_once('/')?;
    match what {
        "response" => Some(Route::Response(id.to_owned())),
        "error" => Some(Route::Error(id.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods_are_told_apart() {
        let next = "/2018-06-01/runtime/invocation/next";
        assert_eq!(route(&Method::GET, next), Route::Next);
        assert_eq!(route(&Method::POST, next), Route::WrongMethod);
        let response = "/2018-06-01/runtime/invocation/a-b/response";
        assert_eq!(
            route(&Method::POST, response),
            Route::Response("a-b".to_owned())
        );
        for path in [
            "/",
            "/2018-06-01/runtime/invocation/a/b/response",
            "/2018-06-01/x",
        ] {
            assert_eq!(route(&Method::GET, path), Route::Unknown, "{path}");
        }
        let telemetry = "/2022-07-01/telemetry";
        assert_eq!(route(&Method::PUT, telemetry), Route::Telemetry);
    }
}
