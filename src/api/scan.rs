//! The scan of the site, and what this machine's networks are.

use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::detect_body::logins;
use super::filters::DevicePage;
use super::sse::{self, Gone, Teller};
use super::strict::{Fields, not_one_of};
use super::{Context, List, Problem, Response, body, json, json_with, no_content};
use crate::discover::interfaces::{self, Interface};
use crate::discover::scan::Device;
use crate::discover::usb::UsbCamera;
use crate::site::{DISCOVER_WINDOW, NewsCursor, ScanRequest, Site};
use crate::sys::packet;

/// Methods of the contract.
const METHODS: [&str; 6] = ["arp", "tcp", "ws_discovery", "ssdp", "mdns", "vendor"];
const LIST_MAX: usize = 64;
/// What happens within this time is told together.
const PACE: Duration = Duration::from_millis(200);
/// Progress is told at least this often: proxies close what is silent for long.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Ends the id of the last event.
const END: &str = "/end";

#[derive(Debug, Serialize)]
struct NetworkInfo {
    hostname: String,
    interfaces: Vec<Interface>,
    default_gateway: Option<std::net::Ipv4Addr>,
    capabilities: Capabilities,
}

/// What this gateway can do here.
#[derive(Debug, Serialize)]
struct Capabilities {
    raw_socket: bool,
    multicast: bool,
    v4l2: bool,
}

#[derive(Debug, Serialize)]
struct Discovered {
    count: usize,
    duration_ms: u64,
    devices: Vec<Device>,
}

pub fn network_info(context: &Context) -> Result<Response, Problem> {
    let interfaces = interfaces::list();
    json(&NetworkInfo {
        hostname: context.gate.settings().hostname.clone(),
        capabilities: Capabilities {
            raw_socket: packet::is_allowed(),
            multicast: interfaces.iter().any(|i| i.scannable),
            v4l2: std::path::Path::new("/sys/class/video4linux").exists(),
        },
        interfaces,
        default_gateway: interfaces::default_gateway(),
    })
}

#[derive(Debug, Serialize)]
struct UsbCameras {
    count: usize,
    cameras: Vec<UsbCamera>,
}

pub async fn usb(context: &Context) -> Result<Response, Problem> {
    let cameras = context.site.usb_cameras().await;
    json(&UsbCameras {
        count: cameras.len(),
        cameras,
    })
}

pub fn start(context: &Context, body: &Value) -> Result<Response, Problem> {
    let mut fields = Fields::new(body::object(body)?);
    let networks = texts(&mut fields, "networks");
    let interfaces = texts(&mut fields, "interfaces");
    let methods = texts(&mut fields, "methods");
    for method in &methods {
        if !METHODS.contains(&method.as_str()) {
            fields.error("methods", not_one_of(method, METHODS.into_iter()));
        }
    }
    let ports: Vec<u16> = fields
        .array("ports", LIST_MAX)
        .iter()
        .filter_map(port)
        .collect();
    if ports.len() != fields.array("ports", LIST_MAX).len() {
        fields.error("ports", "must be numbers from 1 to 65535");
    }
    let credentials = logins(&mut fields);
    let identify = fields.boolean("identify").unwrap_or(true);
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let request = ScanRequest {
        networks,
        interfaces,
        ports,
        methods,
        identify,
        credentials,
    };
    json_with(StatusCode::ACCEPTED, &context.site.start_scan(&request)?)
}

pub fn status(context: &Context) -> Result<Response, Problem> {
    json(&context.site.scan_view())
}

/// Tells the scan that runs, or ran last, from its start or from where the reader left off. A reader
/// that comes back after the end gets 204, which tells it to stay away.
pub fn events(context: &Context, last_event_id: Option<String>) -> Response {
    let from = last_event_id.as_deref().and_then(cursor);
    let from = from.unwrap_or_default();
    let knew_the_end = last_event_id.is_some_and(|id| id.ends_with(END));
    if knew_the_end && context.site.scan_news(from).is_over {
        return no_content();
    }
    let (teller, response) = sse::stream();
    let site = context.site.clone();
    context.site.tasks().spawn(async move {
        let _ = tell(&site, from, &teller).await; // gone readers are no error
    });
    response
}

async fn tell(site: &Site, mut at: NewsCursor, teller: &Teller) -> Result<(), Gone> {
    let mut changes = site.scan_changes();
    loop {
        changes.mark_unchanged();
        let news = site.scan_news(at);
        let first = news.cursor.told - news.devices.len();
        at = news.cursor;
        for (device, told) in news.devices.iter().zip(first + 1..) {
            let id = news_id(NewsCursor { told, ..at });
            teller.event("device", &id, device).await?;
        }
        let id = news_id(at);
        if news.is_over {
            let last = format!("{id}{END}");
            return teller.event("done", &last, &news.progress).await;
        }
        teller.event("progress", &id, &news.progress).await?;
        let wait = async {
            tokio::time::sleep(PACE).await;
            let _ = tokio::time::timeout(SILENCE_MAX, changes.changed()).await;
        };
        tokio::select! {
            () = teller.gone() => return Err(Gone),
            () = wait => {}
        }
    }
}

/// `<scan>/<devices told>`
fn news_id(at: NewsCursor) -> String {
    format!("{}/{}", at.scan_id.unwrap_or_default(), at.told)
}

fn cursor(id: &str) -> Option<NewsCursor> {
    let (scan, told) = id.strip_suffix(END).unwrap_or(id).split_once('/')?;
    Some(NewsCursor {
        scan_id: Some(scan.parse().ok()?).filter(|id: &Uuid| !id.is_nil()),
        told: told.parse().ok()?,
    })
}

/// The inventory, by address; a device that several addresses had is where it was seen last.
pub fn devices(context: &Context, page: DevicePage) -> Result<Response, Problem> {
    let mut rest = context.site.seen_devices();
    rest.retain(|row| page.after.is_none_or(|after| after < row.device.ip));
    let limit = page.limit as usize;
    let next_cursor = rest
        .get(limit)
        .and(rest.get(limit.saturating_sub(1)))
        .map(|last| last.device.ip.to_string());
    rest.truncate(limit);
    json(&List {
        items: rest,
        next_cursor,
    })
}

pub fn stop(context: &Context) -> Result<Response, Problem> {
    json(&context.site.stop_scan())
}

pub async fn discover(context: &Context, body: &Value) -> Result<Response, Problem> {
    let mut fields = Fields::new(body::object(body)?);
    let timeout_ms = fields.integer("timeout_ms", 100, 20_000);
    let interfaces = texts(&mut fields, "interfaces");
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let window = timeout_ms.map_or(DISCOVER_WINDOW, |ms| Duration::from_millis(u64::from(ms)));
    let started = std::time::Instant::now();
    let devices = context.site.discover_onvif(window, &interfaces).await?;
    let duration_ms = started.elapsed().as_millis() as u64;
    json(&Discovered {
        count: devices.len(),
        duration_ms,
        devices,
    })
}

fn texts(fields: &mut Fields<'_>, name: &'static str) -> Vec<String> {
    let items = fields.array(name, LIST_MAX);
    let texts: Vec<String> = items
        .iter()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect();
    if texts.len() != items.len() {
        fields.error(name, "must be a list of texts");
    }
    texts
}

fn port(value: &Value) -> Option<u16> {
    value
        .as_u64()
        .and_then(|n| u16::try_from(n).ok())
        .filter(|port| *port > 0)
}
