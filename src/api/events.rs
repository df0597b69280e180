//! What happened last night.

use super::filters::EventFilter;
use super::{Context, List, Problem, Response, json, now};
use crate::site::EventQuery;

pub async fn list(context: &Context, filter: EventFilter) -> Result<Response, Problem> {
    let (items, next_cursor) = context.site.events(query(filter)).await?;
    json(&List { items, next_cursor })
}

pub(super) fn query(filter: EventFilter) -> EventQuery {
    EventQuery {
        since: filter.since.map(|since| since.at(now())),
        camera: filter.camera,
        kind: filter.kind,
        observed_only: false,
        limit: filter.limit as usize,
        cursor: filter.cursor,
    }
}
