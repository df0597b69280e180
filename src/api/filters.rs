//! What lists are narrowed by: the queries of cameras, events and health. Pure.

use std::net::IpAddr;

use super::query::{Query, digits};
use super::strict::not_one_of;
use crate::model::{CameraId, EventKind, Observed, Timestamp};
use crate::site::Window;

/// Most entries on one page of a list.
pub const PAGE_ITEMS_MAX: u32 = 1000;
/// What `?health=` may ask for.
pub const HEALTH_NAMES: [&str; 7] = [
    "excellent",
    "good",
    "fair",
    "poor",
    "offline",
    "unknown",
    "disabled",
];

/// `GET /api/cameras?`: all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CameraFilter {
    /// One of [`HEALTH_NAMES`].
    pub health: Option<&'static str>,
    /// Id, name or alias, as given.
    pub manufacturer: Option<String>,
    pub tag: Option<String>,
    /// Part of the name, maker, model, address, MAC, serial number or a tag; any case.
    pub q: Option<String>,
    pub page: Page,
}

/// `?limit=&cursor=` of a list of cameras.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub limit: u32,
    /// The last id of the page before.
    pub after: Option<u32>,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            limit: PAGE_ITEMS_MAX,
            after: None,
        }
    }
}

/// `?limit=&cursor=` of the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevicePage {
    pub limit: u32,
    /// The last address of the page before.
    pub after: Option<IpAddr>,
}

pub fn device_page(query: &mut Query) -> DevicePage {
    let limit = query.integer("limit", 1, PAGE_ITEMS_MAX);
    let cursor = query.take("cursor");
    let after = cursor.as_deref().and_then(|c| c.parse().ok());
    if cursor.is_some() && after.is_none() {
        query.error("cursor", "must be the next_cursor of the page before");
    }
    DevicePage {
        limit: limit.unwrap_or(PAGE_ITEMS_MAX),
        after,
    }
}

/// `GET /api/events?`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    pub since: Option<Since>,
    pub camera: Option<CameraId>,
    pub kind: Option<EventKind>,
    pub limit: u32,
    pub cursor: Option<String>,
}

/// A point in time: an RFC 3339 time, Unix seconds, or so long ago (`24h`, `30m`, `7d`, `90s`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    At(Timestamp),
    AgoS(u32),
}

impl Since {
    pub fn parse(text: &str) -> Option<Self> {
        let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
        for (unit, seconds) in units {
            if let Some(number) = text.strip_suffix(unit).and_then(digits) {
                return number.checked_mul(seconds).map(Self::AgoS);
            }
        }
        // A `+` of a zone offset that was not escaped in a query comes as a blank.
        Timestamp::parse(&text.replace(' ', "+")).map(Self::At)
    }

    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::AgoS(seconds) => now.plus_ms(-1000 * i64::from(seconds)),
        }
    }
}

/// Reads the filter of a list of cameras; mistakes stay in `query`.
pub fn camera_filter(query: &mut Query) -> CameraFilter {
    let limit = query.integer("limit", 1, PAGE_ITEMS_MAX);
    CameraFilter {
        health: query.choice("health", &HEALTH_NAMES),
        manufacturer: query.take("manufacturer"),
        tag: query.take("tag"),
        q: query.take("q").map(|q| q.to_lowercase()),
        page: Page {
            limit: limit.unwrap_or(PAGE_ITEMS_MAX),
            after: query.integer("cursor", 0, u32::MAX),
        },
    }
}

/// Reads the filter of the events; mistakes stay in `query`.
pub fn event_filter(query: &mut Query) -> EventFilter {
    let camera = query.integer("camera", 0, u32::MAX).map(CameraId);
    EventFilter {
        camera,
        ..camera_event_filter(query)
    }
}

/// The same for the events of one camera.
pub fn camera_event_filter(query: &mut Query) -> EventFilter {
    let since = query.take("since");
    let kind = query.take("type");
    let filter = EventFilter {
        since: since.as_deref().and_then(Since::parse),
        camera: None,
        kind: kind.as_deref().and_then(event_kind),
        limit: query
            .integer("limit", 1, PAGE_ITEMS_MAX)
            .unwrap_or(PAGE_ITEMS_MAX),
        cursor: query.take("cursor"),
    };
    if since.is_some() && filter.since.is_none() {
        query.error(
            "since",
            "must be an RFC 3339 time such as 2026-01-31T20:00:00Z, or a time span such as 24h",
        );
    }
    if let (Some(kind), None) = (kind, filter.kind) {
        query.error("type", not_one_of(&kind, event_names()));
    }
    filter
}

/// Every type of event: what is found out, and what cameras report.
pub(super) fn event_names() -> impl Iterator<Item = &'static str> + Clone {
    let observed = Observed::ALL.iter().map(|kind| kind.as_str());
    EVENT_NAMES.into_iter().chain(observed)
}

const EVENT_NAMES: [&str; 16] = [
    "online",
    "offline",
    "degraded",
    "recovered",
    "ip_changed",
    "device_found",
    "device_gone",
    "auth_refused",
    "gave_up",
    "camera_added",
    "camera_removed",
    "detected",
    "detect_failed",
    "started",
    "config_changed",
    "scan_completed",
];

pub(super) fn event_kind(name: &str) -> Option<EventKind> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

/// `?window=`, a day by default.
pub fn window(query: &mut Query) -> Window {
    match query.choice("window", &["24h", "7d", "30d"]) {
        Some("7d") => Window::Week,
        Some("30d") => Window::Month,
        _ => Window::Day,
    }
}
