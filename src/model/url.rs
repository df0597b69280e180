use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{ConnectionType, Credentials, Secret};

/// What stands where a secret was, in every output.
const MASK: &str = "***";
/// Longest URL that is accepted, bytes.
pub const URL_BYTES_MAX: usize = 2048;

/// The URL forms of the REST contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Rtsp,
    Rtsps,
    Rtmp,
    Rtmps,
    Http,
    Https,
    WhepHttp,
    WhepHttps,
    Onvif,
    /// A recorder, by the API of its maker: `nvr://host?api=isapi&channel=2`.
    Nvr,
    Usb,
    File,
}

impl Scheme {
    pub const ALL: [Scheme; 12] = [
        Self::Rtsp,
        Self::Rtsps,
        Self::Rtmp,
        Self::Rtmps,
        Self::Http,
        Self::Https,
        Self::WhepHttp,
        Self::WhepHttps,
        Self::Onvif,
        Self::Nvr,
        Self::Usb,
        Self::File,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rtsp => "rtsp",
            Self::Rtsps => "rtsps",
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
            Self::Http => "http",
            Self::Https => "https",
            Self::WhepHttp => "whep+http",
            Self::WhepHttps => "whep+https",
            Self::Onvif => "onvif",
            Self::Nvr => "nvr",
            Self::Usb => "usb",
            Self::File => "file",
        }
    }

    /// Port when the URL names none; 0 for local schemes.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Rtsp => 554,
            Self::Rtsps => 322,
            Self::Rtmp => 1935,
            Self::Rtmps | Self::Https | Self::WhepHttps => 443,
            Self::Http | Self::WhepHttp | Self::Onvif | Self::Nvr => 80,
            Self::Usb | Self::File => 0,
        }
    }

    /// True where the bytes on the wire are encrypted.
    pub fn is_tls(self) -> bool {
        matches!(
            self,
            Self::Rtsps | Self::Rtmps | Self::Https | Self::WhepHttps
        )
    }

    /// True where there is no host to dial.
    pub fn is_local(self) -> bool {
        matches!(self, Self::Usb | Self::File)
    }

    /// Most cameras' URLs show their RTSP port; web ports are left out when they are the default.
    fn always_shows_port(self) -> bool {
        matches!(self, Self::Rtsp | Self::Rtsps)
    }
}

/// Why a text is not a URL that we can use. Never repeats the user info.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("a URL has at most {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error(
        "`{0}` is not a URL scheme that is spoken here; use rtsp, rtsps, rtmp, rtmps, http, https, whep+http, whep+https, onvif, nvr, usb or file"
    )]
    Scheme(String),
    #[error("a URL starts with its scheme, as in rtsp://192.168.1.100:554/stream1")]
    NoScheme,
    #[error("the URL names no host")]
    NoHost,
    #[error("`{0}` is not a host name or an address (IPv6 stands in brackets)")]
    Host(String),
    #[error("`{0}` is not a port (1 to 65535)")]
    Port(String),
    #[error("a URL holds no blanks or control characters")]
    Blank,
    #[error(
        "the URL holds two different passwords, one before the host and one in its path or query"
    )]
    TwoPasswords,
}

/// A stream's address without any secret: user info is never part of it, and where a user name or
/// password stands in path or query there is a placeholder (`{user}`, `{pass}`, `{hash}`).
///
/// Its text form is what the store keeps; what a person sees is [`StreamUrl::masked`]; what is
/// dialled is [`StreamUrl::wire_path`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamUrl {
    pub scheme: Scheme,
    /// Lower case; an IPv6 address without brackets, with its zone (`fe80::1%eth0`). Empty if local.
    pub host: String,
    pub port: u16,
    /// Path and query, beginning with `/`; for `usb` and `file` the bare name or path.
    pub path: String,
}

/// The password part of a URL that came from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordPart {
    Absent,
    /// `***`: keep what is stored.
    Masked,
    Given(Secret),
}

/// A URL taken apart: the address, and the login that it carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedUrl {
    pub url: StreamUrl,
    pub username: Option<String>,
    pub password: PasswordPart,
}

impl ParsedUrl {
    /// The login, where the URL carried a whole one. A user name alone has the empty password.
    pub fn credentials(&self) -> Option<Credentials> {
        let password = match &self.password {
            PasswordPart::Given(secret) => secret.clone(),
            PasswordPart::Absent => Secret::new(""),
            PasswordPart::Masked => return None,
        };
        self.username
            .clone()
            .map(|username| Credentials { username, password })
    }
}

impl StreamUrl {
    /// Takes a URL apart as people write them: raw special characters in user and password are
    /// accepted, secrets in path and query are found by the usual names.
    ///
    /// # Errors
    /// [`UrlError`], with one sentence that repeats no user info.
    pub fn parse(text: &str) -> Result<ParsedUrl, UrlError> {
        let text = text.trim();
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UrlError::Blank);
        }
        let (scheme, rest) = split_scheme(text)?;
        if scheme.is_local() {
            let url = StreamUrl {
                scheme,
                host: String::new(),
                port: 0,
                path: rest.to_owned(),
            };
            return match rest.is_empty() {
                true => Err(UrlError::NoHost),
                false => Ok(ParsedUrl {
                    url,
                    username: None,
                    password: PasswordPart::Absent,
                }),
            };
        }
        let (userinfo, host, port, path) = split_authority(scheme, rest)?;
        let (mut username, mut password) = split_userinfo(userinfo);
        let path = match path.split_once('#') {
            Some((before, _fragment)) => before,
            None => path,
        };
        let mut found = extract_secrets(path);
        if let Some(secret) = found.password {
            let here = password_part(&secret);
            match &password {
                PasswordPart::Absent => password = here,
                before if *before == here => {}
                // The same password twice: plain before the host, as its hash in the path.
                PasswordPart::Given(plain) if sofia_hash(plain.expose()) == **secret => {
                    found.path = found.path.replacen("{pass}", "{hash}", 1);
                }
                PasswordPart::Masked => {}
                PasswordPart::Given(_) if here == PasswordPart::Masked => {}
                PasswordPart::Given(_) => return Err(UrlError::TwoPasswords),
            }
        }
        username = username.or(found.username);
        let mut path = found.path;
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        Ok(ParsedUrl {
            url: StreamUrl {
                scheme,
                host,
                port,
                path,
            },
            username,
            password,
        })
    }

    /// The connection type that this URL form stands for.
    pub fn connection_type(&self) -> ConnectionType {
        let path = self
            .path
            .split('?')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        match self.scheme {
            Scheme::Rtsp | Scheme::Rtsps => ConnectionType::Rtsp,
            Scheme::Rtmp | Scheme::Rtmps => ConnectionType::Rtmp,
            Scheme::Http | Scheme::Https if path.ends_with(".m3u8") => ConnectionType::Hls,
            // HTTP-FLV: RTMP's tags, without its handshake.
            Scheme::Http | Scheme::Https if path.ends_with(".flv") || path == "/flv" => {
                ConnectionType::Rtmp
            }
            Scheme::Http => ConnectionType::HttpMjpeg,
            Scheme::Https => ConnectionType::Https,
            Scheme::WhepHttp | Scheme::WhepHttps => ConnectionType::Webrtc,
            Scheme::Onvif => ConnectionType::Onvif,
            Scheme::Nvr => ConnectionType::Nvr,
            Scheme::Usb => ConnectionType::Usb,
            Scheme::File => ConnectionType::File,
        }
    }

    /// `host:port` as it stands in a request line or `Host` header; IPv6 in brackets, no zone,
    /// the default port left out.
    pub fn authority(&self) -> String {
        let host = self.host.split('%').next().unwrap_or_default();
        let mut out = bracketed(host);
        if self.port != self.scheme.default_port() || self.scheme.always_shows_port() {
            let _ = write!(out, ":{}", self.port);
        }
        out
    }

    /// The path of a `file:` URL with its percent escapes resolved; one without leading `/` is meant
    /// below a configured root.
    pub fn file_path(&self) -> std::path::PathBuf {
        percent_decode(&self.path).into()
    }

    /// True if path or query hold a user name or password.
    pub fn has_placeholders(&self) -> bool {
        PLACEHOLDERS.iter().any(|p| self.path.contains(p))
    }

    /// Path and query with the login filled in, as sent on the wire.
    pub fn wire_path(&self, login: Option<&Credentials>) -> Zeroizing<String> {
        let (user, pass) = login.map_or(("", ""), |l| (l.username.as_str(), l.password.expose()));
        Zeroizing::new(self.fill(
            &percent_encode(user),
            &percent_encode(pass),
            &sofia_hash(pass),
        ))
    }

    /// The whole URL with its login in clear: only for an answer to the request that carried it.
    pub fn with_login(&self, login: Option<&Credentials>) -> Zeroizing<String> {
        let Some(login) = login else {
            return Zeroizing::new(self.to_string());
        };
        let user = percent_encode(&login.username);
        let pass = percent_encode(login.password.expose());
        let path = self.fill(&user, &pass, &sofia_hash(login.password.expose()));
        Zeroizing::new(self.assemble(Some(&format!("{user}:{pass}")), &path))
    }

    /// The URL for people: `rtsp://admin:***@host:554/...`. `username` and `has_password` are the
    /// stored login's.
    pub fn masked(&self, username: Option<&str>, has_password: bool) -> String {
        let user = percent_encode(username.unwrap_or_default());
        let mask = if has_password { MASK } else { "" };
        let path = self.fill(&user, mask, mask);
        match (username, has_password) {
            (None, false) => self.assemble(None, &path),
            (_, true) => self.assemble(Some(&format!("{user}:{MASK}")), &path),
            (Some(_), false) => self.assemble(Some(&user), &path),
        }
    }

    /// Puts placeholders where this login stands as a whole segment or value of path or query.
    pub fn hide_login(&mut self, login: &Credentials) {
        let password = login.password.expose();
        if password.is_empty() {
            return;
        }
        let encoded = percent_encode(password);
        self.path = map_pieces(&self.path, |piece| {
            (piece == encoded || piece == password).then_some("{pass}")
        });
    }

    fn fill(&self, user: &str, pass: &str, hash: &str) -> String {
        self.path
            .replace("{user}", user)
            .replace("{pass}", pass)
            .replace("{hash}", hash)
    }

    fn assemble(&self, userinfo: Option<&str>, path: &str) -> String {
        if self.scheme.is_local() {
            return format!("{}:{path}", self.scheme.as_str());
        }
        let mut out = format!("{}://", self.scheme.as_str());
        if let Some(userinfo) = userinfo {
            let _ = write!(out, "{userinfo}@");
        }
        out.push_str(&bracketed(&self.host));
        if self.port != self.scheme.default_port() || self.scheme.always_shows_port() {
            let _ = write!(out, ":{}", self.port);
        }
        out.push_str(path);
        out
    }
}

/// The form that is stored: no user info, placeholders in place.
impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.assemble(None, &self.path))
    }
}

impl fmt::Debug for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for StreamUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        StreamUrl::parse(&text)
            .map(|p| p.url)
            .map_err(serde::de::Error::custom)
    }
}

const PLACEHOLDERS: [&str; 3] = ["{user}", "{pass}", "{hash}"];
const PASSWORD_NAMES: [&str; 6] = ["password", "pass", "pwd", "loginpas", "passwd", "p"];
const USER_NAMES: [&str; 6] = ["username", "user", "usr", "loginuse", "uname", "u"];

/// Percent-encodes all but the unreserved characters of RFC 3986 section 2.3.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Decodes percent escapes; a `%` that starts none stays as it is (people paste raw passwords).
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escape = (bytes[i] == b'%')
            .then(|| bytes.get(i + 1..i + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escape.unwrap_or(bytes[i]));
        i += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

/// Xiongmai's eight-character password hash (MD5, pairs of bytes folded to `0-9A-Za-z`).
pub fn sofia_hash(password: &str) -> String {
    use md5::{Digest as _, Md5};
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digest = Md5::digest(password.as_bytes());
    let fold =
        |pair: &[u8]| char::from(ALPHABET[(usize::from(pair[0]) + usize::from(pair[1])) % 62]);
    digest.chunks_exact(2).map(fold).collect()
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), UrlError> {
    let (name, rest) = text.split_once(':').ok_or(UrlError::NoScheme)?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if name.is_empty() || !name.chars().all(is_word) {
        return Err(UrlError::NoScheme);
    }
    let lower = name.to_ascii_lowercase();
    let scheme = Scheme::ALL.into_iter().find(|s| s.as_str() == lower);
    let Some(scheme) = scheme else {
        // `192.168.1.10:554/x`: an address, not a scheme.
        return Err(if rest.starts_with("//") {
            UrlError::Scheme(lower)
        } else {
            UrlError::NoScheme
        });
    };
    if scheme.is_local() {
        return Ok((scheme, rest.strip_prefix("//").unwrap_or(rest)));
    }
    rest.strip_prefix("//")
        .map(|rest| (scheme, rest))
        .ok_or(UrlError::NoScheme)
}

/// Splits `user:pass@host:port/path`. Where the strict reading gives no valid host (a raw `/`, `?`
/// or `#` in the password), the last `@` is taken as the end of the user info.
fn split_authority(
    scheme: Scheme,
    rest: &str,
) -> Result<(Option<&str>, String, u16, &str), UrlError> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let strict = match authority.rsplit_once('@') {
        Some((userinfo, host)) => {
            split_host(scheme, host).map(|(h, p)| (Some(userinfo), h, p, path))
        }
        None => split_host(scheme, authority).map(|(h, p)| (None, h, p, path)),
    };
    let error = match strict {
        Ok(parts) => return Ok(parts),
        Err(error) => error,
    };
    let Some((userinfo, after)) = rest.rsplit_once('@') else {
        return Err(error);
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (host, path) = after.split_at(end);
    let (host, port) = split_host(scheme, host)?;
    Ok((Some(userinfo), host, port, path))
}

fn split_host(scheme: Scheme, text: &str) -> Result<(String, u16), UrlError> {
    if text.is_empty() {
        return Err(UrlError::NoHost);
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']').ok_or(UrlError::Host(short(text)))?;
            let (address, zone) = match inside.split_once('%') {
                Some((a, z)) => (a, Some(z.strip_prefix("25").unwrap_or(z))),
                None => (inside, None),
            };
            let address: std::net::Ipv6Addr =
                address.parse().map_err(|_| UrlError::Host(short(text)))?;
            let host = match zone {
                Some(zone) if is_zone(zone) => format!("{address}%{zone}"),
                Some(_) => return Err(UrlError::Host(short(text))),
                None => address.to_string(),
            };
            (
                host,
                after
                    .strip_prefix(':')
                    .or(after.is_empty().then_some(""))
                    .ok_or(UrlError::Host(short(text)))?,
            )
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            if host.is_empty()
                || !host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
            {
                return Err(if host.is_empty() {
                    UrlError::NoHost
                } else {
                    UrlError::Host(short(text))
                });
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let port = match port {
        "" => scheme.default_port(),
        text => match text.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(UrlError::Port(short(text))),
        },
    };
    Ok((host, port))
}

fn is_zone(zone: &str) -> bool {
    !zone.is_empty()
        && zone.len() <= 32
        && zone
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

/// What an error may repeat: the part after a last `@`, at most 60 characters.
fn short(text: &str) -> String {
    text.rsplit('@')
        .next()
        .unwrap_or_default()
        .chars()
        .take(60)
        .collect()
}

fn split_userinfo(userinfo: Option<&str>) -> (Option<String>, PasswordPart) {
    let Some(userinfo) = userinfo else {
        return (None, PasswordPart::Absent);
    };
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (user, password_part(&percent_decode(password))),
        None => (userinfo, PasswordPart::Absent),
    };
    ((!user.is_empty()).then(|| percent_decode(user)), password)
}

fn password_part(text: &str) -> PasswordPart {
    if text == MASK {
        PasswordPart::Masked
    } else {
        PasswordPart::Given(Secret::new(text))
    }
}

struct Found {
    path: String,
    username: Option<String>,
    password: Option<Zeroizing<String>>,
}

/// Finds `name=value` pairs that hold a login, anywhere in path and query, and puts placeholders in
/// their place. Empty values and placeholders stay.
fn extract_secrets(path: &str) -> Found {
    let mut found = Found {
        path: String::new(),
        username: None,
        password: None,
    };
    let is_delimiter = |c: char| "/?&;_".contains(c);
    let mut rest = path;
    let mut at_start = true;
    while !rest.is_empty() {
        let pair = at_start.then(|| named_value(rest)).flatten();
        at_start = false;
        let Some((placeholder, name_len, value_len)) = pair else {
            let c = rest.chars().next().unwrap_or('/');
            found.path.push(c);
            rest = &rest[c.len_utf8()..];
            at_start = is_delimiter(c);
            continue;
        };
        let (name, value, after) = (
            &rest[..name_len],
            &rest[name_len..name_len + value_len],
            &rest[name_len + value_len..],
        );
        found.path.push_str(name);
        if value.is_empty() || PLACEHOLDERS.contains(&value) {
            found.path.push_str(value);
        } else {
            found.path.push_str(placeholder);
            let value = Zeroizing::new(percent_decode(value));
            match placeholder {
                "{pass}" if found.password.is_none() => found.password = Some(value),
                "{user}" if found.username.is_none() => found.username = Some(value.to_string()),
                _ => {}
            }
        }
        rest = after;
    }
    found
}

/// `password=...` at the start of `text`: its placeholder, the length up to and with `=`, and of the value.
fn named_value(text: &str) -> Option<(&'static str, usize, usize)> {
    let equals = text.find('=')?;
    let name = text.get(..equals)?.to_ascii_lowercase();
    let placeholder = if PASSWORD_NAMES.contains(&name.as_str()) {
        "{pass}"
    } else if USER_NAMES.contains(&name.as_str()) {
        "{user}"
    } else {
        return None;
    };
    let value = &text[equals + 1..];
    let mut end = value.find(['&', '/', '?', ';', '#']).unwrap_or(value.len());
    // `user=admin_password=x_channel=1`: an underscore ends the value where a `name=` follows.
    for (i, _) in value[..end].match_indices('_') {
        let next = &value[i + 1..end];
        let word = next
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(next.len());
        if word > 0 && next[word..].starts_with('=') {
            end = i;
            break;
        }
    }
    Some((placeholder, equals + 1, end))
}

/// Rebuilds `path` with whole segments and values replaced where `replace` says so.
fn map_pieces(path: &str, replace: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(path.len());
    for piece in path.split_inclusive(['/', '?', '&', '=', ';']) {
        let body = piece.trim_end_matches(['/', '?', '&', '=', ';']);
        out.push_str(replace(body).unwrap_or(body));
        out.push_str(&piece[body.len()..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ParsedUrl {
        StreamUrl::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn takes_the_login_out() {
        let p = parse("rtsp://admin:password123@192.168.1.100:554/Streaming/Channels/101");
        assert_eq!(
            p.url.to_string(),
            "rtsp://192.168.1.100:554/Streaming/Channels/101"
        );
        assert_eq!(
            p.credentials(),
            Some(Credentials::new("admin", "password123"))
        );
        assert_eq!(
            p.url.masked(Some("admin"), true),
            "rtsp://admin:***@192.168.1.100:554/Streaming/Channels/101"
        );
        assert_eq!(p.url.connection_type(), ConnectionType::Rtsp);
    }

    #[test]
    fn web_addresses_say_what_they_hold() {
        use ConnectionType::{Hls, HttpMjpeg, Https, Rtmp};
        for (text, want) in [
            ("http://h/live/cam1.flv", Rtmp),
            (
                "https://h/flv?port=1935&app=bcs&stream=channel0_main.bcs",
                Rtmp,
            ),
            ("rtmps://h/live/cam1", Rtmp),
            ("http://h/flvx", HttpMjpeg),
            ("https://h/video?x=.flv", Https),
            ("http://h/live/cam1.M3U8?token=1", Hls),
        ] {
            assert_eq!(parse(text).url.connection_type(), want, "{text}");
        }
    }

    #[test]
    fn special_characters_work_raw_and_encoded() {
        let login = Credentials::new("admin", "p@ss:w/rd?#%");
        let raw = parse("rtsp://admin:p@ss:w/rd?#%@10.0.0.1/live");
        assert_eq!(raw.credentials().as_ref(), Some(&login));
        let encoded = raw.url.with_login(Some(&login));
        assert_eq!(
            *encoded,
            "rtsp://admin:p%40ss%3Aw%2Frd%3F%23%25@10.0.0.1:554/live"
        );
        assert_eq!(parse(&encoded), raw);
    }

    #[test]
    fn finds_secrets_in_queries_and_paths() {
        let p = parse(
            "http://10.0.0.9:88/cgi-bin/CGIStream.cgi?cmd=GetMJStream&usr=admin&pwd=s%20cret",
        );
        assert_eq!(
            p.url.to_string(),
            "http://10.0.0.9:88/cgi-bin/CGIStream.cgi?cmd=GetMJStream&usr={user}&pwd={pass}"
        );
        assert_eq!(p.credentials(), Some(Credentials::new("admin", "s cret")));
        assert_eq!(
            *p.url.wire_path(p.credentials().as_ref()),
            "/cgi-bin/CGIStream.cgi?cmd=GetMJStream&usr=admin&pwd=s%20cret"
        );

        let xm =
            parse("rtsp://10.0.0.9/user=admin_password=a_b_channel=1_stream=0.sdp?real_stream");
        assert_eq!(
            xm.url.path,
            "/user={user}_password={pass}_channel=1_stream=0.sdp?real_stream"
        );
        assert_eq!(xm.credentials(), Some(Credentials::new("admin", "a_b")));
        let login = Credentials::new("admin", "s3cret");
        let hashed =
            parse("rtsp://10.0.0.9/user={user}_password={hash}_channel=1_stream=0.sdp").url;
        assert_eq!(parse(&hashed.with_login(Some(&login))).url, hashed);
        let empty = parse("rtsp://10.0.0.9/user=admin&password=&channel=1&stream=0.sdp");
        assert_eq!(
            empty.url.path,
            "/user={user}&password=&channel=1&stream=0.sdp"
        );
        assert!(!xm.url.masked(Some("admin"), true).contains("a_b"));
    }

    #[test]
    fn a_masked_url_says_so() {
        let p = parse("rtsp://admin:***@10.0.0.1:554/x?pwd=***");
        assert_eq!(
            (p.password, p.url.path.as_str()),
            (PasswordPart::Masked, "/x?pwd={pass}")
        );
        assert_eq!(
            StreamUrl::parse("rtsp://a:one@h/x?pwd=two"),
            Err(UrlError::TwoPasswords)
        );
    }

    #[test]
    fn ipv6_with_and_without_zone() {
        let p = parse("rtsp://[FE80::1%25eth0]:8554/s");
        assert_eq!((p.url.host.as_str(), p.url.port), ("fe80::1%eth0", 8554));
        assert_eq!(p.url.authority(), "[fe80::1]:8554");
        assert_eq!(p.url.to_string(), "rtsp://[fe80::1%eth0]:8554/s");
        assert_eq!(parse(&p.url.to_string()).url, p.url);
    }

    #[test]
    fn ports_are_shown_where_the_contract_says() {
        assert_eq!(parse("rtsp://h/x").url.to_string(), "rtsp://h:554/x");
        assert_eq!(parse("http://h:80/x").url.to_string(), "http://h/x");
        assert_eq!(parse("https://h:8443").url.to_string(), "https://h:8443/");
        assert_eq!(
            parse("usb:usb-046d_C920-video-index0").url.to_string(),
            "usb:usb-046d_C920-video-index0"
        );
        assert_eq!(parse("file:/srv/clips/a.mp4").url.path, "/srv/clips/a.mp4");
    }

    #[test]
    fn errors_name_the_thing_and_never_the_password() {
        for (text, want) in [
            (
                "rtsp://admin:s3cret@10.0.0.1:99999/x",
                "`99999` is not a port (1 to 65535)",
            ),
            ("gopher://x/", "`gopher` is not a URL scheme"),
            ("192.168.1.10:554/x", "a URL starts with its scheme"),
            ("rtsp://admin:s3cret@/x", "the URL names no host"),
            ("rtsp://a b/", "a URL holds no blanks"),
            ("rtsp://[::1/x", "is not a host name"),
        ] {
            let error = StreamUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn hides_a_login_given_apart() {
        let mut url = parse("http://h/live/s3cret/av?x=s3cret&y=1").url;
        url.hide_login(&Credentials::new("u", "s3cret"));
        assert_eq!(url.path, "/live/{pass}/av?x={pass}&y=1");
    }

    #[test]
    fn xiongmai_hash_of_the_empty_password() {
        assert_eq!(sofia_hash(""), "tlJwpbo6");
    }

    proptest::proptest! {
        #[test]
        fn any_login_survives_a_round_trip(user in "[^\\s\\p{C}]{1,12}", pass in "[^\\s\\p{C}]{1,16}") {
            proptest::prop_assume!(pass != "***");
            let url = parse("rtsp://10.0.0.1:554/live?x=1").url;
            let login = Credentials::new(user, pass);
            let again = parse(&url.with_login(Some(&login)));
            proptest::prop_assert_eq!(again.credentials(), Some(login));
            proptest::prop_assert_eq!(again.url, url);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,64}") {
            let _ = StreamUrl::parse(&text);
            let _ = StreamUrl::parse(&format!("rtsp://{text}"));
        }
    }
}
