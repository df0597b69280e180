//! The part of a camera's body that says how to reach it: URLs, address, port, type, login. The same
//! fact may stand there several times (a legacy field, a login inside a URL); what differs from the
//! stored record is what the caller means, and what contradicts itself is refused.

use super::login::read_login;
use super::url::{Chosen, SECONDARY, SNAPSHOT, literal, one_url, primary_url};
use crate::api::camera_body::{Rules, Said, Stored, said};
use crate::api::strict::{Fields, line, not_one_of, parse_ip, with_zone};
use crate::model::{ConnectionType, Credentials, Scheme, StreamUrl};
use crate::site::{CameraDraft, PasswordChange};

/// Fills the part of `draft` that says how to reach the camera.
pub(super) fn read_link(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    rules: &Rules<'_>,
    draft: &mut CameraDraft,
) {
    let mut primary = primary_url(fields, stored, rules);
    let mut secondary = one_url(fields, stored, rules, SECONDARY);
    let mut snapshot = one_url(fields, stored, rules, SNAPSHOT);
    read_address(
        fields,
        stored,
        draft,
        [&mut primary, &mut secondary, &mut snapshot],
    );
    read_login(fields, stored, draft, [&primary, &secondary, &snapshot]);
    read_type(fields, stored, rules, draft, &primary);
    check_allowed(fields, rules, draft, [&primary, &secondary, &snapshot]);
    for (chosen, slot) in [
        (primary, &mut draft.primary_stream_url),
        (secondary, &mut draft.secondary_stream_url),
        (snapshot, &mut draft.snapshot_url),
    ] {
        *slot = chosen.url;
        if let (Some(url), PasswordChange::Set(password)) = (slot, &draft.password) {
            let username = draft.username.clone().unwrap_or_default();
            let password = password.clone();
            url.hide_login(&Credentials { username, password });
        }
    }
}

/// `ip_address` and `port`, and the URLs that follow them.
fn read_address(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    draft: &mut CameraDraft,
    mut urls: [&mut Chosen; 3],
) {
    let before = stored.map(|s| &s.view.camera);
    let ip = said(fields, stored, "ip_address").map(|value| {
        let address = line(value, 128).ok().and_then(parse_ip);
        if address.is_none() {
            fields.error("ip_address", "must be an IP address such as 192.168.1.100");
        }
        address.map(|(ip, zone)| with_zone(ip, zone))
    });
    let port = said(fields, stored, "port").map(|value| {
        let port = value
            .as_u64()
            .and_then(|p| u16::try_from(p).ok())
            .filter(|p| *p > 0);
        if port.is_none() {
            fields.error("port", "must be a whole number from 1 to 65535");
        }
        port
    });
    let old_ip = before.and_then(|c| c.ip_address.clone());
    let old_port = before.and_then(|c| c.port);
    // A new address or port moves the URLs that stayed at the old one.
    if let (Said::New(Some(new)), Some(old)) = (&ip, &old_ip) {
        let stayed = urls.iter_mut().filter(|u| u.new.is_none());
        for url in stayed
            .filter_map(|u| u.url.as_mut())
            .filter(|u| u.host == *old)
        {
            url.host.clone_from(new);
        }
    }
    let [primary, ..] = urls;
    if let (Said::New(Some(new)), Some(old), None) = (&port, old_port, &primary.new)
        && let Some(url) = primary.url.as_mut().filter(|u| u.port == old)
    {
        url.port = *new;
    }
    let url = primary.url.as_ref().filter(|u| !u.scheme.is_local());
    let url_ip = url.map(|u| u.host.clone()).filter(|h| literal(h).is_some());
    if let (Said::New(Some(ip)), Some(url_ip)) = (&ip, &url_ip)
        && ip != url_ip
    {
        fields.error("ip_address", format!("the stream URL leads to {url_ip}"));
    }
    if let (Said::New(Some(port)), Some(url)) = (&port, url)
        && *port != url.port
    {
        fields.error("port", format!("the stream URL leads to port {}", url.port));
    }
    draft.ip_address = url_ip.or(match ip {
        Said::New(ip) => ip,
        Said::Same => old_ip,
        Said::Nothing => None,
    });
    draft.port = url.map(|u| u.port).or(match port {
        Said::New(port) => port,
        Said::Same => old_port,
        Said::Nothing => None,
    });
}

/// `connection_type`, which the primary URL must not contradict.
fn read_type(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    rules: &Rules<'_>,
    draft: &mut CameraDraft,
    primary: &Chosen,
) {
    let names = || ConnectionType::ALL.into_iter().map(ConnectionType::as_str);
    let kind = said(fields, stored, "connection_type").map(|value| {
        let name = value.as_str().unwrap_or_default();
        let kind = ConnectionType::from_name(name);
        if kind.is_none() {
            fields.error("connection_type", not_one_of(name, names()));
        }
        kind
    });
    let old = stored.and_then(|s| s.view.camera.connection_type);
    let url = primary.url.as_ref();
    let of_url = url.map(StreamUrl::connection_type);
    let fits = |kind: ConnectionType| url.is_none_or(|u| kind_fits(kind, u));
    draft.connection_type = match kind {
        Said::New(Some(kind)) if !fits(kind) => {
            let of_url = of_url.map_or("none", ConnectionType::as_str);
            fields.error(
                "connection_type",
                format!("the stream URL is of type {of_url}"),
            );
            Some(kind)
        }
        Said::New(Some(kind)) => Some(kind),
        Said::Same => old.filter(|kind| fits(*kind)).or(of_url),
        Said::Nothing => old.filter(|kind| url.is_some() && fits(*kind)).or(of_url),
        Said::New(None) => of_url,
    };
    let field = match (
        &primary.new,
        fields.raw("connection_type").filter(|v| !v.is_null()),
    ) {
        (Some(new), None) => new.field,
        _ => "connection_type",
    };
    if let Some(kind) = draft.connection_type
        // A camera that pushes needs nothing to reach it by.
        && kind != ConnectionType::Webhook
        && !(rules.supported)(kind)
    {
        fields.error(
            field,
            format!("cameras of type {kind} cannot be connected yet"),
        );
    }
}

/// May a camera of this type have this URL? The URL's form says most of it; HLS, FLV and pictures may
/// hide behind any web address, and a recorder or a cloud hands out URLs of every kind.
fn kind_fits(kind: ConnectionType, url: &StreamUrl) -> bool {
    match kind {
        ConnectionType::Hls => matches!(url.scheme, Scheme::Http | Scheme::Https),
        ConnectionType::Rtmp => matches!(
            url.scheme,
            Scheme::Rtmp | Scheme::Rtmps | Scheme::Http | Scheme::Https
        ),
        ConnectionType::HttpMjpeg => url.scheme == Scheme::Http,
        ConnectionType::Https => url.scheme == Scheme::Https,
        ConnectionType::Nvr | ConnectionType::Cloud | ConnectionType::Webhook => {
            !url.scheme.is_local()
        }
        kind => kind == url.connection_type(),
    }
}

fn check_allowed(
    fields: &mut Fields<'_>,
    rules: &Rules<'_>,
    draft: &CameraDraft,
    urls: [&Chosen; 3],
) {
    let refused = "is outside security.allowed_networks";
    let is_refused = |host: &str| literal(host).is_some_and(|ip| !(rules.allowed)(ip));
    let mut url_refused = false;
    for new in urls.into_iter().filter_map(|u| u.new.as_ref()) {
        let host = &new.parsed.url.host;
        if is_refused(host) {
            fields.error(new.field, format!("{host} {refused}"));
            url_refused = true;
        }
    }
    if let Some(ip) = draft.ip_address.as_deref().filter(|ip| is_refused(ip))
        && !url_refused
    {
        fields.error("ip_address", format!("{ip} {refused}"));
    }
}
