//! What the texts inside values must look like. Errors continue the sentence
//! "`section.key` ...", so each begins with a verb.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::types::BrokerUrl;
use crate::policy::closest::nearest;

/// Positions (from 0) of bad entries and what is wrong with each.
pub type ListErrors = Vec<(usize, String)>;

const ITEMS_MAX: usize = 256;
const PATH_BYTES_MAX: usize = 4096;

/// Every command that MQTT knows.
const COMMANDS: &[&str] = &[
    "scan",
    "detect",
    "batch_test",
    "check_now",
    "reconnect",
    "monitoring",
    "snapshot",
    "reboot",
    "ptz",
    "camera_add",
    "camera_update",
    "camera_remove",
    "config_get",
    "config_patch",
    "log_level",
    "restart",
    "export",
];

/// A text for an error message: bounded, nothing that could upset a terminal.
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 48;
    let escaped: String = text
        .chars()
        .take(CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    let more = if text.chars().nth(CHARS_MAX).is_some() {
        "..."
    } else {
        ""
    };
    format!("\"{escaped}{more}\"")
}

/// Reads each entry; all bad ones are reported.
pub fn each<T>(
    items: &[String],
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, ListErrors> {
    if items.len() > ITEMS_MAX {
        let problem = format!(
            "has {} entries, at most {ITEMS_MAX} are possible",
            items.len()
        );
        return Err(vec![(0, problem)]);
    }
    let mut good = Vec::with_capacity(items.len());
    let mut bad = Vec::new();
    for (position, item) in items.iter().enumerate() {
        match read(item) {
            Ok(value) => good.push(value),
            Err(problem) => bad.push((position, problem)),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

/// Empty text: `None`.
pub fn optional<T>(
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        read(text).map(Some)
    }
}

/// One line, without control characters.
pub fn line(text: &str, chars_max: usize) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("must be one line without control characters".to_owned());
    }
    match text.chars().count() {
        count if count > chars_max => Err(format!(
            "must have at most {chars_max} characters, not {count}"
        )),
        _ => Ok(text.to_owned()),
    }
}

/// `127.0.0.1:8000`, `[::1]:8000`
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "must be an IP address with a port, such as \"127.0.0.1:8000\", not {}",
            shown(text)
        )
    })
}

/// An absolute path; empty: `None`. The text is not repeated: it may be a secret set by mistake.
pub fn path(text: &str) -> Result<Option<PathBuf>, String> {
    optional(text, folder)
}

/// An absolute path.
pub fn folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() || text.len() > PATH_BYTES_MAX || text.contains('\0') {
        return Err("must be an absolute path, such as \"/etc/ohmvision/name\"".to_owned());
    }
    Ok(path)
}

/// A host name or address, in lower case, without port.
pub fn host(text: &str) -> Result<String, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    let is_name = !text.is_empty()
        && text.len() <= 253
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    if is_name || bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(bare.to_ascii_lowercase());
    }
    Err(format!(
        "must be a host name without scheme or port, not {}",
        shown(text)
    ))
}

/// A Linux interface name (15 bytes, no slash, no space).
pub fn interface(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_graphic() && c != '/';
    if text.is_empty() || text.len() > 15 || !text.chars().all(allowed) {
        return Err(format!(
            "must be an interface name, such as \"eth0\", not {}",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// `mqtt://host:1883`, `mqtts://host:8883`; the port may be left out. A login inside is refused
/// and not repeated.
pub fn broker(text: &str) -> Result<BrokerUrl, String> {
    let form = "must be mqtt://host:1883 or mqtts://host:8883";
    let (tls, rest) = match text.split_once("://") {
        Some(("mqtt", rest)) => (false, rest),
        Some(("mqtts", rest)) => (true, rest),
        _ => return Err(form.to_owned()),
    };
    if rest.contains('@') {
        return Err("must not carry a login: use mqtt.username and mqtt.password_file".to_owned());
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    // A colon inside brackets belongs to an IPv6 address.
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (authority, None),
    };
    let port = match port {
        None => Some(if tls { 8883 } else { 1883 }),
        Some(port) => port.parse().ok().filter(|port| *port != 0),
    };
    match (host(name), port) {
        (Ok(host), Some(port)) => Ok(BrokerUrl { tls, host, port }),
        _ => Err(format!("{form}, not {}", shown(text))),
    }
}

/// Levels of an MQTT topic, without wildcards and without a slash at either end.
pub fn topic(text: &str) -> Result<String, String> {
    let bad_level = |level: &str| {
        level.is_empty()
            || level
                .chars()
                .any(|c| c.is_control() || matches!(c, '+' | '#' | ' '))
    };
    if text.len() > 128 || text.starts_with('$') || text.split('/').any(bad_level) {
        return Err(format!(
            "must be a topic such as \"ohmvision\" or \"site/ohmvision\" without + # and spaces, not {}",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// A command that MQTT knows.
pub fn command(text: &str) -> Result<String, String> {
    if COMMANDS.contains(&text) {
        return Ok(text.to_owned());
    }
    let near = nearest(text, COMMANDS.iter().copied());
    Err(format!(
        "has no command {}{}",
        shown(text),
        did_you_mean(near)
    ))
}

/// `info,retina=warn`
pub fn log_filter(text: &str) -> Result<String, String> {
    crate::logging::parse_filter(text).map(|_| text.to_owned())
}

/// `, did you mean "x"?`, or nothing.
pub fn did_you_mean(near: Option<&str>) -> String {
    near.map(|near| format!(", did you mean \"{near}\"?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_urls() {
        let url = |tls, host: &str, port| BrokerUrl {
            tls,
            host: host.to_owned(),
            port,
        };
        for (text, expected) in [
            ("mqtt://broker.lan", url(false, "broker.lan", 1883)),
            ("mqtts://broker.lan", url(true, "broker.lan", 8883)),
            ("mqtt://10.0.0.2:1884/", url(false, "10.0.0.2", 1884)),
            ("mqtts://[fd00::2]:8884", url(true, "fd00::2", 8884)),
            ("mqtt://[fd00::2]", url(false, "fd00::2", 1883)),
        ] {
            assert_eq!(broker(text), Ok(expected));
        }
        for text in [
            "broker.lan",
            "http://a",
            "mqtt://",
            "mqtt://a:0",
            "mqtt://a/b",
            "mqtt://fd00::2",
        ] {
            assert!(broker(text).is_err(), "{text}");
        }
        let with_login = broker("mqtt://admin:hunter2@broker").unwrap_err();
        assert!(with_login.contains("password_file") && !with_login.contains("hunter2"));
    }

    #[test]
    fn topics_hosts_interfaces() {
        assert!(topic("site/ohmvision").is_ok());
        for bad in ["", "/a", "a/", "a//b", "a/+", "#", "$SYS", "a b"] {
            assert!(topic(bad).is_err(), "{bad}");
        }
        assert_eq!(host("Gateway.LAN"), Ok("gateway.lan".to_owned()));
        assert_eq!(host("[FD00::1]"), Ok("fd00::1".to_owned()));
        for bad in ["", "a:80", "http://a", "a/b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert!(interface("enp3s0.100").is_ok());
        assert!(interface("a/b").is_err() && interface("sixteen-bytes-xx").is_err());
    }

    #[test]
    fn shown_texts_are_short_and_harmless() {
        assert_eq!(shown("\u{1b}[31m"), "\"\\u{1b}[31m\"");
        assert_eq!(shown(&"x".repeat(100)).len(), 48 + 5);
    }
}
