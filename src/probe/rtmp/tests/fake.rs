//! An RTMP server on loopback whose every answer the test decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::probe::rtsp::tests::fake::acceptor;
use crate::wire::amf::{self, Value};
use crate::wire::flv::VIDEO;
use crate::wire::rtmp::{
    COMMAND, ChunkReader, HANDSHAKE_BYTES, SET_CHUNK_SIZE, VERSION, write_command, write_control,
};

/// What the server does next.
#[derive(Clone)]
pub enum Step {
    Send(Vec<u8>),
    /// The same again and again, with a pause between.
    Repeat(Vec<u8>, Duration),
    Close,
}

pub type Steps = Vec<Step>;

/// Answers to a command, by its name.
type Script = Arc<dyn Fn(&str) -> Steps + Send + Sync>;

pub struct Fake {
    pub address: SocketAddr,
    /// Each message of the client: a command's name and its texts, or the number of another type.
    requests: mpsc::UnboundedReceiver<String>,
    _tasks: JoinSet<()>,
}

impl Fake {
    pub async fn start(script: impl Fn(&str) -> Steps + Send + Sync + 'static) -> Self {
        Self::listen(None, &handshake(), script).await
    }

    pub async fn start_tls(script: impl Fn(&str) -> Steps + Send + Sync + 'static) -> Self {
        Self::listen(Some(acceptor()), &handshake(), script).await
    }

    /// With other bytes than S0, S1 and S2.
    pub async fn greeting(greeting: &[u8]) -> Self {
        Self::listen(None, greeting, |_| vec![]).await
    }

    async fn listen(
        tls: Option<TlsAcceptor>,
        greeting: &[u8],
        script: impl Fn(&str) -> Steps + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        let script: Script = Arc::new(script);
        let greeting = greeting.to_vec();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, greeting) = (tls.clone(), greeting.clone());
                let (script, sender) = (script.clone(), sender.clone());
                serving.spawn(async move {
                    // A client that hangs up ends its connection and nothing else.
                    let _ = match tls {
                        None => serve(stream, &greeting, script, sender).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &greeting, script, sender).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self {
            address,
            requests,
            _tasks: tasks,
        }
    }

    pub async fn next_request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }

    /// Waits for a message that begins so.
    pub async fn wait_for(&mut self, start: &str) -> String {
        loop {
            let request = self.next_request().await;
            if request.starts_with(start) {
                return request;
            }
        }
    }

    /// What came so far.
    pub fn requests(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    greeting: &[u8],
    script: Script,
    sender: mpsc::UnboundedSender<String>,
) -> std::io::Result<()> {
    let mut client = vec![0; 1 + HANDSHAKE_BYTES];
    stream.read_exact(&mut client).await?;
    stream.write_all(greeting).await?;
    client.truncate(HANDSHAKE_BYTES);
    stream.read_exact(&mut client).await?;
    let (mut input, output) = tokio::io::split(stream);
    let (steps, waiting) = mpsc::unbounded_channel();
    // The client is listened to while pictures go out.
    let talk = async move {
        let mut reader = ChunkReader::default();
        loop {
            while let Some(message) = reader.poll().unwrap() {
                let request = shown(message.kind, reader.head(&message));
                let name = request.split(' ').next().unwrap_or_default();
                let is_command = message.kind == COMMAND;
                for step in is_command.then(|| script(name)).into_iter().flatten() {
                    let _ = steps.send(step);
                }
                let _ = sender.send(request);
            }
            let count = input.read(reader.space()).await?;
            if count == 0 {
                return Ok(());
            }
            reader.filled(count);
        }
    };
    tokio::select! {
        ended = talk => ended,
        ended = perform(output, waiting) => ended,
    }
}

async fn perform(
    mut output: impl AsyncWrite + Unpin,
    mut waiting: mpsc::UnboundedReceiver<Step>,
) -> std::io::Result<()> {
    while let Some(step) = waiting.recv().await {
        match step {
            Step::Send(bytes) => output.write_all(&bytes).await?,
            Step::Repeat(bytes, pause) => loop {
                output.write_all(&bytes).await?;
                output.flush().await?;
                tokio::time::sleep(pause).await;
            },
            Step::Close => return Ok(()),
        }
        output.flush().await?;
    }
    Ok(())
}

/// A command's name, texts and application; of other messages type and bytes.
fn shown(kind: u8, body: &[u8]) -> String {
    if kind != COMMAND {
        return format!("{kind} {body:?}");
    }
    let values = amf::read_all(body);
    let texts = values
        .iter()
        .flat_map(|value| [value.as_text(), value.get("app").and_then(Value::as_text)])
        .flatten();
    texts.collect::<Vec<_>>().join(" ")
}

/// S0, S1, S2.
fn handshake() -> Vec<u8> {
    let mut bytes = vec![7; 1 + 2 * HANDSHAKE_BYTES];
    bytes[0] = VERSION;
    bytes
}

pub fn command(name: &str, transaction: f64, arguments: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_command(&mut out, 0, name, transaction, arguments);
    out
}

pub fn control(kind: u8, event: Option<u16>, numbers: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    write_control(&mut out, kind, event, numbers);
    out
}

/// An information object.
pub fn status(name: &str, transaction: f64, level: &str, code: &str, text: &str) -> Vec<u8> {
    let texts = [("level", level), ("code", code), ("description", text)];
    let object = texts.map(|(name, text)| (name.as_bytes(), Value::text(text)));
    let arguments = [Value::Null, Value::Object(object.to_vec())];
    command(name, transaction, &arguments)
}

/// A picture in a chunk of its own; after [`start`].
pub fn video(timestamp_ms: u32, body: &[u8]) -> Vec<u8> {
    let mut out = video_header(timestamp_ms, body.len() as u32);
    out.extend_from_slice(body);
    out
}

pub fn video_header(timestamp_ms: u32, length: u32) -> Vec<u8> {
    let [_, t0, t1, t2] = timestamp_ms.to_be_bytes();
    let [_, l0, l1, l2] = length.to_be_bytes();
    vec![6, t0, t1, t2, l0, l1, l2, VIDEO, 1, 0, 0, 0]
}

/// The usual answers up to `play`; what `playing` says follows on that.
pub fn accept(name: &str, playing: impl FnOnce() -> Steps) -> Steps {
    match name {
        "connect" => {
            let code = "NetConnection.Connect.Success";
            vec![Step::Send(status("_result", 1.0, "status", code, ""))]
        }
        "createStream" => {
            let arguments = [Value::Null, Value::Number(1.0)];
            vec![Step::Send(command("_result", 2.0, &arguments))]
        }
        "play" => playing(),
        _ => vec![],
    }
}

/// The server's word that it plays, in long chunks from now on.
pub fn start() -> Step {
    let code = "NetStream.Play.Start";
    let mut bytes = status("onStatus", 0.0, "status", code, "");
    bytes.extend_from_slice(&control(SET_CHUNK_SIZE, None, &[0xff_ffff]));
    Step::Send(bytes)
}
