//! Talking to a running daemon over its API.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::fail;
use crate::exit::Exit;
use crate::model::{Scheme, Secret, StreamUrl};
use crate::sys::paths;

/// Where the API is when nobody says otherwise.
const DEFAULT: &str = "127.0.0.1:8000";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest answer: a detection that is waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(180);
/// Largest answer: a thousand cameras, or one picture.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which daemon to ask.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// The daemon's API, as in http://192.168.1.5:8000 [default: $OHMVISION_URL, else the local daemon].
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// One daemon's API, with a token for it.
#[derive(Debug)]
pub struct Client {
    /// `host:port`, as dialled and as in `Host`.
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
        let authority = match given {
            Some(url) => authority(&url).map_err(|why| fail(Exit::Usage, &why))?,
            None => local_address(&places),
        };
        let token = match std::env::var("OHMVISION_TOKEN") {
            Ok(token) => Secret::new(token.trim()),
            Err(_) => token_file(&places).map_err(|why| fail(Exit::Usage, &why))?,
        };
        Ok(Self { authority, token })
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

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Bytes), String> {
        let gone = |error: &dyn std::fmt::Display| format!("{} broke off: {error}", self.authority);
        let connect = TcpStream::connect(&self.authority);
        let stream = match tokio::time::timeout(CONNECT_LIMIT, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(format!(
                    "no daemon answers on {}: {error}; is `ohmvision run` running?",
                    self.authority
                ));
            }
            Err(_) => return Err(format!("{} cannot be reached", self.authority)),
        };
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
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Bytes::new, |value| Bytes::from(value.to_string()));
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

/// `http://host:port` or `host:port`.
fn authority(url: &str) -> Result<String, String> {
    let full = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    let parsed = StreamUrl::parse(&full).map_err(|e| e.to_string())?;
    if parsed.url.scheme != Scheme::Http {
        return Err(format!(
            "{} cannot be asked: the address of a daemon begins with http://",
            parsed.url
        ));
    }
    let host = &parsed.url.host;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    Ok(format!("{host}:{}", parsed.url.port))
}

/// Where the local daemon wrote that it listens.
fn local_address(places: &[PathBuf]) -> String {
    let read = |dir: &PathBuf| std::fs::read_to_string(dir.join("api.addr")).ok();
    let found = places
        .iter()
        .find_map(read)
        .map(|text| text.trim().to_owned());
    found
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| DEFAULT.to_owned())
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
        assert_eq!(
            authority("http://10.0.0.5:8000").as_deref(),
            Ok("10.0.0.5:8000")
        );
        assert_eq!(
            authority("gateway.local").as_deref(),
            Ok("gateway.local:80")
        );
        assert_eq!(
            authority("http://[fd00::1]:8000").as_deref(),
            Ok("[fd00::1]:8000")
        );
        assert!(
            authority("https://10.0.0.5")
                .unwrap_err()
                .contains("http://")
        );
        assert!(authority("ftp://x").is_err());
    }

    #[test]
    fn the_token_is_found_or_it_is_said_why_not() {
        let dir = tempfile::tempdir().unwrap();
        let places = vec![dir.path().join("missing"), dir.path().to_owned()];
        assert!(token_file(&places).unwrap_err().contains("OHMVISION_TOKEN"));
        std::fs::write(dir.path().join("admin.token"), "ohm_x\n").unwrap();
        assert_eq!(token_file(&places).unwrap(), Secret::new("ohm_x"));
        assert_eq!(local_address(&places), DEFAULT);
        std::fs::write(dir.path().join("api.addr"), "127.0.0.1:9\n").unwrap();
        assert_eq!(local_address(&places), "127.0.0.1:9");
    }
}
