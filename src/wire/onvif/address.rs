//! Addresses that a device writes of itself, brought to the host that was dialled: many write the
//! address of another network, none at all, or one they had before.

use crate::model::{Credentials, Scheme, StreamUrl, percent_encode};

/// Path of the device service (Core section 5.1.1).
pub const DEVICE_SERVICE: &str = "/onvif/device_service";

/// Ports on which a device service speaks TLS.
const TLS_PORTS: [u16; 2] = [443, 8443];

/// The device service of an `onvif://` URL: `https` on the ports of TLS, else `http`, unless `?tls=1`
/// or `?tls=0` says so; the usual path where the URL names none. The query is ours and not the
/// device's.
pub fn device_service(url: &StreamUrl) -> StreamUrl {
    let path = url.path.split('?').next().unwrap_or_default();
    let is_tls = match query(url, "tls") {
        Some("1") => true,
        Some("0") => false,
        _ => TLS_PORTS.contains(&url.port),
    };
    StreamUrl {
        scheme: match is_tls {
            true => Scheme::Https,
            false => Scheme::Http,
        },
        host: url.host.clone(),
        port: url.port,
        path: match path {
            "" | "/" => DEVICE_SERVICE.to_owned(),
            path => path.to_owned(),
        },
    }
}

/// The channel of a recorder in an `onvif://` URL: `?channel=2`; 1 where it names none.
pub fn channel(url: &StreamUrl) -> u32 {
    query(url, "channel")
        .and_then(|value| value.parse().ok())
        .filter(|channel| *channel > 0)
        .unwrap_or(1)
}

/// The same device, asked for every channel.
pub fn every_channel(url: &StreamUrl) -> StreamUrl {
    let (path, query) = url.path.split_once('?').unwrap_or((&url.path, ""));
    let is_kept = |pair: &&str| !pair.is_empty() && !pair.starts_with("channel=");
    let mut pairs: Vec<&str> = query.split('&').filter(is_kept).collect();
    pairs.push("channel=all");
    StreamUrl {
        path: format!("{path}?{}", pairs.join("&")),
        ..url.clone()
    }
}

/// True for `?channel=all`: every channel of a recorder is asked for.
pub fn is_every_channel(url: &StreamUrl) -> bool {
    query(url, "channel") == Some("all")
}

/// A value of the URL's own query, which is ours and not the device's.
pub fn query<'u>(url: &'u StreamUrl, name: &str) -> Option<&'u str> {
    let (_, query) = url.path.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A service's address. It is taken as it is where it names the host that was dialled; of any other
/// only the path is used. Never leaves TLS.
pub fn service(written: &str, dialled: &StreamUrl) -> StreamUrl {
    let parsed = StreamUrl::parse(written.trim()).ok().map(|p| p.url);
    let is_web = |url: &StreamUrl| matches!(url.scheme, Scheme::Http | Scheme::Https);
    match parsed.filter(is_web) {
        None => dialled.clone(),
        Some(url) if is_same_host(&url, dialled) && url.scheme >= dialled.scheme => StreamUrl {
            host: dialled.host.clone(),
            ..url
        },
        Some(url) => StreamUrl {
            path: url.path,
            ..dialled.clone()
        },
    }
}

/// The address of a stream or a picture. The host is always the dialled one; where the device's own
/// differs, a web address gets the dialled port too, since that is the one that leads to it.
/// `None` for what is no address of a stream, and for one with a login that is not ours.
pub fn stream(
    written: &str,
    dialled: &StreamUrl,
    login: Option<&Credentials>,
) -> Option<StreamUrl> {
    let written = written.trim();
    let (scheme, rest) = written.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    // `rtsp://:554/x` and port 0 come from devices that do not know themselves.
    let host = match host.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None if host.is_empty() => "0.0.0.0".to_owned(),
        None => host.to_owned(),
    };
    let host = host.strip_suffix(":0").unwrap_or(&host);
    // With the login in front, so that a repetition of it in the path is known as such.
    let userinfo = login.map_or_else(String::new, |login| {
        let user = percent_encode(&login.username);
        format!("{user}:{}@", percent_encode(login.password.expose()))
    });
    let mut url = StreamUrl::parse(&format!("{scheme}://{userinfo}{host}{path}"))
        .ok()?
        .url;
    let is_web = matches!(url.scheme, Scheme::Http | Scheme::Https);
    if !is_web && !matches!(url.scheme, Scheme::Rtsp | Scheme::Rtsps) {
        return None;
    }
    if !is_same_host(&url, dialled) && is_web {
        url.port = dialled.port;
        url.scheme = dialled.scheme;
    }
    url.host.clone_from(&dialled.host);
    Some(url)
}

/// The same address, zones left aside.
fn is_same_host(url: &StreamUrl, dialled: &StreamUrl) -> bool {
    let plain = |host: &str| host.split('%').next().unwrap_or_default().to_owned();
    plain(&url.host) == plain(&dialled.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> StreamUrl {
        StreamUrl::parse(text).unwrap().url
    }

    fn login() -> Credentials {
        Credentials::new("admin", "s3cret")
    }

    #[test]
    fn device_services_of_our_urls() {
        let of = |text: &str| device_service(&url(text)).to_string();
        assert_eq!(
            of("onvif://10.0.0.9"),
            "http://10.0.0.9/onvif/device_service"
        );
        assert_eq!(
            of("onvif://10.0.0.9:8899/"),
            "http://10.0.0.9:8899/onvif/device_service"
        );
        assert_eq!(of("onvif://10.0.0.9:443/x?channel=2"), "https://10.0.0.9/x");
        assert_eq!(of("onvif://h:8000/x?channel=2&tls=1"), "https://h:8000/x");
        assert_eq!(of("onvif://h:8443/x?tls=0"), "http://h:8443/x");
        assert_eq!(channel(&url("onvif://h/x?tls=1&channel=2")), 2);
        assert_eq!(channel(&url("onvif://h/x?channel=0")), 1);
        assert_eq!(channel(&url("onvif://h")), 1);
        for (one, every) in [
            ("onvif://h", "onvif://h/?channel=all"),
            (
                "onvif://h:8000/x?channel=2&tls=1",
                "onvif://h:8000/x?tls=1&channel=all",
            ),
        ] {
            let every_one = every_channel(&url(one));
            assert_eq!(every_one.to_string(), every);
            assert!(is_every_channel(&every_one) && !is_every_channel(&url(one)));
        }
    }

    #[test]
    fn services_elsewhere_are_looked_for_where_we_dialled() {
        let dialled = url("http://10.0.0.9:8080/onvif/device_service");
        let of = |text: &str| service(text, &dialled).to_string();
        for (written, want) in [
            ("http://10.0.0.9/onvif/Media", "http://10.0.0.9/onvif/Media"),
            (
                "http://192.168.1.10/onvif/Media",
                "http://10.0.0.9:8080/onvif/Media",
            ),
            (
                "http://0.0.0.0:80/onvif/Media",
                "http://10.0.0.9:8080/onvif/Media",
            ),
            ("http://camera.local/m?x=1", "http://10.0.0.9:8080/m?x=1"),
            ("https://10.0.0.9/m", "https://10.0.0.9/m"),
            ("", "http://10.0.0.9:8080/onvif/device_service"),
            (
                "rtsp://10.0.0.9/",
                "http://10.0.0.9:8080/onvif/device_service",
            ),
        ] {
            assert_eq!(of(written), want, "{written}");
        }
        let tls = url("https://10.0.0.9/onvif/device_service");
        assert_eq!(
            service("http://10.0.0.9/m", &tls).to_string(),
            "https://10.0.0.9/m"
        );
    }

    #[test]
    fn streams_are_always_on_the_host_that_we_dialled() {
        let dialled = url("http://10.0.0.9:8080/onvif/device_service");
        let of = |text: &str| stream(text, &dialled, None).map(|u| u.to_string());
        for (written, want) in [
            ("rtsp://10.0.0.9:554/a", "rtsp://10.0.0.9:554/a"),
            (
                "rtsp://192.168.1.10:8554/a?b=1&c=2",
                "rtsp://10.0.0.9:8554/a?b=1&c=2",
            ),
            ("rtsp://0.0.0.0/a", "rtsp://10.0.0.9:554/a"),
            ("rtsp://:554/a", "rtsp://10.0.0.9:554/a"),
            ("rtsp:///a", "rtsp://10.0.0.9:554/a"),
            ("rtsp://cam.lan:0/a", "rtsp://10.0.0.9:554/a"),
            ("rtsp://u:p@1.2.3.4/a", "rtsp://10.0.0.9:554/a"),
            ("http://10.0.0.9/snap.jpg", "http://10.0.0.9/snap.jpg"),
            (
                "http://192.168.1.10/snap.jpg",
                "http://10.0.0.9:8080/snap.jpg",
            ),
        ] {
            assert_eq!(of(written).as_deref(), Some(want), "{written}");
        }
        for none in [
            "",
            "a",
            "ftp://10.0.0.9/a",
            "file:/etc/passwd",
            "rtsp://10.0.0.9:99999/a",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn logins_in_addresses_become_placeholders() {
        let dialled = url("http://10.0.0.9:8899/onvif/device_service");
        let of = |text: &str| stream(text, &dialled, Some(&login())).map(|u| u.to_string());
        assert_eq!(
            of("rtsp://10.0.0.9:554/user=admin_password=s3cret_channel=1_stream=0.sdp").as_deref(),
            Some("rtsp://10.0.0.9:554/user={user}_password={pass}_channel=1_stream=0.sdp")
        );
        assert_eq!(
            of("rtsp://10.0.0.9:554/user=admin_password=other_channel=1_stream=0.sdp"),
            None,
            "a password that is not the one we know would not be sent"
        );
        let zoned = url("http://[fe80::1%eth0]/onvif/device_service");
        assert_eq!(
            stream("rtsp://[fe80::1]:554/a", &zoned, None)
                .map(|u| u.host)
                .as_deref(),
            Some("fe80::1%eth0")
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_the_host_stays(written in "(rtsp|http|https|onvif)?(://)?[ -~]{0,40}") {
            let dialled = url("http://10.0.0.9/onvif/device_service");
            proptest::prop_assert_eq!(service(&written, &dialled).host, "10.0.0.9");
            if let Some(found) = stream(&written, &dialled, Some(&login())) {
                proptest::prop_assert_eq!(found.host, "10.0.0.9");
            }
        }
    }
}
