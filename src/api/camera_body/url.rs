//! The URLs of a camera's body: under their own names and the legacy one, masked or not.

use std::net::IpAddr;

use serde_json::Value;

use crate::api::camera_body::{Rules, Said, Stored, said};
use crate::api::strict::{Fields, parse_ip};
use crate::model::{ConnectionType, ParsedUrl, PasswordPart, StreamUrl};

/// What stands for a secret.
pub(super) const MASK: &str = "***";
const PRIMARY: &str = "primary_stream_url";
const LEGACY: &str = "rtsp_url";
pub(super) const SECONDARY: &str = "secondary_stream_url";
pub(super) const SNAPSHOT: &str = "snapshot_url";

/// A URL that the body brings, not known before.
pub(super) struct NewUrl {
    pub field: &'static str,
    pub parsed: ParsedUrl,
    /// `***` stands somewhere in it.
    pub masked: bool,
}

/// One of the three URLs of a camera, decided.
#[derive(Default)]
pub(super) struct Chosen {
    pub url: Option<StreamUrl>,
    pub new: Option<NewUrl>,
}

/// The primary URL, under its own name or the legacy one.
pub(super) fn primary_url(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    rules: &Rules<'_>,
) -> Chosen {
    let own = said_url(fields, stored, rules, PRIMARY);
    let legacy = said_url(fields, stored, rules, LEGACY);
    if let (Said::New(Some(a)), Said::New(Some(b))) = (&own, &legacy)
        && a != b
    {
        fields.error(
            LEGACY,
            "says something else than primary_stream_url; send one of them",
        );
    }
    let before = || stored.and_then(|s| s.view.camera.primary_stream_url.clone());
    let chosen = match (own, legacy) {
        (Said::New(Some(parsed)), _) => new_url(fields, stored, PRIMARY, before(), parsed),
        (_, Said::New(Some(parsed))) => new_url(fields, stored, LEGACY, before(), parsed),
        (Said::New(None), _) | (Said::Nothing, Said::Nothing | Said::New(None)) => {
            Chosen::default()
        }
        (Said::Same, _) | (Said::Nothing, Said::Same) => Chosen {
            url: before(),
            new: None,
        },
    };
    // It calls us: nothing is needed to reach it by.
    let pushes = fields.raw("connection_type").and_then(Value::as_str)
        == Some(ConnectionType::Webhook.as_str());
    let mut says = |name| fields.value(name).is_some();
    if chosen.url.is_none()
        && !pushes
        && ![PRIMARY, LEGACY, "ip_address"].into_iter().any(&mut says)
    {
        fields.error(
            PRIMARY,
            "is missing; an ip_address is enough too, the URL is then detected",
        );
    }
    chosen
}

pub(super) fn one_url(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    rules: &Rules<'_>,
    field: &'static str,
) -> Chosen {
    let before = stored.and_then(|s| match field {
        SECONDARY => s.view.camera.secondary_stream_url.clone(),
        _ => s.view.camera.snapshot_url.clone(),
    });
    match said_url(fields, stored, rules, field) {
        Said::Nothing | Said::New(None) => Chosen::default(),
        Said::Same => Chosen {
            url: before,
            new: None,
        },
        Said::New(Some(parsed)) => new_url(fields, stored, field, before, parsed),
    }
}

fn said_url(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    rules: &Rules<'_>,
    field: &'static str,
) -> Said<ParsedUrl> {
    said(fields, stored, field).map(|value| {
        let maker = fields
            .value("manufacturer")
            .and_then(|maker| maker.as_str());
        let located = |mut parsed: ParsedUrl| {
            (rules.locate)(&mut parsed, maker);
            parsed
        };
        let parsed = match value.as_str() {
            Some(text) => StreamUrl::parse(text)
                .map(located)
                .map_err(|e| e.to_string()),
            None => Err("must be a text".to_owned()),
        };
        parsed.map_err(|message| fields.error(field, message)).ok()
    })
}

/// Puts back the placeholders that a mask stands for. `before` is the stored URL of this field.
fn new_url(
    fields: &mut Fields<'_>,
    stored: Option<&Stored<'_>>,
    field: &'static str,
    before: Option<StreamUrl>,
    mut parsed: ParsedUrl,
) -> Chosen {
    let mut masked = parsed.password == PasswordPart::Masked;
    let old_path = before.as_ref().map_or("", |u| u.path.as_str());
    let placeholder = match old_path.contains("{hash}") && !old_path.contains("{pass}") {
        true => "{hash}",
        false => "{pass}",
    };
    if masked && placeholder == "{hash}" {
        parsed.url.path = parsed.url.path.replace("{pass}", placeholder);
    }
    if parsed.url.path.contains(MASK) && old_path.contains(placeholder) {
        parsed.url.path = parsed.url.path.replace(MASK, placeholder);
        masked = true;
    }
    if masked && !keeps_login(stored, before.as_ref(), &parsed) && !sets_password(fields, stored) {
        fields.error(
            field,
            "`***` stands for the stored password, which is only kept while scheme, host and user stay the same; give the password",
        );
    }
    Chosen {
        url: Some(parsed.url.clone()),
        new: Some(NewUrl {
            field,
            parsed,
            masked,
        }),
    }
}

fn keeps_login(stored: Option<&Stored<'_>>, before: Option<&StreamUrl>, new: &ParsedUrl) -> bool {
    let (Some(stored), Some(before)) = (stored, before) else {
        return false;
    };
    let is_same_user = new.username.is_none() || new.username == stored.view.camera.username;
    stored.view.has_password
        && before.scheme == new.url.scheme
        && before.host == new.url.host
        && is_same_user
}

/// The body's own `password` field decides; a mask in a URL then says nothing.
fn sets_password(fields: &mut Fields<'_>, stored: Option<&Stored<'_>>) -> bool {
    let value = fields
        .raw("password")
        .filter(|v| stored.is_some() || !v.is_null());
    value.is_some_and(|v| v.as_str() != Some(MASK))
}

/// The address that a URL's host is, if it is no name.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    parse_ip(host).map(|(ip, _)| ip)
}
