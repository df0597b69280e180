//! Shape of one maker's entry, the same in the built-in files and in an operator's
//! `[[manufacturer]]` tables. An absent key says nothing; in an override it keeps the built-in value.
//!
//! The build script includes this file too, so it knows nothing of the rest of the crate.

use serde::Deserialize;

use super::tables::{Category, Evidence, Field, Role, Service};

/// One maker.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMaker {
    /// Lower case, digits and underscores: `hikvision`.
    pub id: String,
    /// Display name; needed for a new maker.
    pub name: Option<String>,
    pub aliases: Option<Vec<String>>,
    pub category: Option<Category>,
    /// Protocol family: makers of one family answer alike.
    pub family: Option<String>,
    /// The device locks a user or a source address after a few refused logins.
    pub locks_accounts: Option<bool>,
    /// Connection types beyond those that the templates show, such as `webhook`.
    pub connection_types: Option<Vec<String>>,
    /// Ids of makers whose templates this name stands for.
    pub merges: Option<Vec<String>>,
    pub rtsp: Option<Vec<RawTemplate>>,
    pub http_stream: Option<Vec<RawTemplate>>,
    pub snapshot: Option<Vec<RawTemplate>>,
    pub other_stream: Option<Vec<RawTemplate>>,
    /// `AA:BB:CC`, or 28 and 36 bits as `AA:BB:CC:D` and `AA:BB:CC:DD:E`. In an override they add to
    /// the built-in ones.
    pub mac_oui: Option<Vec<String>>,
    /// The prefixes are also those of phones, routers and the like.
    pub mac_oui_shared: Option<bool>,
    pub quirks: Option<Vec<String>>,
    pub channels: Option<RawChannels>,
    pub ports: Option<RawPorts>,
    pub fingerprint: Option<RawFingerprint>,
    pub onvif: Option<RawOnvif>,
    pub discovery: Option<RawDiscovery>,
    pub device_info: Option<RawDeviceInfo>,
    pub auth: Option<RawAuth>,
    pub credentials: Option<RawCredentials>,
}

/// One URL template, in order of preference within its list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTemplate {
    /// For RTSP; `any` when absent.
    pub role: Option<Role>,
    /// For `http_stream` and `other_stream`: `mjpeg`, `hls`, `flv`, ...
    pub kind: Option<String>,
    pub url: String,
    /// How well it is known; an operator's own counts as documented.
    pub ev: Option<Evidence>,
    /// What stands for `{port}`, else the first of the maker's ports for this protocol.
    pub port: Option<u16>,
    /// The way in to one channel of a recorder.
    #[serde(default)]
    pub nvr: bool,
    /// Generation or condition under which it works.
    pub r#gen: Option<String>,
}

/// The paths to try when the maker is unknown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGeneric {
    pub rtsp: Vec<RawTemplate>,
    pub http_stream: Vec<RawTemplate>,
    pub snapshot: Vec<RawTemplate>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawChannels {
    /// For people: how a recorder numbers its channels.
    pub rule: Option<String>,
    /// Number of the first channel in the device's own counting.
    pub first: Option<u8>,
    pub note: Option<String>,
    /// Requests that list a recorder's channels.
    pub list_paths: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPorts {
    pub rtsp: Option<Vec<u16>>,
    pub rtsps: Option<Vec<u16>>,
    pub http: Option<Vec<u16>>,
    pub https: Option<Vec<u16>>,
    pub onvif: Option<Vec<u16>>,
    pub rtmp: Option<Vec<u16>>,
    pub hls: Option<Vec<u16>>,
    pub webrtc: Option<Vec<u16>>,
    pub private_tcp: Option<Vec<u16>>,
    pub discovery_udp: Option<Vec<u16>>,
    pub note: Option<String>,
}

/// What a device says of itself. `<...>` stands for variable text: `<5 chars>` for exactly five
/// characters, `<12 hex ..>` for twelve hex digits, anything else for at least one character.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFingerprint {
    pub http_server: Option<Vec<String>>,
    pub http_realm: Option<Vec<String>>,
    pub rtsp_server: Option<Vec<String>>,
    pub rtsp_realm: Option<Vec<String>>,
    pub title: Option<Vec<String>>,
    pub tls_subject: Option<Vec<String>>,
    pub http_paths: Option<Vec<String>>,
    pub body: Option<Vec<String>>,
    pub favicon_md5: Option<Vec<String>>,
    pub telnet: Option<Vec<String>>,
    pub ftp_banner: Option<Vec<String>>,
    pub upnp_server: Option<Vec<String>>,
    pub dhcp_vendor_class: Option<Vec<String>>,
    /// Values from the lists above that other devices use too: alone they name nobody.
    pub weak: Option<Vec<String>>,
    pub note: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawOnvif {
    /// Path of the device service; its ports are `ports.onvif`, else `ports.http`.
    pub device_service: Option<String>,
    pub scope_hints: Option<Vec<String>>,
    pub default_off: Option<String>,
    pub note: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDiscovery {
    /// Vendor protocols that find it.
    pub native: Option<Vec<String>>,
    pub mdns: Option<Vec<String>>,
    pub mdns_txt: Option<String>,
    pub mdns_instance: Option<String>,
    /// A trailing `*` is a wildcard.
    pub dhcp_hostname: Option<String>,
    pub ssdp: Option<String>,
    pub note: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDeviceInfo {
    pub method: Option<String>,
    pub path: Option<String>,
    pub format: Option<String>,
    pub fields: Option<Vec<String>>,
    pub note: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAuth {
    pub http: Option<String>,
    pub rtsp: Option<String>,
    pub onvif: Option<String>,
    pub note: Option<String>,
}

/// Known so that an operator who still uses a factory login can be warned; never tried.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCredentials {
    pub factory: Option<String>,
    pub legacy: Option<String>,
    pub user: Option<String>,
    /// How the device locks accounts.
    pub lock: Option<String>,
    pub guest: Option<String>,
}

impl RawMaker {
    /// The texts that this entry gives; lists have one item a line.
    pub fn fields(&self) -> Vec<(Field, String)> {
        let mut out = vec![(Field::Id, self.id.clone())];
        let mut add = |field, value: &Option<String>| {
            out.extend(value.clone().map(|value| (field, value)));
        };
        add(Field::Name, &self.name);
        add(Field::Family, &self.family);
        add(Field::Aliases, &lines(&self.aliases));
        add(Field::ConnectionTypes, &lines(&self.connection_types));
        add(Field::Merges, &lines(&self.merges));
        add(Field::Quirks, &lines(&self.quirks));
        if let Some(c) = &self.channels {
            add(Field::ChannelRule, &c.rule);
            add(Field::ChannelNote, &c.note);
            add(Field::ChannelListPaths, &lines(&c.list_paths));
        }
        if let Some(p) = &self.ports {
            add(Field::PortNote, &p.note);
        }
        if let Some(f) = &self.fingerprint {
            add(Field::HttpServer, &lines(&f.http_server));
            add(Field::HttpRealm, &lines(&f.http_realm));
            add(Field::RtspServer, &lines(&f.rtsp_server));
            add(Field::RtspRealm, &lines(&f.rtsp_realm));
            add(Field::Title, &lines(&f.title));
            add(Field::TlsSubject, &lines(&f.tls_subject));
            add(Field::HttpPaths, &lines(&f.http_paths));
            add(Field::Body, &lines(&f.body));
            add(Field::FaviconMd5, &lines(&f.favicon_md5));
            add(Field::Telnet, &lines(&f.telnet));
            add(Field::FtpBanner, &lines(&f.ftp_banner));
            add(Field::UpnpServer, &lines(&f.upnp_server));
            add(Field::DhcpVendorClass, &lines(&f.dhcp_vendor_class));
            add(Field::Weak, &lines(&f.weak));
            add(Field::FingerprintNote, &f.note);
        }
        if let Some(o) = &self.onvif {
            add(Field::OnvifService, &o.device_service);
            add(Field::OnvifScopes, &lines(&o.scope_hints));
            add(Field::OnvifDefaultOff, &o.default_off);
            add(Field::OnvifNote, &o.note);
        }
        if let Some(d) = &self.discovery {
            add(Field::DiscoveryNative, &lines(&d.native));
            add(Field::Mdns, &lines(&d.mdns));
            add(Field::MdnsTxt, &d.mdns_txt);
            add(Field::MdnsInstance, &d.mdns_instance);
            add(Field::DhcpHostname, &d.dhcp_hostname);
            add(Field::Ssdp, &d.ssdp);
            add(Field::DiscoveryNote, &d.note);
        }
        if let Some(i) = &self.device_info {
            add(Field::InfoMethod, &i.method);
            add(Field::InfoPath, &i.path);
            add(Field::InfoFormat, &i.format);
            add(Field::InfoFields, &lines(&i.fields));
            add(Field::InfoNote, &i.note);
        }
        if let Some(a) = &self.auth {
            add(Field::AuthHttp, &a.http);
            add(Field::AuthRtsp, &a.rtsp);
            add(Field::AuthOnvif, &a.onvif);
            add(Field::AuthNote, &a.note);
        }
        if let Some(c) = &self.credentials {
            add(Field::CredentialsFactory, &c.factory);
            add(Field::CredentialsLegacy, &c.legacy);
            add(Field::CredentialsUser, &c.user);
            add(Field::CredentialsLock, &c.lock);
            add(Field::CredentialsGuest, &c.guest);
        }
        out
    }

    /// The port lists that this entry gives.
    pub fn services(&self) -> Vec<(Service, &[u16])> {
        let Some(p) = &self.ports else {
            return Vec::new();
        };
        let all = [
            (Service::Rtsp, &p.rtsp),
            (Service::Rtsps, &p.rtsps),
            (Service::Http, &p.http),
            (Service::Https, &p.https),
            (Service::Onvif, &p.onvif),
            (Service::Rtmp, &p.rtmp),
            (Service::Hls, &p.hls),
            (Service::Webrtc, &p.webrtc),
            (Service::PrivateTcp, &p.private_tcp),
            (Service::DiscoveryUdp, &p.discovery_udp),
        ];
        let given = all.into_iter();
        given
            .filter_map(|(s, list)| list.as_deref().map(|list| (s, list)))
            .collect()
    }
}

fn lines(items: &Option<Vec<String>>) -> Option<String> {
    items.as_ref().map(|items| items.join("\n"))
}
