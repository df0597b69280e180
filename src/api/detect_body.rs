//! Bodies of `auto-detect`, `batch-test`, `probe` and `generate-urls`. Pure.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::camera_body::{Rules, resolved_maker};
use super::problem::FieldError;
use super::query::digits;
use super::strict::{Fields, integer, not_integer, not_one_of, parse_ip, with_zone};
use crate::detect::{DetectRequest, ProbeRequest};
use crate::model::{ConnectionType, Credentials, PasswordPart, StreamUrl};

/// Most devices of one `batch-test`.
pub const BATCH_ITEMS_MAX: usize = 64;
/// Most logins for one device.
pub const LOGINS_MAX: usize = 4;
const PORTS_MAX: usize = 32;
const TIMEOUT_MS_DEFAULT: u32 = 15_000;
const TIMEOUT_MS: (u32, u32) = (1000, 60_000);
const CHANNEL_MAX: u32 = 9999;

/// Reads the body of `auto-detect`, which is one item of `batch-test` too.
///
/// # Errors
/// Every bad field at once.
pub fn detect(
    body: &Map<String, Value>,
    rules: &Rules<'_>,
) -> Result<DetectRequest, Vec<FieldError>> {
    let mut fields = Fields::new(body);
    let address = fields.ip("ip");
    let address = fields.require("ip", address);
    check_allowed(
        &mut fields,
        "ip",
        address.as_ref().map(|(ip, _)| *ip),
        rules,
    );
    let credentials = logins(&mut fields);
    let manufacturer = resolved_maker(&mut fields, rules.resolve);
    let ports = ports(&mut fields);
    let methods = methods(&mut fields, rules);
    let timeout_ms = fields.integer("timeout_ms", TIMEOUT_MS.0, TIMEOUT_MS.1);
    let channel = fields.integer("channel", 1, CHANNEL_MAX);
    match (address, fields.finish()) {
        (Some((ip, zone)), errors) if errors.is_empty() => Ok(DetectRequest {
            ip,
            zone,
            credentials,
            onvif_login: None,
            manufacturer,
            ports,
            methods,
            timeout_ms: timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT),
            channel: channel.unwrap_or(1),
            cleartext_login: true,
        }),
        (_, errors) => Err(errors),
    }
}

/// Reads one item of `batch-test`, whatever it is.
///
/// # Errors
/// Every bad field of this item.
pub fn batch_item(item: &Value, rules: &Rules<'_>) -> Result<DetectRequest, Vec<FieldError>> {
    match item.as_object() {
        Some(map) => detect(map, rules),
        None => Err(vec![FieldError::new("", "must be an object with an ip")]),
    }
}

/// Reads the body of `probe`.
///
/// # Errors
/// Every bad field at once.
pub fn probe(
    body: &Map<String, Value>,
    rules: &Rules<'_>,
) -> Result<ProbeRequest, Vec<FieldError>> {
    let mut fields = Fields::new(body);
    let login = fields.login();
    let frames = fields.boolean("frames").unwrap_or(false);
    let text = fields.text("url", 4096);
    let parsed = fields.require("url", text).and_then(|text| {
        let parsed = StreamUrl::parse(text).map(|mut parsed| {
            (rules.locate)(&mut parsed, None);
            parsed
        });
        parsed.map_err(|e| fields.error("url", e.to_string())).ok()
    });
    let Some(parsed) = parsed else {
        return Err(fields.finish());
    };
    let in_url = parsed.credentials();
    if parsed.password == PasswordPart::Masked {
        fields.error(
            "url",
            "holds `***`, the mask of a stored password; give the password itself",
        );
    }
    if let (Some(a), Some(b)) = (&login, &in_url)
        && a != b
    {
        fields.error(
            "url",
            "carries another login than username and password; send one of them",
        );
    }
    let kind = parsed.url.connection_type();
    if !(rules.supported)(kind) {
        fields.error("url", crate::probe::no_prober(kind));
    }
    let ip = parse_ip(&parsed.url.host).map(|(ip, _)| ip);
    check_allowed(&mut fields, "url", ip, rules);
    let errors = fields.finish();
    if !errors.is_empty() {
        return Err(errors);
    }
    let login = login.or(in_url);
    let mut url = parsed.url;
    if let Some(login) = &login {
        url.hide_login(login);
    }
    Ok(ProbeRequest { url, login, frames })
}

/// What `generate-urls` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct UrlsRequest {
    /// With its zone, where it has one.
    pub ip: String,
    pub login: Option<Credentials>,
    /// Catalogue id.
    pub manufacturer: String,
    pub port: Option<u16>,
    pub channel: u32,
    /// A role (`main`, `sub`, ...), or the number of a stream profile; `None` = all.
    pub stream: Option<String>,
}

/// Reads the body of `generate-urls`.
///
/// # Errors
/// Every bad field at once.
pub fn urls(
    body: &Map<String, Value>,
    resolve: &dyn Fn(&str) -> Result<String, Vec<String>>,
) -> Result<UrlsRequest, Vec<FieldError>> {
    const STREAMS: [&str; 8] = [
        "main",
        "sub",
        "third",
        "fourth",
        "thermal",
        "autotrack",
        "any",
        "snapshot",
    ];
    let mut fields = Fields::new(body);
    let address = fields.ip("ip");
    let address = fields.require("ip", address);
    let login = fields.login();
    let maker = resolved_maker(&mut fields, resolve);
    let maker = fields.require("manufacturer", maker);
    let port = fields.port("port");
    let channel = fields.integer("channel", 1, CHANNEL_MAX);
    let stream = fields.text("stream", 32);
    if let Some(name) = stream
        && !STREAMS.contains(&name)
        && digits(name).is_none_or(|profile| 999 < profile)
    {
        fields.error("stream", not_one_of(name, STREAMS.into_iter()));
    }
    match (address, maker, fields.finish()) {
        (Some((ip, zone)), Some(manufacturer), errors) if errors.is_empty() => Ok(UrlsRequest {
            ip: with_zone(ip, zone),
            login,
            manufacturer,
            port,
            channel: channel.unwrap_or(1),
            stream: stream.map(str::to_owned),
        }),
        (_, _, errors) => Err(errors),
    }
}

/// `username` and `password` count as the first of `credentials`; a login that comes twice counts once.
pub(super) fn logins(fields: &mut Fields<'_>) -> Vec<Credentials> {
    let mut logins: Vec<Credentials> = fields.login().into_iter().collect();
    for (i, item) in fields.array("credentials", LOGINS_MAX).iter().enumerate() {
        let Some(map) = item.as_object() else {
            fields.error(
                &format!("credentials[{i}]"),
                "must be an object with username and password",
            );
            continue;
        };
        let mut inner = Fields::nested(map, &format!("credentials[{i}]."));
        let login = inner.login();
        let login = inner.require("username", login);
        logins.extend(login.filter(|l| !logins.contains(l)));
        fields.absorb(inner.finish());
    }
    if LOGINS_MAX < logins.len() {
        fields.error(
            "credentials",
            format!("has at most {LOGINS_MAX} logins, username and password counted"),
        );
    }
    logins
}

fn ports(fields: &mut Fields<'_>) -> Vec<u16> {
    let mut ports = Vec::new();
    for (i, value) in fields.array("ports", PORTS_MAX).iter().enumerate() {
        match integer(value, 1, 65_535).and_then(|p| u16::try_from(p).ok()) {
            Some(port) if ports.contains(&port) => {}
            Some(port) => ports.push(port),
            None => fields.error(&format!("ports[{i}]"), not_integer(1, 65_535)),
        }
    }
    ports
}

fn methods(fields: &mut Fields<'_>, rules: &Rules<'_>) -> Vec<ConnectionType> {
    let mut methods = Vec::new();
    for (i, value) in fields
        .array("methods", ConnectionType::ALL.len())
        .iter()
        .enumerate()
    {
        let name = value.as_str().unwrap_or_default();
        let built = || {
            ConnectionType::ALL
                .into_iter()
                .filter(|t| (rules.supported)(*t))
        };
        match ConnectionType::from_name(name).filter(|t| (rules.supported)(*t)) {
            Some(kind) if methods.contains(&kind) => {}
            Some(kind) => methods.push(kind),
            None => {
                let names: Vec<&str> = built().map(ConnectionType::as_str).collect();
                fields.error(
                    &format!("methods[{i}]"),
                    not_one_of(name, names.into_iter()),
                );
            }
        }
    }
    methods
}

fn check_allowed(fields: &mut Fields<'_>, name: &str, ip: Option<IpAddr>, rules: &Rules<'_>) {
    if let Some(ip) = ip.filter(|ip| !(rules.allowed)(*ip)) {
        fields.error(name, format!("{ip} is outside security.allowed_networks"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::camera_body::tests::with_rules;
    use serde_json::json;

    fn read(body: Value) -> Result<DetectRequest, Vec<String>> {
        with_rules(|rules| batch_item(&body, rules)).map_err(names)
    }

    fn names(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn the_specifications_bodies() {
        let request = read(json!({
            "ip": "192.168.1.100", "username": "admin", "password": "password123",
            "manufacturer": "hikvision"
        }))
        .unwrap();
        assert_eq!(request.ip.to_string(), "192.168.1.100");
        assert_eq!(
            request.credentials,
            [Credentials::new("admin", "password123")]
        );
        assert_eq!(request.manufacturer.as_deref(), Some("hikvision"));
        assert_eq!((request.timeout_ms, request.channel), (15_000, 1));
        for i in 0..3 {
            let body = json!({"ip": format!("192.168.1.10{i}"), "username": "admin", "password": format!("pass{}", i + 1)});
            assert!(read(body).is_ok());
        }
    }

    #[test]
    fn every_field_of_the_contract() {
        let request = read(json!({
            "ip": "fe80::1%eth0", "username": "a", "password": "1",
            "credentials": [{"username": "b", "password": "2"}, {"username": "a", "password": "1"}],
            "ports": [554, 80, 554], "methods": ["rtsp", "http_mjpeg"], "timeout_ms": 1000, "channel": 3
        }))
        .unwrap();
        assert_eq!(request.zone.as_deref(), Some("eth0"));
        let want = [Credentials::new("a", "1"), Credentials::new("b", "2")];
        assert_eq!(request.credentials, want);
        assert_eq!(request.ports, [554, 80]);
        assert_eq!(
            request.methods,
            [ConnectionType::Rtsp, ConnectionType::HttpMjpeg]
        );
        assert_eq!((request.timeout_ms, request.channel), (1000, 3));
    }

    #[test]
    fn mistakes_are_named_all_at_once() {
        let bad = read(json!({
            "ip": "192.168.1.100:80", "pasword": "x", "manufacturer": "hikvison", "ports": [0, "80"],
            "methods": ["rtps", "webrtc"], "timeout_ms": 999, "channel": 0,
            "credentials": [{"password": "x"}, 7, {}, {"password": ""}]
        }));
        let want = [
            "ip",
            "credentials[0].username",
            "credentials[1]",
            "credentials[2].username",
            "credentials[3].username",
            "manufacturer",
            "ports[0]",
            "ports[1]",
            "methods[0]",
            "methods[1]",
            "timeout_ms",
            "channel",
            "pasword",
        ];
        assert_eq!(bad.unwrap_err(), want);
        assert_eq!(read(json!({})).unwrap_err(), ["ip"]);
        assert_eq!(read(json!({"ip": ""})).unwrap_err(), ["ip"]);
        assert_eq!(read(json!({"ip": null})).unwrap_err(), ["ip"]);
        assert_eq!(read(json!({"ip": "8.8.8.8"})).unwrap_err(), ["ip"]);
        assert_eq!(
            read(json!({"ip": "10.0.0.1", "password": "x"})).unwrap_err(),
            ["username"]
        );
        assert_eq!(read(json!([])).unwrap_err(), [""]);
        let five: Vec<Value> = (0..4)
            .map(|i| json!({"username": format!("u{i}"), "password": ""}))
            .collect();
        let body = json!({"ip": "10.0.0.1", "username": "admin", "credentials": five});
        assert_eq!(read(body).unwrap_err(), ["credentials"]);
    }

    #[test]
    fn probe_takes_the_login_from_either_place() {
        let read = |body: Value| {
            with_rules(|rules| probe(body.as_object().unwrap(), rules)).map_err(names)
        };
        let login = Some(Credentials::new("admin", "s3cret"));
        let in_url =
            read(json!({"url": "rtsp://admin:s3cret@10.0.0.1/live", "frames": true})).unwrap();
        assert_eq!((in_url.login, in_url.frames), (login.clone(), true));
        let apart = read(json!({"url": "rtsp://10.0.0.1/s3cret/live", "username": "admin", "password": "s3cret"})).unwrap();
        assert_eq!(apart.login, login);
        assert_eq!(apart.url.path, "/{pass}/live");
        for body in [
            json!({}),
            json!({"url": "10.0.0.1"}),
            json!({"url": "rtsp://admin:***@10.0.0.1/"}),
            json!({"url": "rtsp://admin:a@10.0.0.1/", "username": "admin", "password": "b"}),
            json!({"url": "rtsp://8.8.8.8/"}),
            json!({"url": "rtmp://10.0.0.1/live"}),
        ] {
            assert_eq!(read(body.clone()).unwrap_err(), ["url"], "{body}");
        }
    }

    #[test]
    fn generate_urls() {
        let resolve = |name: &str| match name {
            "hikvision" => Ok("hikvision".to_owned()),
            _ => Err(vec!["hikvision".to_owned()]),
        };
        let body = json!({"ip": "192.168.1.100", "username": "admin", "password": "admin123", "manufacturer": "hikvision"});
        let request = urls(body.as_object().unwrap(), &resolve).unwrap();
        assert_eq!(request.manufacturer, "hikvision");
        assert_eq!(request.login, Some(Credentials::new("admin", "admin123")));
        let body = json!({"manufacturer": "hikvison", "stream": "mian"});
        let errors = urls(body.as_object().unwrap(), &resolve).unwrap_err();
        assert!(
            errors
                .iter()
                .any(|e| e.message.contains("did you mean hikvision?")),
            "{errors:?}"
        );
        assert_eq!(names(errors), ["ip", "manufacturer", "stream"]);
    }
}
