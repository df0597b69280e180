//! The REST API: JSON over HTTP/1.1, bearer tokens, errors as RFC 9457.
//!
//! ```text
//! listen -> serve: hosts -> route -> auth -> body -> cameras | discovery | health | events | system
//!                  webhooks
//! ```

mod adopt;
pub mod auth;
pub mod body;
pub mod camera_body;
pub mod camera_json;
mod cameras;
mod config;
pub mod detect_body;
mod discovery;
pub mod etag;
mod events;
pub mod export;
pub mod filters;
mod health;
mod hosts;
pub mod import;
pub mod inside;
pub mod listen;
mod makers;
pub mod merge;
pub mod metrics;
pub mod openapi;
pub mod problem;
mod ptz;
pub mod query;
mod recorder;
pub mod route;
mod scan;
mod serve;
mod sheet;
mod sse;
pub mod strict;
mod system;
pub mod tls;
mod tokens;
pub mod webhooks;

use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::control::Control;
use crate::model::Timestamp;
use crate::site::{Scope, Site};

pub use detect_body::UrlsRequest;
pub use discovery::{JsonBytes, Makers};
pub use problem::{FieldError, Problem};
pub use serve::{Gate, answer};

/// An answer.
pub type Response = hyper::Response<sse::Content>;

/// `[server]` of the configuration, as far as requests are concerned.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    pub body_bytes_max: usize,
    /// Host names beside addresses, `localhost` and the machine's own.
    pub allowed_hosts: Vec<String>,
    /// What callers on loopback may do without a token.
    pub loopback_scope: Option<Scope>,
    pub metrics_public: bool,
    /// The machine's own name.
    pub hostname: String,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            allowed_hosts: Vec::new(),
            loopback_scope: None,
            metrics_public: false,
            hostname: String::new(),
        }
    }
}

/// What the handlers share.
pub struct Context {
    pub site: Arc<Site>,
    pub makers: Arc<dyn Makers>,
    pub control: Control,
    pub gate: Gate,
    /// What cameras push passes here.
    pub door: webhooks::Door,
}

impl Context {
    pub fn new(site: Arc<Site>, control: Control, settings: ServerSettings) -> Self {
        Self {
            makers: site.clone(),
            control,
            site,
            gate: Gate::new(settings),
            door: webhooks::Door::default(),
        }
    }
}

/// Serves the API on `listener`, under TLS where it is given, until `stop` is cancelled and the running requests have ended.
pub async fn run(
    context: Arc<Context>,
    listener: TcpListener,
    tls: Option<Arc<tls::Tls>>,
    limits: listen::Limits,
    stop: CancellationToken,
) {
    listen::run(listener, tls, limits, stop, move |peer, request| {
        let context = Arc::clone(&context);
        async move { answer(&context, peer, request).await }
    })
    .await;
}

/// Serves the listener for cameras, which takes what they push and nothing else.
pub async fn run_webhooks(
    context: Arc<Context>,
    listener: TcpListener,
    limits: listen::Limits,
    stop: CancellationToken,
) {
    listen::run(listener, None, limits, stop, move |peer, request| {
        let context = Arc::clone(&context);
        async move { webhooks::answer(&context, peer, request).await }
    })
    .await;
}

/// 200 with JSON.
fn json<T: Serialize + ?Sized>(value: &T) -> Result<Response, Problem> {
    json_with(StatusCode::OK, value)
}

fn json_with<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Result<Response, Problem> {
    let mut response = json_bytes(serde_json::to_vec(value))?;
    *response.status_mut() = status;
    Ok(response)
}

/// 200 with JSON that is written already.
fn json_bytes(written: serde_json::Result<Vec<u8>>) -> Result<Response, Problem> {
    let bytes = written.map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        let detail = "the answer cannot be written";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    })?;
    Ok(content("application/json", bytes))
}

/// 200 with these bytes.
fn content(kind: &'static str, bytes: impl Into<Bytes>) -> Response {
    let bytes: Bytes = bytes.into();
    let mut response = Response::new(bytes.into());
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// 204.
fn no_content() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Carries work to its end although the caller may go away, and waits for it.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.map_err(|error| {
        tracing::error!(%error, "a request broke off");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the request broke off inside the gateway",
        )
    })
}

/// A page of a list.
#[derive(Debug, Serialize)]
struct List<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
