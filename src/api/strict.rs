//! Reads a JSON object field by field and writes down every mistake, so that a caller learns all of
//! them at once. Messages never repeat a value: it may be a secret in the wrong place.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::problem::FieldError;
use crate::model::{Credentials, Secret};

/// Longest user name, characters.
pub const USERNAME_CHARS_MAX: usize = 128;
/// Longest password, characters.
pub const PASSWORD_CHARS_MAX: usize = 256;

/// An object that is being read. A field that nobody asked for is a mistake, see [`Fields::finish`].
#[derive(Debug)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// `connection_config.` or empty.
    prefix: String,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    pub fn new(map: &'a Map<String, Value>) -> Self {
        Self::nested(map, "")
    }

    /// An object inside another; `prefix` (with its dot) stands before each field's name.
    pub fn nested(map: &'a Map<String, Value>, prefix: &str) -> Self {
        Self {
            map,
            prefix: prefix.to_owned(),
            known: Vec::with_capacity(map.len()),
            errors: Vec::new(),
        }
    }

    /// The value as it stands, `null` included.
    pub fn raw(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.map.get(name)
    }

    /// The value, `null` counting as absent.
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.raw(name).filter(|v| !v.is_null())
    }

    /// These may be there and are not looked at: read-only fields that come back.
    pub fn ignore(&mut self, names: &[&'static str]) {
        self.known.extend(names);
    }

    pub fn error(&mut self, name: &str, message: impl Into<String>) {
        let field = format!("{}{name}", self.prefix);
        self.errors.push(FieldError::new(field, message));
    }

    /// Takes over the mistakes of a part that was read apart.
    pub fn absorb(&mut self, errors: Vec<FieldError>) {
        self.errors.extend(errors);
    }

    /// One line of text, trimmed; empty counts as absent.
    pub fn text(&mut self, name: &'static str, chars_max: usize) -> Option<&'a str> {
        let value = self.value(name)?;
        match line(value, chars_max) {
            Ok(text) => (!text.is_empty()).then_some(text),
            Err(message) => {
                self.error(name, message);
                None
            }
        }
    }

    /// A text that is kept to the letter; it may be empty.
    pub fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let value = self.value(name)?;
        match value.as_str().map(|t| (t, t.chars().count())) {
            Some((text, 0..=PASSWORD_CHARS_MAX)) => Some(Secret::new(text)),
            Some(_) => {
                self.error(name, format!("has at most {PASSWORD_CHARS_MAX} characters"));
                None
            }
            None => {
                self.error(name, "must be a text");
                None
            }
        }
    }

    pub fn integer(&mut self, name: &'static str, min: u32, max: u32) -> Option<u32> {
        let value = self.value(name)?;
        let found = integer(value, min, max);
        if found.is_none() {
            self.error(name, not_integer(min, max));
        }
        found
    }

    pub fn port(&mut self, name: &'static str) -> Option<u16> {
        self.integer(name, 1, 65535)
            .and_then(|p| u16::try_from(p).ok())
    }

    pub fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let value = self.value(name)?;
        if !value.is_boolean() {
            self.error(name, "must be true or false");
        }
        value.as_bool()
    }

    /// An array of at most `items_max`; empty when absent.
    pub fn array(&mut self, name: &'static str, items_max: usize) -> &'a [Value] {
        let Some(value) = self.value(name) else {
            return &[];
        };
        match value.as_array() {
            Some(items) if items.len() <= items_max => items,
            Some(_) => {
                self.error(name, format!("has at most {items_max} entries"));
                &[]
            }
            None => {
                self.error(name, "must be an array");
                &[]
            }
        }
    }

    pub fn object(&mut self, name: &'static str) -> Option<&'a Map<String, Value>> {
        let value = self.value(name)?;
        if !value.is_object() {
            self.error(name, "must be an object");
        }
        value.as_object()
    }

    /// An IP address, with its zone where IPv6 has one (`fe80::1%eth0`).
    pub fn ip(&mut self, name: &'static str) -> Option<(IpAddr, Option<String>)> {
        let text = self.text(name, 128)?;
        let found = parse_ip(text);
        if found.is_none() {
            self.error(
                name,
                "must be an IP address such as 192.168.1.100, without a port",
            );
        }
        found
    }

    /// `username` and `password` of this object. A user name alone has the empty password.
    pub fn login(&mut self) -> Option<Credentials> {
        let username = self.text("username", USERNAME_CHARS_MAX);
        let password = self.secret("password");
        match (username, password) {
            (Some(username), password) => Some(Credentials {
                username: username.to_owned(),
                password: password.unwrap_or_else(|| Secret::new("")),
            }),
            (None, Some(password)) if !password.is_empty() => {
                self.error("username", "is missing: a password alone is no login");
                None
            }
            (None, _) => None,
        }
    }

    /// Names what is missing; a value that was refused has its own message already.
    pub fn require<T>(&mut self, name: &'static str, value: Option<T>) -> Option<T> {
        let field = format!("{}{name}", self.prefix);
        if value.is_none() && !self.errors.iter().any(|e| e.field == field) {
            self.error(name, "is missing");
        }
        value
    }

    /// Every mistake, the fields that nobody knows included.
    pub fn finish(mut self) -> Vec<FieldError> {
        let unknown = self
            .map
            .keys()
            .filter(|k| !self.known.contains(&k.as_str()));
        let errors: Vec<FieldError> = unknown
            .take(32)
            .map(|key| {
                let shown: String = key.chars().take(40).collect();
                FieldError::new(
                    format!("{}{shown}", self.prefix),
                    unknown_name(key, self.known.iter().copied()),
                )
            })
            .collect();
        self.errors.extend(errors);
        self.errors
    }
}

/// "is not known; did you mean `password`?"
pub fn unknown_name<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    format!("is not known{}", did_you_mean(name, known))
}

/// "must be one of `a`, `b`; did you mean `a`?"
pub fn not_one_of<'n>(given: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    let list: Vec<String> = names.clone().map(|n| format!("`{n}`")).collect();
    format!(
        "must be one of {}{}",
        list.join(", "),
        did_you_mean(given, names)
    )
}

/// The whole number in this range that the value is.
pub fn integer(value: &Value, min: u32, max: u32) -> Option<u32> {
    let number = u32::try_from(value.as_u64()?).ok()?;
    (min..=max).contains(&number).then_some(number)
}

/// What is wrong with a value that [`integer`] refuses.
pub fn not_integer(min: u32, max: u32) -> String {
    format!("must be a whole number from {min} to {max}")
}

/// One line of text, trimmed.
///
/// # Errors
/// One sentence, when the value is no text, too long, or holds control characters.
pub fn line(value: &Value, chars_max: usize) -> Result<&str, String> {
    let text = value.as_str().ok_or("must be a text")?.trim();
    if text.chars().count() > chars_max {
        return Err(format!("has at most {chars_max} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("holds no control characters".to_owned());
    }
    Ok(text)
}

/// `192.168.1.100`, `fd00::1`, `[fe80::1%eth0]`.
pub fn parse_ip(text: &str) -> Option<(IpAddr, Option<String>)> {
    let text = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    let (address, zone) = text
        .split_once('%')
        .map_or((text, None), |(a, z)| (a, Some(z)));
    let ip: IpAddr = address.parse().ok()?;
    let is_zone = |z: &str| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        (1..=32).contains(&z.len()) && z.chars().all(is_word)
    };
    match zone {
        None => Some((ip, None)),
        Some(zone) if ip.is_ipv6() && is_zone(zone) => Some((ip, Some(zone.to_owned()))),
        Some(_) => None,
    }
}

/// The text of an address: `fe80::1%eth0`.
pub fn with_zone(ip: IpAddr, zone: Option<String>) -> String {
    match zone {
        Some(zone) => format!("{ip}%{zone}"),
        None => ip.to_string(),
    }
}

/// "; did you mean `password`?", or nothing where no candidate is close.
fn did_you_mean<'n>(name: &str, candidates: impl IntoIterator<Item = &'n str>) -> String {
    if name.len() > 64 {
        return String::new();
    }
    let near = candidates
        .into_iter()
        .map(|c| (distance(&name.to_ascii_lowercase(), c), c))
        .min_by_key(|(d, _)| *d)
        .filter(|(d, c)| *d * 3 <= c.len().max(3));
    near.map_or_else(String::new, |(_, near)| format!("; did you mean `{near}`?"))
}

/// Levenshtein distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (slot, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (diagonal + usize::from(x != y))
                .min(left + 1)
                .min(*slot + 1);
            diagonal = std::mem::replace(slot, here);
            left = here;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> &Map<String, Value> {
        value.as_object().unwrap()
    }

    #[test]
    fn lists_every_mistake_at_once() {
        let body =
            json!({"port": 0, "pasword": "hunter2", "name": ["x"], "frames": "yes", "zzz": 1});
        let mut fields = Fields::new(object(&body));
        assert_eq!(fields.port("port"), None);
        assert_eq!(fields.text("name", 10), None);
        assert_eq!(fields.boolean("frames"), None);
        assert_eq!(fields.login(), None);
        let errors = fields.finish();
        let shown: Vec<String> = errors
            .iter()
            .map(|e| format!("{}: {}", e.field, e.message))
            .collect();
        assert_eq!(
            shown,
            [
                "port: must be a whole number from 1 to 65535",
                "name: must be a text",
                "frames: must be true or false",
                "pasword: is not known; did you mean `password`?",
                "zzz: is not known",
            ]
        );
    }

    #[test]
    fn numbers_are_not_guessed() {
        let body = json!({"a": "554", "b": 554.5, "c": -1, "d": 4_294_967_296u64, "e": null});
        let mut fields = Fields::new(object(&body));
        for name in ["a", "b", "c", "d"] {
            assert_eq!(fields.integer(name, 0, u32::MAX), None);
        }
        assert_eq!(fields.integer("e", 0, 1), None);
        assert_eq!(fields.finish().len(), 4);
    }

    #[test]
    fn a_login_needs_a_user_name() {
        let body = json!({"password": "x"});
        let mut fields = Fields::new(object(&body));
        assert_eq!(fields.login(), None);
        assert_eq!(fields.finish()[0].field, "username");
        let body = json!({"username": "admin"});
        let mut fields = Fields::new(object(&body));
        assert_eq!(fields.login(), Some(Credentials::new("admin", "")));
        assert_eq!(fields.finish(), []);
    }

    #[test]
    fn addresses_with_and_without_zone() {
        let zone = Some("eth0".to_owned());
        assert_eq!(
            parse_ip("[fe80::1%eth0]"),
            Some(("fe80::1".parse().unwrap(), zone))
        );
        assert!(parse_ip("192.168.1.100").is_some());
        for bad in [
            "192.168.1.100:554",
            "192.168.1",
            "camera",
            "10.0.0.1%eth0",
            "fe80::1%",
            "fe80::1%a b",
        ] {
            assert_eq!(parse_ip(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_close_name_is_offered() {
        let names = ["username", "password", "ip"];
        assert_eq!(
            unknown_name("passwort", names),
            "is not known; did you mean `password`?"
        );
        assert_eq!(
            not_one_of("Username", names.into_iter()),
            "must be one of `username`, `password`, `ip`; did you mean `username`?"
        );
        assert_eq!(unknown_name("colour", names), "is not known");
    }
}
