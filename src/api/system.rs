//! The daemon about itself: alive, ready, version, metrics.

use super::metrics::{self, Process};
use super::{Context, Problem, Response, content, now};

/// Alive: it answers, nothing more.
pub fn healthz() -> Response {
    content("application/json", r#"{"status":"ok"}"#)
}

/// Ready: it serves.
pub fn readyz(context: &Context) -> Result<Response, Problem> {
    if !context.site.is_ready() {
        return Err(Problem::unavailable(
            "not_ready",
            "the gateway is starting or stopping",
        ));
    }
    Ok(content("application/json", r#"{"status":"ready"}"#))
}

pub fn version() -> Response {
    let body = concat!(
        r#"{"name":"ohmvision","version":""#,
        env!("CARGO_PKG_VERSION"),
        r#""}"#
    );
    content("application/json", body)
}

/// Prometheus text from what the site shows now.
pub fn metrics(context: &Context) -> Response {
    let text = metrics::render(&context.site.cameras(), now(), Process::read().as_ref());
    content("text/plain; version=0.0.4; charset=utf-8", text)
}
