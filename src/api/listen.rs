//! The accept loop: every connection, every wait and every buffer has its bound.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Response;
use super::tls::Tls;

/// Bounds of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Further callers wait in the kernel's queue.
    pub connections_max: usize,
    /// From the connection to the end of its TLS handshake.
    pub handshake: Duration,
    /// From the first chance to read a request to the end of its header: bounds slow headers and
    /// idle kept-alive connections alike.
    pub header_read: Duration,
    /// Longest time in which a caller takes nothing of its answer.
    pub write_stall: Duration,
    /// From the stop signal to cutting off what still runs.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            handshake: Duration::from_secs(5),
            header_read: Duration::from_secs(10),
            write_stall: Duration::from_secs(20),
            drain: Duration::from_secs(3),
        }
    }
}

/// Request line and header together, bytes; also the read buffer of a connection.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// What rustls holds of an answer that the caller does not take, bytes.
const TLS_BUFFER_BYTES_MAX: usize = 16 * 1024;
/// To callers who speak plain HTTP to the TLS port.
const SPEAK_TLS: &str = concat!(
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: 145\r\nConnection: close\r\n\r\n",
    r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"this port speaks HTTPS: begin the URL with https://","code":"tls","errors":[]}"#
);
/// After an error of `accept` that more sockets would repeat at once.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(50);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Serves HTTP/1.1 on `listener`, under TLS where it is given, with `answer` until `stop` is cancelled; then lets running
/// requests end, cuts off what is left after the drain time, and returns.
pub async fn run<A, F>(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    stop: CancellationToken,
    answer: A,
) where
    A: Fn(SocketAddr, hyper::Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    let accepting = async {
        let mut pause = ACCEPT_PAUSE_MIN;
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let (stream, peer) = accept(&listener, &mut pause).await;
            let serve = connection(
                stream,
                peer,
                tls.clone(),
                limits,
                stop.clone(),
                answer.clone(),
            );
            let cut = cut.clone();
            tasks.spawn(async move {
                cut.run_until_cancelled(serve).await;
                drop(slot);
            });
        }
    };
    stop.run_until_cancelled(accepting).await;
    drop(listener);
    tasks.close();
    if tokio::time::timeout(limits.drain, tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = tasks.len(),
            "API requests cut off at shutdown"
        );
        cut.cancel();
        tasks.wait().await;
    }
}

/// The next connection. Where the process has no socket left it waits longer and longer.
async fn accept(listener: &TcpListener, pause: &mut Duration) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.accept().await {
            Ok(accepted) => {
                *pause = ACCEPT_PAUSE_MIN;
                return accepted;
            }
            Err(error) => error,
        };
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        ) {
            continue; // the caller's own fault, the next one may be fine
        }
        if *pause == ACCEPT_PAUSE_MIN {
            tracing::warn!(%error, "the API cannot accept connections, trying again");
        }
        sleep(*pause).await;
        *pause = (*pause * 2).min(ACCEPT_PAUSE_MAX);
    }
}

/// Serves one connection to its end.
async fn connection<A, F>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    stop: CancellationToken,
    answer: A,
) where
    A: Fn(SocketAddr, hyper::Request<Incoming>) -> F,
    F: Future<Output = Response>,
{
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        let stream = Stalling::new(stream, limits.write_stall);
        return http(stream, peer, limits, stop, answer).await;
    };
    // Boxed, so that a connection without TLS does not carry the size of one with it.
    let secured = Box::pin(secure(stream, &tls, limits));
    match stop.run_until_cancelled(secured).await {
        None => {}
        Some(Ok(stream)) => Box::pin(http(stream, peer, limits, stop, answer)).await,
        Some(Err(error)) => tracing::debug!(%peer, %error, "API connection without TLS handshake"),
    }
}

/// The TLS handshake. Who speaks plain HTTP is told so in plain HTTP.
async fn secure(
    stream: TcpStream,
    tls: &Tls,
    limits: Limits,
) -> io::Result<TlsStream<Stalling<TcpStream>>> {
    let handshake = async {
        let mut first = [0];
        stream.peek(&mut first).await?;
        let mut stream = Stalling::new(stream, limits.write_stall);
        // A TLS record begins with 22, a method with a letter.
        if first[0].is_ascii_uppercase() {
            let _ = stream.read(&mut [0; 4096]).await?;
            stream.write_all(SPEAK_TLS.as_bytes()).await?;
            stream.shutdown().await?;
            return Err(io::Error::other("plain HTTP where TLS is spoken"));
        }
        let mut stream = tls.acceptor().accept(stream).await?;
        let buffer = Some(TLS_BUFFER_BYTES_MAX);
        stream.get_mut().1.set_buffer_limit(buffer);
        Ok(stream)
    };
    let ended = tokio::time::timeout(limits.handshake, handshake).await;
    ended.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Serves the requests of one connection.
async fn http<S, A, F>(
    stream: S,
    peer: SocketAddr,
    limits: Limits,
    stop: CancellationToken,
    answer: A,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(SocketAddr, hyper::Request<Incoming>) -> F,
    F: Future<Output = Response>,
{
    let io = TokioIo::new(stream);
    let service = service_fn(|request| {
        let response = answer(peer, request);
        async { Ok::<_, std::convert::Infallible>(response.await) }
    });
    // hyper bounds the number of header fields to 100 by itself; naming a number would move them to
    // the heap.
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(io, service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "API connection ended early");
    }
}

/// A stream whose writes fail when the other side takes nothing for a while: hyper itself would wait
/// for ever.
struct Stalling<S> {
    inner: S,
    limit: Duration,
    /// Runs while a write is pending.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    fn new(inner: S, limit: Duration) -> Self {
        Self {
            inner,
            limit,
            stall: None,
        }
    }

    /// Passes on what a write came to, or its time-out.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let deadline = Instant::now() + self.limit;
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
