//! The catalogue in memory: one text and rows that point into it. There is no pointer in a row, so the
//! built-in tables stay in the file-backed, read-only part of the binary and cost no private memory.
//!
//! The build script includes this file too, so it knows nothing of the rest of the crate.

use std::borrow::Cow;

use serde::Deserialize;

/// A piece of [`Tables::text`], bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Text {
    pub at: u32,
    pub len: u16,
}

/// Consecutive rows of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub at: u16,
    pub len: u16,
}

impl Span {
    /// The rows; none where the span does not fit.
    pub fn of<T>(self, rows: &[T]) -> &[T] {
        let at = usize::from(self.at);
        rows.get(at..at + usize::from(self.len)).unwrap_or_default()
    }
}

/// What a maker is to its buyers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    Professional,
    Consumer,
    Cloud,
    Generic,
    Diy,
    Local,
}

/// How well a template is known, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// A manual or support page of the maker.
    Documented,
    /// Working client code.
    Library,
    /// A recorded answer of a device.
    Captured,
    /// Reported by users.
    Crowd,
    /// Plausible; tried when all else failed.
    Unverified,
}

/// Which stream of a device a template leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Main,
    /// One template for every stream.
    Any,
    Sub,
    Third,
    Fourth,
    Thermal,
    Autotrack,
}

/// Which list a template stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    RtspStream,
    HttpStream,
    Snapshot,
    OtherStream,
}

/// What listens on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Rtsp,
    Rtsps,
    Http,
    Https,
    Onvif,
    Rtmp,
    Hls,
    Webrtc,
    PrivateTcp,
    DiscoveryUdp,
}

/// A text of a maker. Those that are lists have one item a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Id,
    Name,
    Family,
    Aliases,
    ConnectionTypes,
    Merges,
    Quirks,
    ChannelRule,
    ChannelNote,
    ChannelListPaths,
    PortNote,
    HttpServer,
    HttpRealm,
    RtspServer,
    RtspRealm,
    Title,
    TlsSubject,
    HttpPaths,
    Body,
    FaviconMd5,
    Telnet,
    FtpBanner,
    UpnpServer,
    DhcpVendorClass,
    Weak,
    FingerprintNote,
    OnvifService,
    OnvifScopes,
    OnvifDefaultOff,
    OnvifNote,
    DiscoveryNative,
    Mdns,
    MdnsTxt,
    MdnsInstance,
    DhcpHostname,
    Ssdp,
    DiscoveryNote,
    InfoMethod,
    InfoPath,
    InfoFormat,
    InfoFields,
    InfoNote,
    AuthHttp,
    AuthRtsp,
    AuthOnvif,
    AuthNote,
    CredentialsFactory,
    CredentialsLegacy,
    CredentialsUser,
    CredentialsLock,
    CredentialsGuest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateRow {
    pub slot: Slot,
    pub role: Role,
    pub evidence: Evidence,
    pub nvr: bool,
    /// 0: the maker's port for the protocol.
    pub port: u16,
    pub url: Text,
    pub kind: Text,
    pub note: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRow {
    pub field: Field,
    pub text: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRow {
    pub service: Service,
    pub port: u16,
}

/// A MAC prefix, left-aligned in 48 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OuiRow {
    pub prefix: u64,
    pub bits: u8,
    /// Index into [`Tables::makers`].
    pub maker: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MakerRow {
    pub category: Category,
    pub locks_accounts: bool,
    pub mac_oui_shared: bool,
    pub first_channel: u8,
    pub fields: Span,
    pub templates: Span,
    pub ports: Span,
}

/// Makers sorted by id, prefixes sorted by (prefix, bits).
#[derive(Debug)]
pub struct Tables {
    pub text: Cow<'static, str>,
    pub fields: Cow<'static, [FieldRow]>,
    pub templates: Cow<'static, [TemplateRow]>,
    pub ports: Cow<'static, [PortRow]>,
    pub ouis: Cow<'static, [OuiRow]>,
    pub makers: Cow<'static, [MakerRow]>,
    /// Templates for when the maker is unknown.
    pub generic: Span,
}

impl Tables {
    pub fn text(&self, text: Text) -> &str {
        let at = text.at as usize;
        self.text
            .get(at..at + usize::from(text.len))
            .unwrap_or_default()
    }
}

/// A literal part or a `{variable}` of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'t> {
    Literal(&'t str),
    /// Without its braces.
    Variable(&'t str),
}

/// Takes a template apart. A brace that closes nothing is literal.
pub fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            rest = after;
            return Some(Piece::Variable(name));
        }
        // At least one byte, so that a lone `{` does not stop the walk.
        let end = rest.char_indices().skip(1).find(|(_, c)| *c == '{');
        let (literal, after) = rest.split_at(end.map_or(rest.len(), |(i, _)| i));
        rest = after;
        Some(Piece::Literal(literal))
    })
}
