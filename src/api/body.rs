//! Request bodies: JSON in UTF-8, bounded in size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::{self, HeaderMap};
use serde_json::{Map, Value};

use super::problem::Problem;

/// A body that takes longer is given up.
const BODY_READ_MAX: Duration = Duration::from_secs(15);

/// Reads a whole body of at most `bytes_max`.
///
/// # Errors
/// 413 for a longer one (before reading, where its length is announced), 408 for a slow one, 400 for
/// one that breaks off.
pub async fn read<B>(body: B, bytes_max: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let too_long = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("the body has more than {bytes_max} bytes (server.body_bytes_max)"),
        )
    };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_long());
    }
    let mut body = body;
    let collect = async {
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let broken =
                |_| Problem::new(StatusCode::BAD_REQUEST, "bad_body", "the body broke off");
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue; // trailers say nothing here
            };
            if bytes_max.saturating_sub(whole.len()) < data.len() {
                return Err(too_long());
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    tokio::time::timeout(BODY_READ_MAX, collect)
        .await
        .unwrap_or_else(|_| {
            let limit_s = BODY_READ_MAX.as_secs();
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                format!("the body did not arrive within {limit_s} s"),
            ))
        })
}

/// The JSON of a body; an empty one counts as `{}`, whatever its type says.
///
/// # Errors
/// 415 for another type than JSON or a compressed body, 400 with line and column for malformed JSON.
pub fn json(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Problem> {
    if bytes.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    if is_coded(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "coded_body",
            "the body must come as it is, without Content-Encoding and in no Transfer-Encoding but chunked",
        ));
    }
    if !is_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "the body must be JSON: send `Content-Type: application/json`",
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "malformed_json",
            format!("the body is not valid JSON: {error}"),
        )
    })
}

/// An untyped body passes; JSON and its relatives (`application/merge-patch+json`) in UTF-8 do too.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return true;
    };
    if values.next().is_some() {
        return false;
    }
    let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let is_json =
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    let is_utf8 = parts
        .filter_map(|p| p.strip_prefix("charset="))
        .all(|c| matches!(c.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"));
    is_json && is_utf8
}

/// Nothing here unpacks bodies: a few bytes could become many.
fn is_coded(headers: &HeaderMap) -> bool {
    let has_other = |name: header::HeaderName, plain: &str| {
        let mut values = headers.get_all(name).iter();
        values.any(|v| !v.as_bytes().eq_ignore_ascii_case(plain.as_bytes()))
    };
    has_other(header::CONTENT_ENCODING, "identity")
        || has_other(header::TRANSFER_ENCODING, "chunked")
}

/// The object that a body must be.
///
/// # Errors
/// 422 for any other JSON value.
pub fn object(body: &Value) -> Result<&Map<String, Value>, Problem> {
    body.as_object().ok_or_else(|| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "the body must be a JSON object",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    fn parse(kind: Option<&str>, text: &str) -> Result<Value, (u16, String)> {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        json(&headers, text.as_bytes()).map_err(|p| (p.status.as_u16(), p.detail))
    }

    #[test]
    fn an_empty_body_is_an_empty_object_of_any_type() {
        for kind in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
        ] {
            assert_eq!(parse(kind, ""), Ok(serde_json::json!({})));
        }
        // Blanks are no JSON.
        assert!(parse(None, "\t").is_err() && parse(Some("text/plain"), " \n").is_err());
    }

    #[test]
    fn types() {
        for kind in [
            None,
            Some("application/json"),
            Some("Application/JSON; charset=UTF-8"),
            Some("application/merge-patch+json"),
        ] {
            assert!(parse(kind, "{}").is_ok(), "{kind:?}");
        }
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-16",
            "application/jsonp",
            "multipart/form-data",
        ] {
            assert_eq!(parse(Some(kind), "{}").unwrap_err().0, 415, "{kind}");
        }
    }

    #[test]
    fn two_types_and_packed_bodies_are_refused() {
        let status = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            json(&headers, b"{}").map_err(|p| p.status.as_u16())
        };
        let json_type = ("content-type", "application/json");
        for fine in [
            &[json_type, ("content-encoding", "identity")][..],
            &[("transfer-encoding", "Chunked")],
        ] {
            assert!(status(fine).is_ok(), "{fine:?}");
        }
        for bad in [
            &[json_type, ("content-type", "text/plain")][..],
            &[json_type, ("content-encoding", "gzip")],
            &[("content-encoding", "identity, br")],
            &[("transfer-encoding", "gzip, chunked")],
            &[
                ("transfer-encoding", "gzip"),
                ("transfer-encoding", "chunked"),
            ],
        ] {
            assert_eq!(status(bad), Err(415), "{bad:?}");
        }
    }

    #[test]
    fn malformed_json_is_located_and_not_repeated() {
        let (status, detail) = parse(None, "{\n  \"password\": hunter2\n}").unwrap_err();
        assert_eq!(status, 400);
        assert!(detail.contains("line 2 column 15"), "{detail}");
        assert!(!detail.contains("hunter2"), "{detail}");
        let deep = "[".repeat(10_000);
        assert_eq!(parse(None, &deep).unwrap_err().0, 400);
        assert_eq!(parse(None, "{\"a\": \"\u{0}\"}").unwrap_err().0, 400);
    }

    #[tokio::test(start_paused = true)]
    async fn size_and_time_are_bounded() {
        let whole = Full::new(Bytes::from_static(b"123456"));
        assert_eq!(read(whole.clone(), 6).await.unwrap(), "123456");
        assert_eq!(read(whole, 5).await.unwrap_err().status, 413);
        let slow = Silent;
        assert_eq!(read(slow, 5).await.unwrap_err().status, 408);
    }

    /// A body that never comes.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let _ = json(&HeaderMap::new(), &bytes);
        }
    }
}
