//! What cameras push: keys, and the intake of `/api/webhooks/{key}` and of the listener for cameras.
//!
//! The key in the path is the secret: no log line, answer or error repeats it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body as HttpBody;
use hyper::{Method, StatusCode, header};
use serde::Serialize;

use super::filters::EventFilter;
use super::{Context, List, Problem, Response, events, json, json_with, no_content, to_the_end};
use crate::model::{CameraId, Transport};
use crate::policy::bucket::{Allowance, Bucket};
use crate::sys::route;
use crate::wire::events::multipart::Intake;
use crate::wire::events::{Decoded, Delivery, decode};

const PREFIX: &str = "/api/webhooks/";
/// A message with all its pictures, bytes.
const MESSAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A message that takes longer is given up.
const MESSAGE_READ_MAX: Duration = Duration::from_secs(30);
/// What one camera may send: a burst of everything at once, then five a second.
const ALLOWANCE: Allowance = Allowance {
    burst: 60,
    gap_ms: 200,
};
/// Senders that are remembered.
const SENDERS_MAX: usize = 1024;

/// Where cameras reach us, and what each of them has sent lately.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    is_tls: bool,
    started: Instant,
    senders: Mutex<HashMap<Caller, Bucket>>,
}

/// Who sends: known by its key, or by its address before anything is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Caller {
    Camera(CameraId),
    Peer(IpAddr),
}

impl Default for Door {
    fn default() -> Self {
        Self::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false)
    }
}

impl Door {
    /// `address` is the listener for cameras, or the API's where there is none.
    pub fn new(address: SocketAddr, is_tls: bool) -> Self {
        Self {
            address,
            is_tls,
            started: Instant::now(),
            senders: Mutex::default(),
        }
    }

    /// Where a camera at `camera` pushes to.
    fn url(&self, key: &str, camera: Option<IpAddr>) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        let mut address = self.address;
        if address.ip().is_unspecified() {
            // Of our own addresses, the one that this camera sees.
            let own = route::source_address(camera);
            address.set_ip(own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        format!("{scheme}://{address}{PREFIX}{key}")
    }

    fn admit(&self, caller: Caller) -> Result<(), Problem> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if senders.len() >= SENDERS_MAX && !senders.contains_key(&caller) {
            senders.retain(|_, bucket| !bucket.is_full(now_ms));
            if senders.len() >= SENDERS_MAX {
                return Err(too_many(1000));
            }
        }
        let bucket = senders.entry(caller).or_default();
        bucket.take(ALLOWANCE, now_ms).map_err(too_many)
    }
}

fn too_many(wait_ms: u64) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        "too many messages; make the camera's events less sensitive or their interval longer",
    )
    .retry_after(wait_ms.div_ceil(1000))
}

/// True for a path that cameras push to.
pub fn is_for(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// One message to the listener for cameras, which takes any path: a key's, or one that the maker fixed.
pub async fn answer<B>(context: &Context, peer: SocketAddr, request: hyper::Request<B>) -> Response
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let (head, body) = request.into_parts();
    receive(context, peer, &head, body)
        .await
        .unwrap_or_else(Problem::into_response)
}

async fn receive<B>(
    context: &Context,
    peer: SocketAddr,
    head: &hyper::http::request::Parts,
    body: B,
) -> Result<Response, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    if ![Method::GET, Method::POST, Method::PUT].contains(&head.method) {
        let allow = "GET, POST, PUT";
        let text = format!("messages come by one of {allow}");
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
        return Err(problem.header(header::ALLOW, allow));
    }
    if !context.site.is_ready() {
        return Err(Problem::unavailable("starting", "the gateway is starting"));
    }
    let path = head.uri.path();
    let (camera, rest) = match path.strip_prefix(PREFIX) {
        Some(below) => {
            let (key, rest) = below.split_once('/').unwrap_or((below, ""));
            let camera = context.site.camera_of_key(key).ok_or_else(nothing_here)?;
            (Some(camera), rest)
        }
        None => (None, ""),
    };
    context.door.admit(match camera {
        Some(id) => Caller::Camera(id),
        None => Caller::Peer(peer.ip().to_canonical()),
    })?;
    let taken = read(body, content_type(head)).await?;
    let decoded = decode(&Delivery {
        path: rest,
        query: head.uri.query().unwrap_or_default(),
        texts: &taken.texts,
        has_picture: taken.has_picture,
    });
    let is_keepalive = is_keepalive(path);
    let known = camera.or_else(|| context.site.camera_of_sender(&decoded.sender, peer.ip()));
    let Some(id) = known else {
        // Makers ask for this before they send anything, and go away without it.
        return match is_keepalive {
            true => json(&serde_json::json!({})),
            false => Err(nothing_here()),
        };
    };
    let Decoded { mut notices, .. } = decoded;
    if is_keepalive {
        notices.clear();
    }
    tracing::debug!(
        camera = id.0,
        reports = notices.len(),
        "a camera pushed a message"
    );
    context.site.observe(id, notices, Transport::Webhook);
    reply(path)
}

/// The same whether the key is wrong, revoked or was never one.
fn nothing_here() -> Problem {
    Problem::not_found("unknown_path", "there is nothing here")
}

/// Dahua asks whether the server lives before it pushes to it.
fn is_keepalive(path: &str) -> bool {
    let path = path.trim_end_matches('/').to_ascii_lowercase();
    path.ends_with("/keepalive")
}

/// Empty, except for Uniview's paths, whose devices want to see their own form.
fn reply(path: &str) -> Result<Response, Problem> {
    match path.contains("/LAPI/") {
        true => json(&serde_json::json!({"Response": {
            "ResponseURL": path, "ResponseCode": 0, "ResponseString": "Succeed", "Data": "null"
        }})),
        false => Ok(Response::default()),
    }
}

fn content_type(head: &hyper::http::request::Parts) -> &str {
    let value = head.headers.get(header::CONTENT_TYPE);
    value.and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// Reads a message as it comes; of its pictures nothing stays.
///
/// # Errors
/// 413 for a longer one, 408 for a slow one, 400 for one that breaks off.
async fn read<B>(
    mut body: B,
    content_type: &str,
) -> Result<crate::wire::events::multipart::Taken, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let too_long = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("a message has at most {MESSAGE_BYTES_MAX} bytes"),
        )
    };
    if body.size_hint().lower() > MESSAGE_BYTES_MAX {
        return Err(too_long());
    }
    let mut intake = Intake::new(content_type);
    let take = async {
        let mut bytes_left = MESSAGE_BYTES_MAX;
        while let Some(frame) = body.frame().await {
            let broken =
                |_| Problem::new(StatusCode::BAD_REQUEST, "bad_body", "the body broke off");
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            bytes_left = bytes_left
                .checked_sub(data.len() as u64)
                .ok_or_else(too_long)?;
            intake.push(&data);
        }
        Ok(intake.finish())
    };
    tokio::time::timeout(MESSAGE_READ_MAX, take)
        .await
        .unwrap_or_else(|_| {
            let limit_s = MESSAGE_READ_MAX.as_secs();
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                format!("the message did not arrive within {limit_s} s"),
            ))
        })
}

/// A new key, shown this once.
#[derive(Debug, Serialize)]
struct Made<'a> {
    camera_id: CameraId,
    key: &'a str,
    /// What the operator writes into the camera.
    webhook_url: String,
}

/// Makes or rotates a camera's key.
pub async fn make_key(context: &Context, id: CameraId) -> Result<Response, Problem> {
    let site = context.site.clone();
    let key = to_the_end(async move { site.make_webhook_key(id).await }).await??;
    let camera = context.site.camera(id).and_then(|v| v.camera.ip_address);
    let camera = camera.and_then(|ip| ip.parse().ok());
    json_with(
        StatusCode::CREATED,
        &Made {
            camera_id: id,
            key: key.expose(),
            webhook_url: context.door.url(key.expose(), camera),
        },
    )
}

pub async fn drop_key(context: &Context, id: CameraId) -> Result<Response, Problem> {
    let site = context.site.clone();
    to_the_end(async move { site.drop_webhook_key(id).await }).await??;
    Ok(no_content())
}

/// What one camera reported.
pub async fn of_camera(
    context: &Context,
    id: CameraId,
    filter: EventFilter,
) -> Result<Response, Problem> {
    if context.site.camera(id).is_none() {
        return Err(crate::site::SiteError::UnknownCamera(id).into());
    }
    let mut query = events::query(filter);
    query.camera = Some(id);
    query.observed_only = true;
    let (items, next_cursor) = context.site.events(query).await?;
    json(&List { items, next_cursor })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    #[test]
    fn each_camera_has_its_own_allowance() {
        let door = Door::default();
        let camera = |id| Caller::Camera(CameraId(id));
        let passed = (0..200).filter(|_| door.admit(camera(1)).is_ok()).count();
        assert!((60..70).contains(&passed), "{passed}");
        let refused = door.admit(camera(1)).unwrap_err();
        assert_eq!(refused.status, 429);
        assert_eq!(refused.into_response().headers()["retry-after"], "1");
        assert!(door.admit(camera(2)).is_ok());
    }

    #[test]
    fn senders_are_bounded() {
        let door = Door::default();
        for i in 0..10_000_u32 {
            let _ = door.admit(Caller::Peer(IpAddr::V4(i.into())));
        }
        assert!(door.senders.lock().unwrap().len() <= SENDERS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_bounded() {
        let picture = vec![0xff_u8; MESSAGE_BYTES_MAX as usize + 1];
        let too_long = read(Full::new(Bytes::from(picture)), "image/jpeg").await;
        assert_eq!(too_long.unwrap_err().status, 413);
        let fine = read(Full::new(Bytes::from_static(b"{}")), "")
            .await
            .unwrap();
        assert_eq!(fine.texts, [b"{}".to_vec()]);
    }

    #[test]
    fn urls_name_an_address_that_can_be_dialled() {
        let door = Door::new("127.0.0.1:8010".parse().unwrap(), false);
        assert_eq!(door.url("k", None), "http://127.0.0.1:8010/api/webhooks/k");
        let door = Door::new("0.0.0.0:8010".parse().unwrap(), false);
        let url = door.url("k", Some("127.0.0.1".parse().unwrap()));
        assert_eq!(url, "http://127.0.0.1:8010/api/webhooks/k");
    }
}
