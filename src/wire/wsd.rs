//! WS-Discovery (April 2005, the version that ONVIF Core section 7 prescribes): the Probe, and what
//! devices answer or say by themselves.

use uuid::Uuid;

use super::xml::{Step, XmlError, walk};
use crate::model::percent_decode;

/// Multicast address of WS-Discovery over IPv4.
pub const GROUP_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(239, 255, 255, 250);
/// The same over IPv6, on the link of one interface.
pub const GROUP_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x0c);
pub const PORT: u16 = 3702;
/// Datagrams larger than this are not read.
pub const DATAGRAM_BYTES_MAX: usize = 16 * 1024;
/// Scopes and addresses of one device that are kept.
const LIST_MAX: usize = 64;

/// What a device says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// Endpoint reference, mostly `urn:uuid:...`: the same after a change of address.
    pub endpoint: String,
    pub types: Vec<String>,
    /// `onvif://www.onvif.org/name/...`
    pub scopes: Vec<String>,
    /// Addresses of its device service, in its own order.
    pub xaddrs: Vec<String>,
    /// It comes, by itself: just started, or its address changed.
    pub is_hello: bool,
    /// It is leaving.
    pub is_bye: bool,
}

impl Match {
    /// True where it names a type or scope of ONVIF.
    pub fn is_onvif(&self) -> bool {
        let typed = self
            .types
            .iter()
            .any(|t| t.ends_with("NetworkVideoTransmitter") || t.ends_with(":Device"));
        let named = typed || self.scopes.iter().any(|s| s.starts_with("onvif://"));
        named && (self.xaddrs.is_empty() || self.services().next().is_some())
    }
}

impl Match {
    /// The addresses that can be a device's service at all: HTTP, and not this machine's own.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        let is_service = |address: &&str| {
            let rest = address.strip_prefix("http://");
            let rest = rest.or_else(|| address.strip_prefix("https://"));
            let host = rest.and_then(|r| r.split('/').next()).unwrap_or_default();
            let is_own = ["127.", "[::1]", "localhost"];
            !host.is_empty() && !is_own.iter().any(|own| host.starts_with(own))
        };
        self.xaddrs.iter().map(String::as_str).filter(is_service)
    }

    /// `onvif://www.onvif.org/hardware/DS-2CD%202` -> `DS-2CD 2` for `hardware`.
    pub fn scope(&self, key: &str) -> Option<String> {
        const START: &str = "onvif://www.onvif.org/";
        self.scopes.iter().find_map(|scope| {
            let value = scope
                .strip_prefix(START)?
                .strip_prefix(key)?
                .strip_prefix('/')?;
            Some(percent_decode(value))
        })
    }
}

/// A Probe for cameras (`typed`), or for whatever is there: some devices answer only one of the two.
pub fn probe(message_id: Uuid, typed: bool) -> String {
    let types = match typed {
        true => {
            "<d:Types xmlns:n=\"http://www.onvif.org/ver10/network/wsdl\">n:NetworkVideoTransmitter</d:Types>"
        }
        false => "",
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\">\
         <s:Header><a:MessageID>urn:uuid:{message_id}</a:MessageID>\
         <a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>\
         <a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action></s:Header>\
         <s:Body><d:Probe>{types}</d:Probe></s:Body></s:Envelope>"
    )
}

/// Reads every `ProbeMatch`, `ResolveMatch`, `Hello` or `Bye` of one datagram.
///
/// # Errors
/// [`XmlError`] if this is no XML. XML of another kind gives an empty list.
pub fn parse(datagram: &[u8]) -> Result<Vec<Match>, XmlError> {
    const BODIES: [&str; 4] = ["ProbeMatch", "ResolveMatch", "Hello", "Bye"];
    let mut found: Vec<Match> = Vec::new();
    let is_body = |name: Option<&String>| name.is_some_and(|n| BODIES.contains(&n.as_str()));
    // Some devices end their datagram with zero bytes.
    let end = datagram.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    walk(&datagram[..end], |step| match step {
        Step::Open(path) if is_body(path.last()) => {
            let is = |wanted: &str| path.last().is_some_and(|name| name == wanted);
            found.push(Match {
                is_hello: is("Hello"),
                is_bye: is("Bye"),
                ..Match::default()
            });
        }
        Step::Leaf(leaf) if BODIES.iter().any(|body| leaf.is_in(body)) => {
            let Some(current) = found.last_mut() else {
                return;
            };
            let words = || {
                leaf.text
                    .split_whitespace()
                    .take(LIST_MAX)
                    .map(str::to_owned)
                    .collect()
            };
            match leaf.name() {
                "Address" if current.endpoint.is_empty() => {
                    leaf.text.clone_into(&mut current.endpoint)
                }
                "Types" => current.types = words(),
                "Scopes" => current.scopes = words(),
                "XAddrs" => current.xaddrs = words(),
                _ => {}
            }
        }
        _ => {}
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prefixes, line breaks and order as three firmwares write them.
    const DUAL_STACK: &str = "<?xml version=\"1.0\"?>\n<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:wsa=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\"><SOAP-ENV:Body><d:ProbeMatches><d:ProbeMatch><wsa:EndpointReference><wsa:Address>urn:uuid:4d454930-0000-1000-8000-4419b64d0011</wsa:Address></wsa:EndpointReference><d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types><d:Scopes>onvif://www.onvif.org/type/video_encoder\n onvif://www.onvif.org/name/HIKVISION%20DS-2CD2042WD onvif://www.onvif.org/hardware/DS-2CD2042WD</d:Scopes><d:XAddrs>http://192.168.1.64/onvif/device_service http://[2001:db8::7]/onvif/device_service</d:XAddrs><d:MetadataVersion>10</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></SOAP-ENV:Body></SOAP-ENV:Envelope>\0\0";

    #[test]
    fn an_address_that_is_none_makes_no_camera() {
        let answer = |xaddrs: &[&str]| Match {
            types: vec!["dn:NetworkVideoTransmitter".into()],
            xaddrs: xaddrs.iter().map(|x| (*x).to_owned()).collect(),
            ..Match::default()
        };
        assert!(answer(&[]).is_onvif());
        assert!(answer(&["file:///etc/passwd", "http://10.0.0.9/onvif"]).is_onvif());
        for junk in [
            "file:///etc/passwd",
            "http://[::1]:1/",
            "http://127.0.0.1/x",
            "http:///x",
            "x",
        ] {
            assert!(!answer(&[junk]).is_onvif(), "{junk}");
        }
    }

    #[test]
    fn reads_each_address_of_a_dual_stack_camera() {
        let found = parse(DUAL_STACK.as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].endpoint,
            "urn:uuid:4d454930-0000-1000-8000-4419b64d0011"
        );
        assert_eq!(
            found[0].xaddrs[1],
            "http://[2001:db8::7]/onvif/device_service"
        );
        assert_eq!(
            found[0].scopes[1],
            "onvif://www.onvif.org/name/HIKVISION%20DS-2CD2042WD"
        );
        assert!(found[0].is_onvif() && !found[0].is_bye);
    }

    #[test]
    fn several_matches_hello_and_bye() {
        let two = "<e><b><ProbeMatches><ProbeMatch><Address>a</Address></ProbeMatch><ProbeMatch><Address>b</Address><Types/></ProbeMatch></ProbeMatches></b></e>";
        let ends: Vec<_> = parse(two.as_bytes())
            .unwrap()
            .into_iter()
            .map(|m| m.endpoint)
            .collect();
        assert_eq!(ends, ["a", "b"]);
        let bye = parse(b"<e><d:Bye xmlns:d='x'><a:EndpointReference xmlns:a='y'><a:Address>c</a:Address></a:EndpointReference></d:Bye></e>").unwrap();
        assert_eq!((bye[0].endpoint.as_str(), bye[0].is_bye), ("c", true));
    }

    #[test]
    fn other_things_on_the_port_are_no_devices() {
        assert_eq!(parse(probe(Uuid::nil(), true).as_bytes()), Ok(vec![]));
        assert!(parse(b"M-SEARCH * HTTP/1.1").is_err());
        assert!(parse(b"").is_err());
    }

    #[test]
    fn a_probe_is_what_it_should_be() {
        let typed = probe(Uuid::nil(), true);
        assert!(typed.contains("urn:uuid:00000000-0000-0000-0000-000000000000"));
        assert!(typed.contains("n:NetworkVideoTransmitter"));
        assert!(!probe(Uuid::nil(), false).contains("Types"));
    }

    #[test]
    fn every_truncation_is_an_error_and_never_a_panic() {
        let whole = DUAL_STACK.trim_end_matches('\0').as_bytes();
        for n in 0..whole.len() {
            assert!(parse(&whole[..n]).is_err(), "{n}");
        }
    }
}
