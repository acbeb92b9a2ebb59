//! The other side of the interface client: as much of the Runtime API as it takes to see that functions run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hearth_invoke::{Environment, Output, ProgramEnd, ProgramId, RunningProgram};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longest wait for an answer; an emulated host is slow.
const LIMIT: Duration = Duration::from_secs(120);

/// Serves one bootstrap.
pub(crate) struct RuntimeApi {
    id: ProgramId,
    end: oneshot::Receiver<ProgramEnd>,
    events: mpsc::Sender<Value>,
    answers: mpsc::Receiver<Value>,
    output: Arc<Mutex<Vec<Output>>>,
    server: JoinHandle<()>,
}

struct State {
    events: tokio::sync::Mutex<mpsc::Receiver<Value>>,
    answers: mpsc::Sender<Value>,
}

impl RuntimeApi {
    pub(crate) fn serve(environment: Arc<dyn Environment>, program: RunningProgram) -> Self {
        let (events, events_receiver) = mpsc::channel(1);
        let (answers_sender, answers) = mpsc::channel(1);
        let state = Arc::new(State {
            events: tokio::sync::Mutex::new(events_receiver),
            answers: answers_sender,
        });
        let server = tokio::spawn(async move {
            while let Some(stream) = environment.accept().await {
                let state = Arc::clone(&state);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        let output = Arc::new(Mutex::new(Vec::new()));
        let (collected, mut lines) = (Arc::clone(&output), program.output);
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                println!("{:?}: {}", line.source, String::from_utf8_lossy(&line.text));
                collected.lock().unwrap().push(line);
            }
        });
        Self {
            id: program.id,
            end: program.end,
            events,
            answers,
            output,
            server,
        }
    }

    pub(crate) fn id(&self) -> ProgramId {
        self.id
    }

    /// Gives the function an event.
    pub(crate) async fn send(&mut self, event: Value) {
        self.events.send(event).await.unwrap();
    }

    /// Gives the function an event and waits for its answer.
    pub(crate) async fn invoke(&mut self, event: Value) -> Value {
        self.send(event).await;
        let answer = tokio::time::timeout(LIMIT, self.answers.recv()).await;
        answer.expect("the function does not answer").unwrap()
    }

    /// What it wrote since this was asked last.
    pub(crate) fn output(&mut self) -> Vec<Output> {
        std::mem::take(&mut *self.output.lock().unwrap())
    }

    /// Waits for the end of the bootstrap.
    pub(crate) async fn end(mut self) -> ProgramEnd {
        let end = tokio::time::timeout(LIMIT, &mut self.end).await;
        end.expect("it does not end").unwrap()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        // The next bootstrap of the environment has a server of its own.
        self.server.abort();
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    if path.ends_with("/invocation/next") {
        let mut events = state.events.lock().await;
        let event = match events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        };
        let response = Response::builder()
            .header("Lambda-Runtime-Aws-Request-Id", "request-1")
            .header("Lambda-Runtime-Deadline-Ms", "4102444800000")
            .header("Lambda-Runtime-Invoked-Function-Arn", "arn")
            .header("Content-Type", "application/json");
        return Ok(response.body(Full::from(event.to_string())).unwrap());
    }
    let body = request.into_body().collect().await?.to_bytes();
    assert!(path.ends_with("/response"), "{path}: {body:?}");
    state
        .answers
        .send(serde_json::from_slice(&body).unwrap())
        .await
        .unwrap();
    let mut response = Response::new(Full::from(r#"{"status":"OK"}"#));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}
