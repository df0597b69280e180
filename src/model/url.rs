//! Addresses of streams, as people write them and as they are kept: without any secret.

mod percent;
mod scheme;
mod secrets;

use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use self::secrets::{PLACEHOLDERS, extract_secrets, map_pieces, password_part, split_userinfo};
use super::{ConnectionType, Credentials, Secret};

pub use percent::{percent_decode, percent_encode, sofia_hash};
pub use scheme::Scheme;

/// What stands where a secret was, in every output.
const MASK: &str = "***";
/// Longest URL that is accepted, bytes.
pub const URL_BYTES_MAX: usize = 2048;

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

#[cfg(test)]
mod tests;
