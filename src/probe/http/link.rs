//! One HTTP/1.1 connection, driven by hand inside the probe: no task of its own that could outlive it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Clock, short};
use crate::model::{CertificateFacts, ErrorCode, ProbeError, StreamUrl};
use crate::probe::net::{self, Stream};
use crate::probe::{Target, Transcript};
use crate::wire::m3u8::ByteRange;

/// Also the bound for all headers of an answer together.
const BUFFER_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// Body bytes of one answer that a probe reads in all.
const BODY_BYTES_MAX: usize = 64 << 20;
/// As much of the answer to the anonymous request is read in order to keep its connection.
const DRAIN_BYTES_MAX: usize = 64 << 10;
/// And for no longer: some devices never end a body that they gave no length.
const DRAIN_TIME: Duration = Duration::from_millis(500);
/// Servers that close without a word do so right after their answer.
const CLOSE_GRACE: Duration = Duration::from_millis(20);
const USER_AGENT: &str = concat!("OhmVision/", env!("CARGO_PKG_VERSION"));

type Requests = http1::SendRequest<Full<Bytes>>;

/// The connection's own work: it moves whenever something waits for it.
struct Wire(Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>);

impl Wire {
    /// True while the connection stands.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let is_over = match &mut self.0 {
            // The error, if any, reaches whoever waits for the answer or its body.
            Some(connection) => Pin::new(connection).poll(cx).is_ready(),
            None => true,
        };
        if is_over {
            self.0 = None;
        }
        !is_over
    }

    /// Runs `work` and the connection together until the work is done.
    async fn with<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            self.drive(cx);
            work.as_mut().poll(cx)
        })
        .await
    }
}

/// The body of a request.
#[derive(Debug)]
pub(in crate::probe) struct Message {
    pub content_type: String,
    pub body: Bytes,
}

/// An open connection without a request under way.
pub(in crate::probe) struct Link {
    requests: Requests,
    wire: Wire,
    /// `host:port`, for sentences and the `Host` header.
    authority: String,
    pub certificate: Option<CertificateFacts>,
    /// Our own address on the way to the device.
    #[cfg(feature = "webrtc")]
    pub local: Option<std::net::SocketAddr>,
}

impl Link {
    pub(in crate::probe) async fn open(
        target: &Target,
        log: &mut Transcript,
        clock: &Clock,
    ) -> Result<Self, ProbeError> {
        let connection = clock.connect(target, log).await?;
        let mut builder = http1::Builder::new();
        builder
            .max_buf_size(BUFFER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            // Old firmware compares header names by case and answers untidily.
            .title_case_headers(true)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .ignore_invalid_headers_in_responses(true);
        #[cfg(feature = "webrtc")]
        let local = connection.stream.local_address();
        let io = TokioIo::new(connection.stream);
        let (requests, wire) = builder
            .handshake(io)
            .await
            .map_err(|e| hyper_error(log, &e))?;
        Ok(Self {
            requests,
            wire: Wire(Some(wire)),
            authority: target.url.authority(),
            certificate: connection.certificate,
            #[cfg(feature = "webrtc")]
            local,
        })
    }

    /// Sends one GET and waits for the head of the answer. `path` goes onto the wire as it is.
    pub(in crate::probe) async fn get(
        self,
        path: &str,
        authorization: Option<&str>,
        log: &Transcript,
        until: Instant,
    ) -> Result<Answer, ProbeError> {
        self.get_part(path, authorization, None, log, until).await
    }

    /// The same for a range of the resource's bytes; a device may answer with the whole all the same.
    pub(in crate::probe) async fn get_part(
        self,
        path: &str,
        authorization: Option<&str>,
        range: Option<ByteRange>,
        log: &Transcript,
        until: Instant,
    ) -> Result<Answer, ProbeError> {
        let mut request = self.request(Method::GET, path, authorization, None, log)?;
        if let Some(range) = range {
            let text = format!("bytes={}-{}", range.offset, range.last());
            if let Ok(value) = HeaderValue::from_str(&text) {
                request.headers_mut().insert(header::RANGE, value);
            }
        }
        self.exchange(request, log, until).await
    }

    /// True for a connection to this URL's host and port, encrypted as its scheme says.
    pub(in crate::probe) fn leads_to(&self, url: &StreamUrl) -> bool {
        self.certificate.is_some() == url.scheme.is_tls() && self.authority == url.authority()
    }

    /// The same with a message to be posted.
    pub(in crate::probe) async fn post(
        self,
        path: &str,
        authorization: Option<&str>,
        message: Message,
        log: &Transcript,
        until: Instant,
    ) -> Result<Answer, ProbeError> {
        self.send(Method::POST, path, authorization, Some(message), log, until)
            .await
    }

    /// Ends what an earlier request began.
    #[cfg(feature = "webrtc")]
    pub(in crate::probe) async fn delete(
        self,
        path: &str,
        authorization: Option<&str>,
        log: &Transcript,
        until: Instant,
    ) -> Result<Answer, ProbeError> {
        self.send(Method::DELETE, path, authorization, None, log, until)
            .await
    }

    /// The same with any verb.
    pub(in crate::probe) async fn send(
        self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
        message: Option<Message>,
        log: &Transcript,
        until: Instant,
    ) -> Result<Answer, ProbeError> {
        let request = self.request(method, path, authorization, message, log)?;
        self.exchange(request, log, until).await
    }

    /// False when the device has closed the connection, or does so within the grace of a moment.
    pub(in crate::probe) async fn stands(&mut self) -> bool {
        let Self { requests, wire, .. } = self;
        let closing = std::future::poll_fn(|cx| match wire.drive(cx) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        });
        timeout(CLOSE_GRACE, closing).await.is_err() && requests.is_ready()
    }

    async fn exchange(
        mut self,
        request: Request<Full<Bytes>>,
        log: &Transcript,
        until: Instant,
    ) -> Result<Answer, ProbeError> {
        let began = Instant::now();
        let requests = &mut self.requests;
        let exchange = async {
            requests.ready().await?;
            requests.send_request(request).await
        };
        match timeout_at(until, self.wire.with(exchange)).await {
            Ok(Ok(response)) => Ok(Answer {
                link: self,
                response,
            }),
            Ok(Err(error)) => Err(hyper_error(log, &error)),
            Err(_) => Err(log.error(
                ErrorCode::Timeout,
                format!(
                    "{} did not answer the request within {} ms",
                    self.authority,
                    began.elapsed().as_millis()
                ),
            )),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
        message: Option<Message>,
        log: &Transcript,
    ) -> Result<Request<Full<Bytes>>, ProbeError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "*/*");
        if let Some(text) = authorization {
            let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
                log.error(
                    ErrorCode::Internal,
                    "the user name holds a character that HTTP cannot carry",
                )
            })?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let mut body = Bytes::new();
        if let Some(message) = message {
            request = request.header(header::CONTENT_TYPE, message.content_type);
            body = message.body;
        }
        request.body(Full::new(body)).map_err(|_| {
            log.error(
                ErrorCode::Internal,
                "the URL's path holds a character that HTTP cannot carry; write it as a percent escape",
            )
        })
    }
}

/// The head of an answer, with its body still on the wire.
pub(in crate::probe) struct Answer {
    link: Link,
    response: Response<Incoming>,
}

impl Answer {
    pub(in crate::probe) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// One header as text, at most 128 bytes of it.
    pub(in crate::probe) fn header_short(&self, name: header::HeaderName) -> Option<String> {
        let value = self.response.headers().get(name)?;
        Some(short(value.as_bytes())).filter(|text| !text.is_empty())
    }

    /// Every value of this header that is text, whole.
    pub(in crate::probe) fn headers(&self, name: header::HeaderName) -> impl Iterator<Item = &str> {
        let values = self.response.headers().get_all(name).into_iter();
        values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
    }

    pub(in crate::probe) fn into_body(self) -> Body {
        self.into_bounded_body(BODY_BYTES_MAX)
    }

    pub(in crate::probe) fn into_bounded_body(self, bytes_max: usize) -> Body {
        let has_length = self.response.headers().contains_key(header::CONTENT_LENGTH)
            || self
                .response
                .headers()
                .contains_key(header::TRANSFER_ENCODING);
        let incoming = self.response.into_body();
        Body {
            link: self.link,
            is_finite: incoming.size_hint().exact().is_some(),
            incoming,
            has_length,
            is_cut: false,
            bytes_left: bytes_max,
        }
    }

    /// All of a body of at most `bytes_max` bytes. Devices that announce more than they send are met: what came
    /// is the body, and the reader decides.
    pub(in crate::probe) async fn into_whole(
        self,
        bytes_max: usize,
        log: &Transcript,
        until: Instant,
    ) -> Result<Whole, ProbeError> {
        let authority = self.link.authority.clone();
        let mut body = self.into_bounded_body(bytes_max);
        let mut bytes = Vec::new();
        loop {
            match body.chunk(log, until).await? {
                Chunk::Data(data) => bytes.extend_from_slice(&data),
                Chunk::End { .. } => {
                    return Ok(Whole {
                        bytes,
                        link: body.link,
                        is_cut: body.is_cut,
                    });
                }
                Chunk::Deadline => {
                    let text = format!("{authority} did not finish its answer in time");
                    return Err(log.error(ErrorCode::Timeout, text));
                }
            }
        }
    }

    /// The connection again, once the body is out of the way; `None` when the device closes it.
    pub(in crate::probe) async fn into_link(self, log: &Transcript) -> Option<Link> {
        let until = Instant::now() + DRAIN_TIME;
        let mut body = self.into_bounded_body(DRAIN_BYTES_MAX);
        loop {
            match body.chunk(log, until).await {
                Ok(Chunk::Data(_)) => {}
                Ok(Chunk::End { .. }) => break,
                Ok(Chunk::Deadline) | Err(_) => return None,
            }
        }
        body.link.stands().await.then_some(body.link)
    }
}

/// A body that was read to its end.
pub(in crate::probe) struct Whole {
    pub bytes: Vec<u8>,
    /// For the next request.
    pub link: Link,
    /// The device closed the connection before the end that it had announced.
    pub is_cut: bool,
}

/// A body as it comes in, within a budget of bytes.
pub(in crate::probe) struct Body {
    link: Link,
    incoming: Incoming,
    has_length: bool,
    is_cut: bool,
    is_finite: bool,
    bytes_left: usize,
}

pub(in crate::probe) enum Chunk {
    /// At most 16 KiB.
    Data(Bytes),
    /// The body is over; `is_whole` when the device had said where it ends, and kept to it.
    End {
        is_whole: bool,
    },
    Deadline,
}

impl Body {
    pub(in crate::probe) fn certificate(&self) -> Option<CertificateFacts> {
        self.link.certificate.clone()
    }

    /// The connection, for a next request once the body has ended.
    pub(in crate::probe) fn into_link(self) -> Link {
        self.link
    }

    /// True where the device marks the end of its answer, so that a missing one shows.
    pub(in crate::probe) fn marks_its_end(&self) -> bool {
        self.has_length
    }

    /// True where the device said at the start how long its answer is.
    pub(in crate::probe) fn is_finite(&self) -> bool {
        self.is_finite
    }

    /// # Errors
    /// `reset` when the connection breaks, `protocol` for broken framing and for a used-up budget.
    pub(in crate::probe) async fn chunk(
        &mut self,
        log: &Transcript,
        until: Instant,
    ) -> Result<Chunk, ProbeError> {
        loop {
            let incoming = &mut self.incoming;
            let next = std::future::poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx));
            let frame = match timeout_at(until, self.link.wire.with(next)).await {
                Err(_) => return Ok(Chunk::Deadline),
                Ok(None) => {
                    return Ok(Chunk::End {
                        is_whole: self.has_length,
                    });
                }
                Ok(Some(Err(e))) if is_early_end(&e) => {
                    self.is_cut = true;
                    return Ok(Chunk::End { is_whole: false });
                }
                Ok(Some(Err(e))) => return Err(hyper_error(log, &e)),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else {
                continue; // trailers
            };
            self.bytes_left = self
                .bytes_left
                .checked_sub(data.len())
                .ok_or_else(|| log.error(ErrorCode::Protocol, "the answer is too long"))?;
            return Ok(Chunk::Data(data));
        }
    }
}

/// The device closed the connection in order, but before the end that it had announced.
fn is_early_end(error: &hyper::Error) -> bool {
    error.is_incomplete_message()
        || io_source(error).is_some_and(|io| io.kind() == std::io::ErrorKind::UnexpectedEof)
}

fn io_source(error: &hyper::Error) -> Option<&std::io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn hyper_error(log: &Transcript, error: &hyper::Error) -> ProbeError {
    if error.is_parse_too_large() {
        return log.error(
            ErrorCode::Protocol,
            format!("the answer's headers exceed {BUFFER_BYTES_MAX} bytes or {HEADERS_MAX} lines"),
        );
    }
    if error.is_parse() {
        return log.error(
            ErrorCode::Protocol,
            "the device answers with something that is not HTTP",
        );
    }
    if let Some(io) = io_source(error) {
        return net::io_error(log, io);
    }
    log.error(
        ErrorCode::Reset,
        "the device closed the connection before its answer was complete",
    )
}
