//! Server-sent events (WHATWG HTML 9.2): one answer that goes on while something happens.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc;

use super::Response;

/// Events that may wait for a slow reader; whoever tells them waits too.
const WAITING_MAX: usize = 16;

/// The body of an answer: whole, or told bit by bit.
#[derive(Debug)]
pub enum Content {
    Whole(Full<Bytes>),
    Events(mpsc::Receiver<Bytes>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl<T: Into<Bytes>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Self::Whole(Full::new(bytes.into()))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Self::Events(events) => events
                .poll_recv(cx)
                .map(|event| event.map(|event| Ok(Frame::data(event)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// The side that tells. Every call fails once the reader is gone.
#[derive(Debug)]
pub struct Teller(mpsc::Sender<Bytes>);

/// The reader went away.
#[derive(Debug)]
pub struct Gone;

impl Teller {
    /// One event; `id` is what a reader that comes back sends as `Last-Event-ID`.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn event<T: Serialize>(&self, name: &str, id: &str, data: &T) -> Result<(), Gone> {
        let written = match serde_json::to_string(data) {
            Ok(json) => format!("event: {name}\nid: {id}\ndata: {json}\n\n"),
            Err(error) => {
                tracing::error!(%error, "an event cannot be written as JSON");
                return Ok(());
            }
        };
        self.0.send(written.into()).await.map_err(|_| Gone)
    }

    /// Ends when the reader is gone.
    pub async fn gone(&self) {
        self.0.closed().await;
    }
}

/// An answer that goes on as long as its [`Teller`] lives.
pub fn stream() -> (Teller, Response) {
    let (teller, events) = mpsc::channel(WAITING_MAX);
    let mut response = Response::new(Content::Events(events));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    (Teller(teller), response)
}

/// What the reader heard last, when it comes back after a break.
pub fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    (id.len() <= 80).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn events_are_written_as_the_standard_says() {
        let (teller, response) = stream();
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        teller
            .event("device", "a/1", &serde_json::json!({"name": "x\ny"}))
            .await
            .unwrap();
        drop(teller);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            body,
            "event: device\nid: a/1\ndata: {\"name\":\"x\\ny\"}\n\n"
        );
    }

    #[tokio::test]
    async fn whoever_tells_learns_that_nobody_listens() {
        let (teller, response) = stream();
        drop(response);
        teller.gone().await;
        assert!(teller.event("progress", "a/1", &1).await.is_err());
    }
}
