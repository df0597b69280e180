//! URL templates: what they show, and the URLs that they expand to.

use std::fmt::Write as _;

use super::maker::Maker;
use super::tables::{Evidence, Piece, Role, Service, Slot, Tables, TemplateRow, pieces};
use crate::model::{Scheme, StreamRole, StreamUrl, UrlError, percent_encode};

/// The user info that many templates begin with.
const USER_INFO: &str = "{user}:{pass}@";

/// One way to a stream or picture, with variables for what differs from device to device.
#[derive(Clone, Copy)]
pub struct Template<'c> {
    tables: &'c Tables,
    row: &'c TemplateRow,
    maker: Option<Maker<'c>>,
}

/// Where a template leads: the values of its variables.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    /// Address or host name; IPv6 with or without brackets, with or without a zone.
    pub ip: &'p str,
    /// For `{port}`; `None` is the template's own.
    pub port: Option<u16>,
    /// From 1.
    pub channel: u32,
    /// For `{profile}`: number or name. A template that asks for one is left out without it.
    pub profile: Option<&'p str>,
    /// Instead of the template's scheme: the same under TLS.
    pub scheme: Option<Scheme>,
}

impl<'p> Place<'p> {
    /// Channel 1 with the template's own port.
    pub fn new(ip: &'p str) -> Self {
        Self {
            ip,
            port: None,
            channel: 1,
            profile: None,
            scheme: None,
        }
    }
}

impl<'c> Template<'c> {
    pub(super) fn new(tables: &'c Tables, row: &'c TemplateRow, maker: Option<Maker<'c>>) -> Self {
        Self { tables, row, maker }
    }

    /// With its variables: `rtsp://{user}:{pass}@{ip}:{port}/live`.
    pub fn url(&self) -> &'c str {
        self.tables.text(self.row.url)
    }

    /// `mjpeg`, `hls`, `flv`, ...; empty for RTSP and snapshots.
    pub fn kind(&self) -> &'c str {
        self.tables.text(self.row.kind)
    }

    /// Generation or condition under which it works.
    pub fn note(&self) -> &'c str {
        self.tables.text(self.row.note)
    }

    pub fn slot(&self) -> Slot {
        self.row.slot
    }

    pub fn evidence(&self) -> Evidence {
        self.row.evidence
    }

    /// The maker in whose entry it stands; `None` for the paths for unknown makers.
    pub fn maker(&self) -> Option<Maker<'c>> {
        self.maker
    }

    pub fn is_snapshot(&self) -> bool {
        self.row.slot == Slot::Snapshot
    }

    pub fn is_nvr(&self) -> bool {
        self.row.nvr
    }

    pub fn role(&self) -> StreamRole {
        if self.is_snapshot() {
            return StreamRole::Snapshot;
        }
        match self.row.role {
            Role::Main => StreamRole::Main,
            Role::Any => StreamRole::Any,
            Role::Sub => StreamRole::Sub,
            Role::Third => StreamRole::Third,
            Role::Fourth => StreamRole::Fourth,
            Role::Thermal => StreamRole::Thermal,
            Role::Autotrack => StreamRole::Autotrack,
        }
    }

    /// The scheme, where it is one of ours.
    pub fn scheme(&self) -> Option<Scheme> {
        let name = self.url().split_once(':').map_or("", |(name, _)| name);
        Scheme::ALL
            .into_iter()
            .find(|scheme| scheme.as_str() == name)
    }

    /// Does its URL carry the login before the host?
    pub fn has_user_info(&self) -> bool {
        self.url().contains(USER_INFO)
    }

    /// Does its URL carry the login in path or query?
    pub fn has_login_in_path(&self) -> bool {
        let rest = self.url().replacen(USER_INFO, "", 1);
        ["{user}", "{pass}", "{hash}"]
            .iter()
            .any(|name| rest.contains(name))
    }

    /// True where `{port}` is open to choice.
    pub fn takes_port(&self) -> bool {
        self.url().contains("{port}")
    }

    /// What stands for `{port}` when nobody says otherwise.
    pub fn default_port(&self) -> u16 {
        if self.row.port != 0 {
            return self.row.port;
        }
        let scheme = self.scheme().unwrap_or(Scheme::Rtsp);
        let usual = self
            .maker
            .and_then(|maker| maker.ports(service(scheme)).next());
        usual.unwrap_or_else(|| scheme.default_port())
    }

    /// Two entries for the same URL.
    pub(super) fn same_as(&self, other: &Template<'_>) -> bool {
        self.url() == other.url()
            && (!self.takes_port() || self.default_port() == other.default_port())
    }

    /// The URL for people, `{ip}`, `{user}` and `{pass}` left in place, the port filled in and
    /// web ports left out: `rtsp://{user}:{pass}@{ip}:554/Streaming/Channels/101`. The channel stays a
    /// variable when it is `None`.
    pub fn display(&self, channel: Option<u32>) -> String {
        let mut out = String::with_capacity(self.url().len());
        for piece in pieces(self.url()) {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Variable("port") => {
                    let port = self.default_port();
                    let is_web = matches!(self.scheme(), Some(Scheme::Http | Scheme::Https));
                    if is_web
                        && self
                            .scheme()
                            .is_some_and(|scheme| scheme.default_port() == port)
                    {
                        out.truncate(out.trim_end_matches(':').len());
                    } else {
                        let _ = write!(out, "{port}");
                    }
                }
                Piece::Variable(name) => match channel.and_then(|n| channel_text(name, n)) {
                    Some(text) => out.push_str(&text),
                    None => {
                        let _ = write!(out, "{{{name}}}");
                    }
                },
            }
        }
        out
    }

    /// The URL at one place; logins in path and query stay placeholders. `None` where a variable is
    /// not known to us (`{alias}`, `{token}`, ...) or the scheme is not one of ours.
    ///
    /// # Errors
    /// [`UrlError`] for a host that is none.
    pub fn expand(&self, place: &Place<'_>) -> Result<Option<StreamUrl>, UrlError> {
        let Some(scheme) = self.scheme() else {
            return Ok(None);
        };
        let template = self.url().replacen(USER_INFO, "", 1);
        let mut out = String::with_capacity(template.len() + place.ip.len());
        for piece in pieces(&template) {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Variable("ip") => out.push_str(&host(place.ip)?),
                Piece::Variable("port") => {
                    let _ = write!(out, "{}", place.port.unwrap_or_else(|| self.default_port()));
                }
                Piece::Variable(name @ ("user" | "pass" | "hash")) => {
                    let _ = write!(out, "{{{name}}}");
                }
                Piece::Variable("profile") => match place.profile {
                    Some(profile) => out.push_str(&percent_encode(profile)),
                    None => return Ok(None),
                },
                Piece::Variable(name) => match channel_text(name, place.channel) {
                    Some(text) => out.push_str(&text),
                    None => return Ok(None),
                },
            }
        }
        let mut url = StreamUrl::parse(&out)?.url;
        url.scheme = place.scheme.unwrap_or(scheme);
        Ok(Some(url))
    }
}

/// The service that speaks a scheme.
pub(super) fn service(scheme: Scheme) -> Service {
    match scheme {
        Scheme::Rtsp | Scheme::Usb | Scheme::File => Service::Rtsp,
        Scheme::Rtsps => Service::Rtsps,
        Scheme::Rtmp | Scheme::Rtmps => Service::Rtmp,
        Scheme::Http | Scheme::Nvr => Service::Http,
        Scheme::Https => Service::Https,
        Scheme::WhepHttp | Scheme::WhepHttps => Service::Webrtc,
        Scheme::Onvif => Service::Onvif,
    }
}

/// An IPv6 literal in brackets, a name or IPv4 address as it is.
pub(super) fn host(ip: &str) -> Result<String, UrlError> {
    // Nothing that would move the end of the host: the rest is judged with the whole URL.
    let fits = |c: char| c.is_alphanumeric() || ".-_:%[]".contains(c);
    if ip.is_empty() {
        return Err(UrlError::NoHost);
    }
    if !ip.chars().all(fits) {
        return Err(UrlError::Host(ip.chars().take(64).collect()));
    }
    Ok(match ip.contains(':') && !ip.starts_with('[') {
        true => format!("[{ip}]"),
        false => ip.to_owned(),
    })
}

/// The value of a channel variable; `None` for any other name.
fn channel_text(name: &str, channel: u32) -> Option<String> {
    Some(match name {
        "channel" => channel.to_string(),
        "channel0" => channel.saturating_sub(1).to_string(),
        "channel:02" => format!("{channel:02}"),
        "channel:03" => format!("{channel:03}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Credentials;
    use crate::vendor::Catalogue;

    fn expand(maker: &str, part: &str, place: &Place<'_>) -> Option<StreamUrl> {
        let catalogue = Catalogue::builtin();
        let maker = catalogue.find(maker).unwrap();
        let found = maker
            .templates()
            .into_iter()
            .find(|t| t.url().contains(part));
        found
            .unwrap_or_else(|| panic!("no {part}"))
            .expand(place)
            .unwrap()
    }

    #[test]
    fn channels_count_as_each_maker_counts() {
        let place = Place {
            channel: 3,
            ..Place::new("10.0.0.5")
        };
        let path = |maker, part| expand(maker, part, &place).unwrap().path;
        assert_eq!(
            path("hikvision", "Channels/{channel}01"),
            "/Streaming/Channels/301"
        );
        assert_eq!(
            path("dahua", "subtype=1"),
            "/cam/realmonitor?channel=3&subtype=1"
        );
        assert_eq!(
            path("reolink", "/Preview_{channel:02}_main"),
            "/Preview_03_main"
        );
        assert_eq!(path("hanwha", "LiveChannel"), "/LiveChannel/2/media.smp");
        assert_eq!(path("geovision", "{channel:03}"), "/CH003.sdp");
    }

    #[test]
    fn logins_stand_where_the_maker_wants_them() {
        let login = Credentials::new("admin", "p@ss:w/rd?#%");
        let url = |maker, part| {
            let url = expand(maker, part, &Place::new("10.0.0.5")).unwrap();
            url.with_login(Some(&login)).to_string()
        };
        let encoded = "p%40ss%3Aw%2Frd%3F%23%25";
        assert_eq!(
            url("axis", "media.amp"),
            format!("rtsp://admin:{encoded}@10.0.0.5:554/axis-media/media.amp")
        );
        assert!(
            url("foscam", "snapPicture2")
                .ends_with(&format!("cmd=snapPicture2&usr=admin&pwd={encoded}"))
        );
        assert!(url("xiongmai", "{channel}/{user}").ends_with(&format!("/1/admin:{encoded}/main")));
        assert!(!url("xiongmai", "{hash}").contains("{hash}"));
    }

    #[test]
    fn ports_and_addresses() {
        let text = |maker, part, place: &Place<'_>| expand(maker, part, place).unwrap().to_string();
        let v6 = Place::new("fe80::1%eth0");
        assert_eq!(
            text("axis", "media.amp", &v6),
            "rtsp://[fe80::1%eth0]:554/axis-media/media.amp"
        );
        assert_eq!(
            text("axis", "image.cgi", &Place::new("[2001:db8::1]")),
            "http://[2001:db8::1]/axis-cgi/jpg/image.cgi"
        );
        assert_eq!(
            text("foscam", "videoMain", &Place::new("h")),
            "rtsp://h:88/videoMain"
        );
        let other = Place {
            port: Some(8554),
            ..Place::new("h")
        };
        assert_eq!(
            text("axis", "media.amp", &other),
            "rtsp://h:8554/axis-media/media.amp"
        );
        let tls = Place {
            port: Some(443),
            scheme: Some(Scheme::Https),
            ..Place::new("h")
        };
        assert_eq!(
            text("axis", "video.mjpg", &tls),
            "https://h/mjpg/video.mjpg"
        );
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let place = Place::new("10.0.0.5");
        assert_eq!(expand("ubiquiti", "{alias}", &place), None);
        assert_eq!(expand("hanwha", "/profile{profile}/", &place), None);
        let second = Place {
            profile: Some("2 b"),
            ..place
        };
        assert_eq!(
            expand("hanwha", "/profile{profile}/", &second)
                .unwrap()
                .path,
            "/profile2%20b/media.smp"
        );
        assert_eq!(expand("xiongmai", "dvrip", &place), None);
        let catalogue = Catalogue::builtin();
        let template = catalogue.find("axis").unwrap().templates()[0];
        for bad in [
            "",
            "a b",
            "10.0.0.5/x",
            "10.0.0.5:80",
            "user@host",
            "[::1",
            "a?b",
        ] {
            assert!(template.expand(&Place::new(bad)).is_err(), "{bad}");
        }
    }
}
