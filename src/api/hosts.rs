//! Host and Origin against DNS rebinding: a web page must not reach the gateway through a name of
//! its own that resolves to the gateway's address.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap};
use hyper::{StatusCode, Uri, Version};

use super::problem::Problem;

/// Checks the names that a request was sent to and from.
///
/// * `hostname`: the machine's own name; `name` and `name.local` are accepted.
/// * `allowed`: `server.allowed_hosts`.
///
/// # Errors
/// 400 without a usable `Host`, 421 for a foreign one, 403 for an `Origin` that is not ours.
pub fn check(
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
    hostname: &str,
    allowed: &[String],
) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (uri.authority(), hosts.next()) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(value)) => value.to_str().unwrap_or_default(),
        // Only HTTP/1.0 may go without, and no browser speaks it.
        (None, None) if version == Version::HTTP_10 && !headers.contains_key(header::ORIGIN) => {
            return Ok(());
        }
        (None, None) => "",
    };
    let name = name_of(host);
    if name.is_empty() || hosts.next().is_some() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_host",
            "the request needs exactly one Host header",
        ));
    }
    if !is_ours(name, hostname, allowed) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host_not_allowed",
            "this host name is not one of the gateway's; use its address, or add the name to server.allowed_hosts",
        ));
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    if !origins.all(|origin| is_same_origin(origin.as_bytes(), host)) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "requests from pages of other hosts are refused",
        ));
    }
    Ok(())
}

fn is_ours(name: &str, hostname: &str, allowed: &[String]) -> bool {
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let address = bare.unwrap_or(name).split('%').next().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    let same = |own: &str| !own.is_empty() && name.eq_ignore_ascii_case(own);
    let is_local = || {
        let stem = name.len().checked_sub(".local".len());
        stem.and_then(|i| name.split_at_checked(i))
            .is_some_and(|(stem, end)| {
                end.eq_ignore_ascii_case(".local") && stem.eq_ignore_ascii_case(hostname)
            })
    };
    address.parse::<IpAddr>().is_ok()
        || same("localhost")
        || same(hostname)
        || (!hostname.is_empty() && is_local())
        || allowed.iter().any(|own| same(own))
}

/// `host:port` without the port; empty where it is neither `host` nor `host:port`.
fn name_of(host: &str) -> &str {
    let end = match host.starts_with('[') {
        true => host.find(']').map_or(0, |i| i + 1),
        false => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at_checked(end).unwrap_or_default();
    let is_port = |p: &str| p.len() <= 5 && p.bytes().all(|b| b.is_ascii_digit());
    match rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port) {
        true => name,
        false => "",
    }
}

/// `https://gateway:8000` against `gateway:8000`. The scheme may differ: a proxy may end TLS.
fn is_same_origin(origin: &[u8], host: &str) -> bool {
    let origin = std::str::from_utf8(origin).unwrap_or_default();
    origin
        .split_once("://")
        .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(host: Option<&str>, origin: Option<&str>) -> Option<u16> {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, host.parse().unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let allowed = ["cams.example.org".to_owned()];
        check(
            &Uri::from_static("/healthz"),
            Version::HTTP_11,
            &headers,
            "gw7",
            &allowed,
        )
        .err()
        .map(|p| p.status.as_u16())
    }

    #[test]
    fn our_own_names_pass() {
        for host in [
            "127.0.0.1:8000",
            "192.168.1.5",
            "[::1]:8000",
            "[fe80::1%25eth0]:8000",
            "localhost:8000",
            "LOCALHOST",
            "gw7",
            "GW7.local:8000",
            "gw7.local.",
            "cams.example.org:443",
        ] {
            assert_eq!(status(Some(host), None), None, "{host}");
        }
    }

    #[test]
    fn foreign_names_do_not() {
        for host in [
            "evil.example:8000",
            "gw70",
            "localhost.evil.example",
            "gw7.evil",
            "127.0.0.1.nip.io",
            ".local",
        ] {
            assert_eq!(status(Some(host), None), Some(421), "{host}");
        }
        for host in [
            "",
            ":80",
            "[",
            "[::1]evil",
            "[::1",
            "localhost:abc",
            "localhost:80:80",
            "127.0.0.1:80, evil.example",
        ] {
            assert_eq!(status(Some(host), None), Some(400), "{host}");
        }
        assert_eq!(status(None, None), Some(400));
    }

    #[test]
    fn the_origin_must_be_the_host() {
        let host = Some("gw7:8000");
        assert_eq!(status(host, Some("http://gw7:8000")), None);
        assert_eq!(status(host, Some("https://GW7:8000")), None);
        for origin in [
            "http://evil.example",
            "null",
            "http://gw7",
            "http://gw7:8001",
        ] {
            assert_eq!(status(host, Some(origin)), Some(403), "{origin}");
        }
    }

    #[test]
    fn a_second_origin_is_looked_at_too() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "gw7".parse().unwrap());
        headers.append(header::ORIGIN, "http://gw7".parse().unwrap());
        let check = |headers: &HeaderMap| {
            let uri = Uri::from_static("/healthz");
            check(&uri, Version::HTTP_11, headers, "gw7", &[])
        };
        assert_eq!(check(&headers), Ok(()));
        headers.append(header::ORIGIN, "http://evil.example".parse().unwrap());
        assert_eq!(check(&headers).unwrap_err().status, 403);
    }

    #[test]
    fn an_absolute_target_counts_as_the_host() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        let uri = Uri::from_static("http://evil.example/api/cameras");
        let problem = check(&uri, Version::HTTP_11, &headers, "gw7", &[]).unwrap_err();
        assert_eq!(problem.status, 421);
    }

    #[test]
    fn http_1_0_may_go_without() {
        let uri = Uri::from_static("/healthz");
        assert_eq!(
            check(&uri, Version::HTTP_10, &HeaderMap::new(), "gw7", &[]),
            Ok(())
        );
    }
}
