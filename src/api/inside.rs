//! The API for other parts of the daemon: the same deeds, checks and bodies, without HTTP around them.
//! Who may ask what is the caller's business.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header;
use serde_json::Value;

use super::etag::Conditions;
use super::route::Request;
use super::serve::{Call, act};
use super::sse::Content;
use super::{Context, Problem};

/// What a deed gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    Json(Value),
    /// Another type: CSV, YAML, JPEG.
    Bytes(Bytes),
    Nothing,
}

/// Does what `request` asks with this body.
///
/// # Errors
/// As the API.
pub async fn perform(
    context: &Arc<Context>,
    request: Request,
    body: Value,
) -> Result<Given, Problem> {
    let call = Call {
        request,
        conditions: Conditions::default(),
        last_event_id: None,
        body,
        upload: None,
    };
    // All deeds of the API in one future: large, so not on the stack of whoever asks.
    let (head, content) = Box::pin(act(context, call)).await?.into_parts();
    let Content::Whole(whole) = content else {
        // Nobody inside reads events bit by bit.
        return Ok(Given::Nothing);
    };
    let bytes = match whole.collect().await {
        Ok(whole) => whole.to_bytes(),
        Err(never) => match never {},
    };
    let kind = head.headers.get(header::CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    Ok(match is_json {
        _ if bytes.is_empty() => Given::Nothing,
        true => serde_json::from_slice(&bytes).map_or(Given::Bytes(bytes), Given::Json),
        false => Given::Bytes(bytes),
    })
}
