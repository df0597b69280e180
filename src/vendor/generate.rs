//! A maker's URLs for one device, with the login that the request carried.

use std::fmt;

use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::bodies::{Lists, NamedUrl};
use super::candidates::is_web_port;
use super::catalogue::{Catalogue, UnknownMaker};
use super::maker::Maker;
use super::tables::{Service, Slot};
use super::template::{Place, Template, host};
use crate::model::{Credentials, Secret, StreamRole, StreamUrl, UrlError};
use crate::policy::closest::did_you_mean;

/// Highest channel that a recorder is asked for.
const CHANNEL_MAX: u32 = 9999;
/// `POST /api/discovery/generate-urls`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateUrls {
    pub ip: String,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    pub manufacturer: String,
    /// Of the kind of server that the maker, or everybody, runs on it; RTSP otherwise.
    #[serde(default)]
    pub port: Option<u16>,
    /// From 1.
    #[serde(default)]
    pub channel: Option<u32>,
    /// A role (`main`, `sub`, ...): only these streams; a number: the stream profile.
    #[serde(default)]
    pub stream: Option<String>,
}

/// The answer, with the login that the request carried.
#[derive(Debug, Serialize)]
pub struct GeneratedUrls<'c> {
    pub manufacturer: &'c str,
    pub urls: Lists<NamedUrl<ClearUrl>>,
}

/// A URL with its login in clear, for the answer to the request that carried it. Wiped when dropped.
pub struct ClearUrl(Zeroizing<String>);

impl ClearUrl {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClearUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClearUrl(***)")
    }
}

impl Serialize for ClearUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What is wrong with a request for URLs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    #[error(transparent)]
    Manufacturer(#[from] UnknownMaker),
    #[error("{0}")]
    Ip(#[from] UrlError),
    #[error("a port is 1 to 65535")]
    Port,
    #[error("a channel is 1 to {CHANNEL_MAX}, the first one is 1 whatever the maker")]
    Channel,
    #[error(
        "`{name}` is not a stream: main, sub, third, fourth, thermal, autotrack, snapshot or a profile number{hint}"
    )]
    Stream { name: String, hint: String },
}

impl GenerateError {
    /// The field of the request that is wrong.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Manufacturer(_) => "manufacturer",
            Self::Ip(_) => "ip",
            Self::Port => "port",
            Self::Channel => "channel",
            Self::Stream { .. } => "stream",
        }
    }
}

/// The maker's URLs for one device, with its login.
///
/// # Errors
/// [`GenerateError`], which names the field.
pub fn generate_urls<'c>(
    catalogue: &'c Catalogue,
    request: &GenerateUrls,
) -> Result<GeneratedUrls<'c>, GenerateError> {
    let maker = catalogue.find(&request.manufacturer)?;
    let channel = request.channel.unwrap_or(1);
    if !(1..=CHANNEL_MAX).contains(&channel) {
        return Err(GenerateError::Channel);
    }
    if request.port == Some(0) {
        return Err(GenerateError::Port);
    }
    let (role, profile) = stream(request.stream.as_deref())?;
    // Checked even where no template is left.
    StreamUrl::parse(&format!("rtsp://{}/", host(&request.ip)?))?;
    let login = request.username.as_ref().map(|username| Credentials {
        username: username.clone(),
        password: request.password.clone().unwrap_or_else(|| Secret::new("")),
    });
    let mut urls = Lists::new();
    for template in maker.templates() {
        if role.is_some_and(|role| !is_stream(&template, role)) {
            continue;
        }
        let port = request
            .port
            .filter(|port| applies(*port, maker, template.slot()));
        let place = Place {
            ip: &request.ip,
            port,
            channel,
            profile,
            scheme: None,
        };
        let Some(url) = template.expand(&place)? else {
            continue;
        };
        let url = clear(&template, &url, login.as_ref());
        if !urls.knows(&template, |known: &ClearUrl| known.0 == url.0) {
            urls.push(&template, url);
        }
    }
    Ok(GeneratedUrls {
        manufacturer: maker.id(),
        urls,
    })
}

/// A role to keep, or a profile number to fill in.
fn stream(name: Option<&str>) -> Result<(Option<StreamRole>, Option<&str>), GenerateError> {
    use StreamRole::{Any, Autotrack, Fourth, Main, Snapshot, Sub, Thermal, Third};
    let Some(name) = name else {
        return Ok((None, None));
    };
    if !name.is_empty() && name.len() <= 3 && name.bytes().all(|b| b.is_ascii_digit()) {
        return Ok((None, Some(name)));
    }
    let roles = [Main, Any, Sub, Third, Fourth, Thermal, Autotrack, Snapshot];
    match roles
        .into_iter()
        .find(|role| role.as_str().eq_ignore_ascii_case(name))
    {
        Some(role) => Ok((Some(role), None)),
        None => Err(GenerateError::Stream {
            name: name.chars().take(64).collect(),
            hint: did_you_mean(name, roles.iter().map(|role| role.as_str())),
        }),
    }
}

fn is_stream(template: &Template<'_>, role: StreamRole) -> bool {
    let own = template.role();
    own == role || (own == StreamRole::Any && role != StreamRole::Snapshot)
}

/// Does a port that the caller gave mean this kind of server?
fn applies(port: u16, maker: Maker<'_>, slot: Slot) -> bool {
    let is_web = is_web_port(maker, port);
    match slot {
        Slot::RtspStream => !is_web || maker.ports(Service::Rtsp).any(|own| own == port),
        _ => is_web,
    }
}

/// The login before the host only where the template has it there.
fn clear(template: &Template<'_>, url: &StreamUrl, login: Option<&Credentials>) -> ClearUrl {
    let full = url.with_login(login);
    if template.has_user_info() || login.is_none() {
        return ClearUrl(full);
    }
    // The user info is percent-encoded, so that the first `@` ends it.
    match full
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1)))
    {
        Some((scheme, rest)) => ClearUrl(Zeroizing::new(format!("{scheme}://{rest}"))),
        None => ClearUrl(full),
    }
}
