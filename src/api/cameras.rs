//! The stored cameras.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde_json::{Map, Value};

use super::camera_body::{self, unknown_maker};
use super::camera_json::{CameraRecord, camera_json};
use super::discovery::with_rules;
use super::etag::{Conditions, Tags, etag};
use super::filters::{CameraFilter, Page};
use super::merge::patched;
use super::problem::FieldError;
use super::{
    Context, List, Problem, Response, body, content, json, json_with, no_content, to_the_end,
};
use crate::model::CameraId;
use crate::site::{CameraDraft, CameraView, SiteError};

/// How often a change is worked out anew because another one came between.
const CHANGE_ROUNDS_MAX: u32 = 3;

pub fn list(context: &Context, filter: &CameraFilter) -> Result<Response, Problem> {
    let maker = match &filter.manufacturer {
        None => None,
        Some(name) => Some(context.makers.resolve(name).map_err(|near| {
            Problem::invalid(vec![FieldError::new("manufacturer", unknown_maker(&near))])
        })?),
    };
    let views = context.site.cameras();
    let wanted = views
        .iter()
        .filter(|v| is_wanted(v, filter, maker.as_deref()));
    let (items, next_cursor) = page(wanted, filter.page);
    let items = items.into_iter().map(CameraRecord::from).collect();
    json(&List { items, next_cursor })
}

fn is_wanted(view: &CameraView, filter: &CameraFilter, maker: Option<&str>) -> bool {
    let camera = &view.camera;
    let health = match filter.health {
        None => true,
        Some("disabled") => !camera.enabled,
        Some(health) => camera.enabled && view.health.connection_health == health,
    };
    let holds = |q: &String| {
        let texts = [
            &camera.manufacturer,
            &camera.model,
            &camera.ip_address,
            &camera.mac_address,
            &camera.serial_number,
        ];
        let mut all = texts
            .into_iter()
            .flatten()
            .chain([&camera.name])
            .chain(&camera.tags);
        all.any(|text| text.to_lowercase().contains(q))
    };
    health
        && maker.is_none_or(|m| camera.manufacturer.as_deref() == Some(m))
        && filter
            .tag
            .as_ref()
            .is_none_or(|tag| camera.tags.contains(tag))
        && filter.q.as_ref().is_none_or(holds)
}

/// One page of cameras in the order of their ids, and the cursor of the next one.
fn page<'v>(
    views: impl Iterator<Item = &'v CameraView>,
    page: Page,
) -> (Vec<&'v CameraView>, Option<String>) {
    let mut rest = views.filter(|v| page.after.is_none_or(|after| after < v.camera.id.0));
    let items: Vec<_> = rest.by_ref().take(page.limit as usize).collect();
    let next = rest
        .next()
        .and(items.last())
        .map(|last| last.camera.id.to_string());
    (items, next)
}

pub async fn create(context: &Context, body: &Value, wait: bool) -> Result<Response, Problem> {
    let map = body::object(body)?;
    let draft = with_rules(context, |rules| camera_body::parse(map, None, rules));
    let draft = draft.map_err(Problem::invalid)?;
    let site = context.site.clone();
    let view = to_the_end(async move { site.create_camera(draft, wait).await }).await??;
    let mut response = record(StatusCode::CREATED, &view)?;
    set(
        &mut response,
        header::LOCATION,
        &format!("/api/cameras/{}", view.camera.id),
    );
    Ok(response)
}

pub fn get(context: &Context, id: CameraId, conditions: &Conditions) -> Result<Response, Problem> {
    let view = find(context, id)?;
    let revision = view.camera.revision;
    if conditions
        .if_none_match
        .as_ref()
        .is_some_and(|tags| tags.matches(revision))
    {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        set(&mut response, header::ETAG, &etag(revision));
        return Ok(response);
    }
    record(StatusCode::OK, &view)
}

pub async fn put(
    context: &Context,
    id: CameraId,
    conditions: &Conditions,
    body: &Value,
) -> Result<Response, Problem> {
    let map = body::object(body)?;
    change(context, id, conditions, |_| map.clone()).await
}

pub async fn patch(
    context: &Context,
    id: CameraId,
    conditions: &Conditions,
    body: &Value,
) -> Result<Response, Problem> {
    let map = body::object(body)?;
    change(context, id, conditions, |view| {
        patched(&camera_json(view), map)
    })
    .await
}

/// Replaces a camera by what `whole` makes of it. The change is bound to the state that it was worked
/// out from; without an `If-Match` of the caller's it is worked out again when that state is gone.
async fn change(
    context: &Context,
    id: CameraId,
    conditions: &Conditions,
    whole: impl Fn(&CameraView) -> Map<String, Value>,
) -> Result<Response, Problem> {
    let mut round = 1;
    loop {
        let view = find(context, id)?;
        check_match(conditions, &view)?;
        let draft = draft_of(context, &whole(&view), &view)?;
        let site = context.site.clone();
        let revision = Some(view.camera.revision);
        let done = to_the_end(async move { site.update_camera(id, draft, revision).await }).await?;
        match done {
            Err(SiteError::Stale { .. })
                if conditions.if_match.is_none() && round < CHANGE_ROUNDS_MAX =>
            {
                round += 1;
            }
            done => return record(StatusCode::OK, &done?),
        }
    }
}

fn draft_of(
    context: &Context,
    map: &Map<String, Value>,
    view: &CameraView,
) -> Result<CameraDraft, Problem> {
    let draft = with_rules(context, |rules| camera_body::parse(map, Some(view), rules));
    draft.map_err(Problem::invalid)
}

pub async fn delete(
    context: &Context,
    id: CameraId,
    conditions: &Conditions,
) -> Result<Response, Problem> {
    let view = find(context, id)?;
    check_match(conditions, &view)?;
    // `*` asks for no certain state.
    let is_bound = matches!(conditions.if_match, Some(Tags::Revisions(_)));
    let revision = is_bound.then_some(view.camera.revision);
    let site = context.site.clone();
    to_the_end(async move { site.delete_camera(id, revision).await }).await??;
    Ok(no_content())
}

pub async fn snapshot(context: &Context, id: CameraId) -> Result<Response, Problem> {
    Ok(content("image/jpeg", context.site.snapshot(id).await?))
}

fn find(context: &Context, id: CameraId) -> Result<CameraView, Problem> {
    let view = context.site.camera(id);
    view.ok_or_else(|| SiteError::UnknownCamera(id).into())
}

fn check_match(conditions: &Conditions, view: &CameraView) -> Result<(), Problem> {
    let revision = view.camera.revision;
    match &conditions.if_match {
        Some(tags) if !tags.matches(revision) => Err(Problem::stale(revision)),
        _ => Ok(()),
    }
}

/// The record with its `ETag`.
fn record(status: StatusCode, view: &CameraView) -> Result<Response, Problem> {
    let mut response = json_with(status, &CameraRecord::from(view))?;
    set(&mut response, header::ETAG, &etag(view.camera.revision));
    Ok(response)
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::camera_json::tests::view;

    fn site() -> Vec<CameraView> {
        (1..=5)
            .map(|id| {
                let mut view = view();
                view.camera.id = CameraId(id);
                view.camera.enabled = id != 5;
                view
            })
            .collect()
    }

    fn ids(filter: &CameraFilter, maker: Option<&str>) -> Vec<u32> {
        let mut views = site();
        views[1].health.connection_health = "offline";
        views[2].camera.manufacturer = Some("axis".into());
        views[3].camera.tags.clear();
        let wanted = views.iter().filter(|v| is_wanted(v, filter, maker));
        wanted.map(|v| v.camera.id.0).collect()
    }

    #[test]
    fn filters() {
        let all = CameraFilter::default();
        assert_eq!(ids(&all, None), [1, 2, 3, 4, 5]);
        let health = |health| CameraFilter {
            health: Some(health),
            ..all.clone()
        };
        assert_eq!(ids(&health("offline"), None), [2]);
        assert_eq!(ids(&health("disabled"), None), [5]);
        assert_eq!(ids(&health("excellent"), None), [1, 3, 4]);
        assert_eq!(ids(&all, Some("axis")), [3]);
        let tag = CameraFilter {
            tag: Some("yard".into()),
            ..all.clone()
        };
        assert_eq!(ids(&tag, None), [1, 2, 3, 5]);
        let q = CameraFilter {
            q: Some("axi".into()),
            ..all.clone()
        };
        assert_eq!(ids(&q, None), [3]);
    }

    #[test]
    fn pages_follow_each_other_and_end() {
        let views = site();
        let mut cursor = None;
        let mut seen = Vec::new();
        for _ in 0..3 {
            let one = Page {
                limit: 2,
                after: cursor,
            };
            let (items, next) = page(views.iter(), one);
            seen.extend(items.iter().map(|v| v.camera.id.0));
            cursor = next.map(|n| n.parse().unwrap());
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        assert_eq!(cursor, None);
        let (items, next) = page(
            views.iter(),
            Page {
                limit: 5,
                after: None,
            },
        );
        assert_eq!((items.len(), next), (5, None));
    }
}
