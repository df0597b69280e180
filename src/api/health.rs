//! Health of the cameras, checks and reconnections on demand.

use hyper::StatusCode;

use super::{Context, Problem, Response, json, json_with, to_the_end};
use crate::model::CameraId;
use crate::site::Window;

pub fn status(context: &Context) -> Result<Response, Problem> {
    json(&context.site.status())
}

pub fn cameras(context: &Context) -> Result<Response, Problem> {
    json(&context.site.health())
}

pub async fn camera(context: &Context, id: CameraId, window: Window) -> Result<Response, Problem> {
    json(&context.site.health_detail(id, window).await?)
}

pub fn reconnection(context: &Context, id: CameraId) -> Result<Response, Problem> {
    json(&context.site.reconnection(id)?)
}

/// A check that has begun is worth its end, for the record too.
pub async fn check_now(context: &Context, id: CameraId) -> Result<Response, Problem> {
    let site = context.site.clone();
    json(&to_the_end(async move { site.check_now(id).await }).await??)
}

pub fn reconnect(context: &Context, id: CameraId) -> Result<Response, Problem> {
    json_with(StatusCode::ACCEPTED, &context.site.reconnect(id)?)
}
