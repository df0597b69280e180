//! Talking to a running daemon over its API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::fail;
use crate::exit::Exit;
use crate::model::{ErrorCode, Scheme, Secret, StreamRole, StreamUrl};
use crate::policy::networks::AllowedNetworks;
use crate::probe::{Depth, Limits, OnvifAccess, Target, Transcript, Trust, net};
use crate::sys::paths;

/// Where the API is when nobody says otherwise.
const DEFAULT: &str = "http://127.0.0.1:8000";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest answer: a detection that is waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(180);
/// Largest answer: a thousand cameras, or one picture.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which daemon to ask.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// The daemon's API, as in http://192.168.1.5:8000 [default: $OHMVISION_URL, else the local daemon].
    ///
    /// With https:// its certificate is checked against the system's authorities, or is the one whose SHA-256
    /// fingerprint stands in $OHMVISION_FINGERPRINT.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// One daemon's API, with a token for it.
#[derive(Debug)]
pub struct Client {
    url: StreamUrl,
    trust: Trust,
    /// `host:port`, as in `Host`.
    authority: String,
    token: Secret,
}

/// An answer that is no error.
#[derive(Debug)]
pub struct Reply {
    pub body: Bytes,
}

impl Reply {
    /// The JSON of the answer; `null` for an empty one.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Client {
    /// Finds the daemon and the token.
    ///
    /// # Errors
    /// The exit code; the sentence is printed.
    pub fn find(args: &ServerArgs) -> Result<Self, Exit> {
        let places = paths::places();
        let given = args
            .server
            .clone()
            .or_else(|| std::env::var("OHMVISION_URL").ok());
        let server = match given {
            Some(text) => remote(&text, std::env::var("OHMVISION_FINGERPRINT").ok()),
            None => local(&places),
        };
        let (url, trust) = server.map_err(|why| fail(Exit::Usage, &why))?;
        let token = match std::env::var("OHMVISION_TOKEN") {
            Ok(token) => Secret::new(token.trim()),
            Err(_) => token_file(&places).map_err(|why| fail(Exit::Usage, &why))?,
        };
        Ok(Self {
            authority: authority(&url),
            url,
            trust,
            token,
        })
    }

    /// One call. An answer that is an error is printed with all its fields.
    ///
    /// # Errors
    /// The exit code; the sentence is printed.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Reply, Exit> {
        let body = body.map(|value| ("application/json", Bytes::from(value.to_string())));
        self.upload(method, path, body).await
    }

    /// One call with a body of another type.
    ///
    /// # Errors
    /// The exit code; the sentence is printed.
    pub async fn upload(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Reply, Exit> {
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.exchange(method, path, body)).await;
        match answer {
            Err(_) => {
                let limit_s = ANSWER_LIMIT.as_secs();
                Err(fail(
                    Exit::Unavailable,
                    &format!("{} did not answer within {limit_s} s", self.authority),
                ))
            }
            Ok(Err(why)) => Err(fail(Exit::Unavailable, &why)),
            Ok(Ok((status, body))) if (200..300).contains(&status) => Ok(Reply { body }),
            Ok(Ok((status, body))) => Err(refused(status, &body)),
        }
    }

    fn target(&self) -> Result<Target, String> {
        let everywhere = AllowedNetworks::parse(&["0.0.0.0/0", "::/0"])?.with_loopback();
        Ok(Target {
            url: self.url.clone(),
            role: StreamRole::Any,
            login: None,
            cleartext_login: false,
            onvif: OnvifAccess::default(),
            depth: Depth::Answer,
            limits: Limits {
                connect: CONNECT_LIMIT,
                ..Limits::default()
            },
            trust: self.trust.clone(),
            networks: everywhere.into(),
            gate: None,
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<(u16, Bytes), String> {
        let gone = |error: &dyn std::fmt::Display| format!("{} broke off: {error}", self.authority);
        let stream = net::connect(&self.target()?, &mut Transcript::new())
            .await
            .map_err(|error| match (error.code, &self.trust) {
                (ErrorCode::Tls, Trust::Pinned(_)) => format!(
                    "{} shows another certificate than the expected one; `ohmvision fingerprint` on the gateway shows which it is, \
                     OHMVISION_FINGERPRINT which one is expected",
                    self.authority
                ),
                (ErrorCode::Tls, _) => format!(
                    "{error}; `ohmvision fingerprint` on the gateway shows what OHMVISION_FINGERPRINT has to be"
                ),
                _ => format!("no daemon answers: {error}; is `ohmvision run` running?"),
            })?
            .stream;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| gone(&e))?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.authority)
            .header("connection", "close")
            .header("authorization", format!("Bearer {}", self.token.expose()));
        if let Some((kind, _)) = &body {
            request = request.header("content-type", *kind);
        }
        let body = body.map_or_else(Bytes::new, |(_, bytes)| bytes);
        let request = request
            .body(Full::new(body))
            .map_err(|e| format!("{path} cannot be asked for: {e}"))?;
        let response = sender.send_request(request).await.map_err(|e| gone(&e))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|e| gone(&e))?;
        driver.abort();
        Ok((status, body.to_bytes()))
    }
}

/// `http://host:port`, `https://host:port` or `host:port`, and how its certificate is known.
fn remote(text: &str, fingerprint: Option<String>) -> Result<(StreamUrl, Trust), String> {
    let trust = match fingerprint {
        Some(text) => Trust::Pinned(sha256(&text)?),
        None => Trust::Authorities,
    };
    Ok((server_url(text)?, trust))
}

/// Where the local daemon wrote that it listens; under TLS, with its certificate's fingerprint.
fn local(places: &[PathBuf]) -> Result<(StreamUrl, Trust), String> {
    let read = |dir: &PathBuf| std::fs::read_to_string(dir.join("api.addr")).ok();
    let text = places.iter().find_map(read).unwrap_or_default();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let url = lines.next().unwrap_or(DEFAULT);
    remote(url, lines.next().map(str::to_owned))
}

fn server_url(text: &str) -> Result<StreamUrl, String> {
    let full = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let url = StreamUrl::parse(&full).map_err(|e| e.to_string())?.url;
    match url.scheme {
        Scheme::Http | Scheme::Https => Ok(url),
        _ => Err(format!(
            "{url} cannot be asked: the address of a daemon begins with http:// or https://"
        )),
    }
}

fn authority(url: &StreamUrl) -> String {
    match url.host.contains(':') {
        true => format!("[{}]:{}", url.host, url.port),
        false => format!("{}:{}", url.host, url.port),
    }
}

/// A SHA-256 with or without colons, as lower-case hex.
fn sha256(text: &str) -> Result<String, String> {
    let hex: String = text.chars().filter(|c| !": ".contains(*c)).collect();
    match hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(hex.to_ascii_lowercase()),
        false => Err(
            "OHMVISION_FINGERPRINT must be the SHA-256 of a certificate, 32 pairs of hex digits"
                .to_owned(),
        ),
    }
}

fn token_file(places: &[PathBuf]) -> Result<Secret, String> {
    let mut unreadable: Option<&Path> = None;
    for dir in places {
        match std::fs::read_to_string(dir.join("admin.token")) {
            Ok(text) => return Ok(Secret::new(text.trim())),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                unreadable = unreadable.or(Some(dir));
            }
            Err(_) => {}
        }
    }
    Err(match unreadable {
        Some(dir) => format!(
            "the token in {} is not readable for you: use sudo or set OHMVISION_TOKEN",
            dir.display()
        ),
        None => {
            "there is no token: set OHMVISION_TOKEN, or start `ohmvision run` once as this user"
                .to_owned()
        }
    })
}

/// Prints a problem+json answer; returns the exit code.
fn refused(status: u16, body: &[u8]) -> Exit {
    let problem: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let detail = problem["detail"].as_str().or(problem["title"].as_str());
    let mut told = detail.map_or_else(|| format!("the daemon answered {status}"), str::to_owned);
    let fields = problem["errors"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if fields.len() > 1 {
        for error in fields {
            let (field, message) = (error["field"].as_str(), error["message"].as_str());
            told.push_str(&format!(
                "\n  {}: {}",
                field.unwrap_or_default(),
                message.unwrap_or_default()
            ));
        }
    }
    fail(Exit::Failed, &told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_daemons() {
        let read = |text: &str| server_url(text).map(|url| (authority(&url), url.scheme));
        for (text, want, scheme) in [
            ("http://10.0.0.5:8000", "10.0.0.5:8000", Scheme::Http),
            ("gateway.local", "gateway.local:80", Scheme::Http),
            ("https://gateway.local", "gateway.local:443", Scheme::Https),
            ("https://[fd00::1]:8000", "[fd00::1]:8000", Scheme::Https),
        ] {
            assert_eq!(read(text), Ok((want.to_owned(), scheme)), "{text}");
        }
        assert!(read("ftp://x").is_err());
        assert!(read("rtsp://x").unwrap_err().contains("https://"));
    }

    #[test]
    fn certificates_are_known_by_authority_or_fingerprint() {
        let hex = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        let trust = |fingerprint: Option<&str>| {
            let read = remote("https://gw", fingerprint.map(str::to_owned));
            read.map(|(_, trust)| trust)
        };
        assert!(matches!(trust(None), Ok(Trust::Authorities)));
        assert!(matches!(trust(Some(&colons)), Ok(Trust::Pinned(pin)) if pin == hex));
        assert!(
            trust(Some("sha256//x"))
                .unwrap_err()
                .contains("OHMVISION_FINGERPRINT")
        );
    }

    #[test]
    fn the_token_is_found_or_it_is_said_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let places = vec![dir.path().join("missing"), dir.path().to_owned()];
        assert!(token_file(&places).unwrap_err().contains("OHMVISION_TOKEN"));
        std::fs::write(dir.path().join("admin.token"), "ohm_x\n").unwrap();
        assert_eq!(token_file(&places).unwrap(), Secret::new("ohm_x"));
        let address = |places| local(places).map(|(url, _)| authority(&url));
        assert_eq!(address(&places).as_deref(), Ok("127.0.0.1:8000"));
        std::fs::write(dir.path().join("api.addr"), "127.0.0.1:9\n").unwrap();
        assert_eq!(address(&places).as_deref(), Ok("127.0.0.1:9"));
        let pin = "0f".repeat(32);
        std::fs::write(
            dir.path().join("api.addr"),
            format!("https://127.0.0.1:9\n{pin}\n"),
        )
        .unwrap();
        let (url, trust) = local(&places).unwrap();
        assert_eq!(url.scheme, Scheme::Https);
        assert!(matches!(trust, Trust::Pinned(found) if found == pin));
    }
}
