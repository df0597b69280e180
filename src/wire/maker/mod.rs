//! The makers' own interfaces, as far as recorders and motors need them: requests out, answers in.
//!
//! Answers are read leniently and within bounds; what is missing stays `None`.

pub mod dahua;
pub mod dvrip;
pub mod isapi;
pub mod ptz;
pub mod reolink;

use zeroize::Zeroizing;

use super::onvif::address::{device_service, query};
use super::soap::shortened;
use crate::model::{ChannelSource, StreamUrl};

/// Largest answer that is read, bytes: the configuration of a recorder with many cameras.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// The port of an `nvr://` URL that names none.
const HTTP_PORT: u16 = 80;

/// Verb of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Put,
    Post,
}

/// One request over HTTP; the login travels beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRequest {
    pub verb: Verb,
    /// Path and query, as sent.
    pub path: String,
    /// Type and text.
    pub body: Option<(&'static str, Zeroizing<String>)>,
}

impl ApiRequest {
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            verb: Verb::Get,
            path: path.into(),
            body: None,
        }
    }

    fn put_xml(path: String, body: String) -> Self {
        Self {
            verb: Verb::Put,
            path,
            body: Some(("application/xml", Zeroizing::new(body))),
        }
    }

    fn post_json(path: String, body: String) -> Self {
        Self {
            verb: Verb::Post,
            path,
            body: Some(("application/json", Zeroizing::new(body))),
        }
    }
}

/// The web service of an `nvr://` URL: `https` on the ports of TLS, else `http`, unless `?tls=1` or
/// `?tls=0` says so. DVRIP has a port of its own where none is written.
pub fn service(url: &StreamUrl) -> StreamUrl {
    let web = device_service(url);
    let is_elsewhere = api(url) == Some(ChannelSource::Dvrip) && url.port == HTTP_PORT;
    StreamUrl {
        path: "/".to_owned(),
        port: match is_elsewhere {
            true => dvrip::PORT,
            false => web.port,
        },
        ..web
    }
}

/// The interface that an `nvr://` URL names: `?api=isapi`.
pub fn api(url: &StreamUrl) -> Option<ChannelSource> {
    let name = query(url, "api")?;
    ChannelSource::OF_MAKERS
        .into_iter()
        .find(|source| source.as_str() == name)
}

/// The channel that an `nvr://` URL names: `?channel=2`.
pub fn channel(url: &StreamUrl) -> Option<u32> {
    let number: u32 = query(url, "channel")?.parse().ok()?;
    (number > 0).then_some(number)
}

/// A text of the device, one line of at most 120 characters; `None` for an empty one.
fn said(text: &str) -> Option<String> {
    Some(shortened(text)).filter(|text| !text.is_empty())
}

/// An address of a camera behind a recorder; `0.0.0.0` stands for none.
fn address(text: &str) -> Option<String> {
    let ip: std::net::IpAddr = text.trim().parse().ok()?;
    (!ip.is_unspecified()).then(|| ip.to_string())
}

fn port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_recorders() {
        let url = |text: &str| StreamUrl::parse(text).unwrap().url;
        let isapi = url("nvr://10.0.0.9?api=isapi&channel=2");
        assert_eq!(api(&isapi), Some(ChannelSource::Isapi));
        assert_eq!(channel(&isapi), Some(2));
        assert_eq!(service(&isapi).to_string(), "http://10.0.0.9/");
        let other = url("nvr://10.0.0.9:8443/?api=onvif&channel=0");
        assert_eq!((api(&other), channel(&other)), (None, None));
        assert_eq!(service(&other).to_string(), "https://10.0.0.9:8443/");
        assert_eq!(
            service(&url("nvr://10.0.0.9:8443/?tls=0")).to_string(),
            "http://10.0.0.9:8443/"
        );
        assert_eq!(service(&url("nvr://h?api=dvrip")).port, dvrip::PORT);
        assert_eq!(service(&url("nvr://h:35000?api=dvrip")).port, 35000);
    }
}
