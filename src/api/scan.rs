//! The scan of the site, and what this machine's networks are.

use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::strict::{Fields, not_one_of};
use super::{Context, Problem, Response, body, json, json_with};
use crate::discover::interfaces::{self, Interface};
use crate::discover::scan::Device;
use crate::site::{DISCOVER_WINDOW, ScanRequest};

/// Methods of the contract; those that are not built yet are refused by name.
const METHODS: [&str; 6] = ["arp", "tcp", "ws_discovery", "ssdp", "mdns", "vendor"];
const BUILT: [&str; 2] = ["tcp", "ws_discovery"];
const LIST_MAX: usize = 64;

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
            raw_socket: false,
            multicast: interfaces.iter().any(|i| i.scannable),
            v4l2: std::path::Path::new("/sys/class/video4linux").exists(),
        },
        interfaces,
        default_gateway: interfaces::default_gateway(),
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
        } else if !BUILT.contains(&method.as_str()) {
            fields.error(
                "methods",
                format!("`{method}` is not built yet; use tcp and ws_discovery"),
            );
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
    if !fields.array("credentials", LIST_MAX).is_empty() {
        fields.error(
            "credentials",
            "a scan sends no logins; give them to auto-detect or batch-test",
        );
    }
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
    };
    json_with(StatusCode::ACCEPTED, &context.site.start_scan(&request)?)
}

pub fn status(context: &Context) -> Result<Response, Problem> {
    json(&context.site.scan_view())
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
