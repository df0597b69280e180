//! Hints at a device's maker from what it shows before any login.

use super::catalogue::Catalogue;
use super::maker::Maker;
use super::tables::{Category, Field};

/// Bytes of a banner that are looked at.
const BANNER_BYTES_MAX: usize = 128;

/// How much a hint is worth. One weak hint never names a maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Shared by other makers or other kinds of products.
    Weak,
    /// The maker's, but shown by anything that it makes.
    Medium,
    /// The maker's own cameras.
    Strong,
}

/// A maker, and how strongly something points to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hint<'c> {
    pub maker: Maker<'c>,
    pub strength: Strength,
}

/// What a banner shows, and the lists that know it.
type Shown<'s> = (Option<&'s str>, Field, Strength);

impl Catalogue {
    /// By the MAC prefix. A locally administered or multicast address names nobody.
    pub fn by_oui(&self, mac: [u8; 6]) -> Option<Hint<'_>> {
        if mac[0] & 0x03 != 0 {
            return None;
        }
        let mac = mac
            .iter()
            .fold(0u64, |all, byte| all << 8 | u64::from(*byte));
        for tables in self.tables() {
            for bits in [36u8, 28, 24] {
                let prefix = mac >> (48 - bits) << (48 - bits);
                let found = tables
                    .ouis
                    .binary_search_by_key(&(prefix, bits), |row| (row.prefix, row.bits));
                let row = found.ok().and_then(|index| tables.ouis.get(index));
                let owner = row.and_then(|row| tables.makers.get(usize::from(row.maker)));
                // By id, so that an operator's entry for this maker counts.
                let maker = owner.and_then(|owner| self.by_id(tables.field(owner, Field::Id)));
                if let Some(maker) = maker {
                    let strength = match maker.mac_oui_is_shared() {
                        true => Strength::Weak,
                        false => Strength::Medium,
                    };
                    return Some(Hint { maker, strength });
                }
            }
        }
        None
    }

    /// By what its web server says: `Server` header, realm of the challenge, title of the first page.
    pub fn by_http(
        &self,
        server: Option<&str>,
        realm: Option<&str>,
        title: Option<&str>,
    ) -> Option<Hint<'_>> {
        self.best(&[
            (server, Field::HttpServer, Strength::Strong),
            (realm, Field::HttpRealm, Strength::Strong),
            (title, Field::Title, Strength::Medium),
        ])
    }

    /// By what its RTSP server says: `Server` header and realm of the challenge.
    pub fn by_rtsp(&self, server: Option<&str>, realm: Option<&str>) -> Option<Hint<'_>> {
        self.best(&[
            (server, Field::RtspServer, Strength::Strong),
            (realm, Field::RtspRealm, Strength::Strong),
        ])
    }

    /// By the subject of its certificate.
    pub fn by_tls_subject(&self, subject: &str) -> Option<Hint<'_>> {
        self.best(&[(Some(subject), Field::TlsSubject, Strength::Strong)])
    }

    /// By one ONVIF scope, with or without `onvif://www.onvif.org/`.
    pub fn by_onvif_scope(&self, scope: &str) -> Option<Hint<'_>> {
        let scope = scope
            .strip_prefix("onvif://www.onvif.org/")
            .unwrap_or(scope);
        self.best(&[(Some(scope), Field::OnvifScopes, Strength::Strong)])
    }

    /// By the maker that a device names itself, as in ONVIF `Manufacturer` ("HIKVISION",
    /// "Zhejiang Dahua Technology Co., Ltd."): a whole name, else the longest that stands in it as words.
    pub fn by_vendor_name(&self, vendor: &str) -> Option<Hint<'_>> {
        let vendor = bounded(vendor.trim());
        if vendor.is_empty() {
            return None;
        }
        let is_somebody = |maker: &Maker<'_>| maker.category() != Category::Generic;
        let strength = Strength::Strong;
        if let Some(maker) = self.named(vendor).filter(is_somebody) {
            return Some(Hint { maker, strength });
        }
        let mut best: Option<(usize, Maker<'_>)> = None;
        for maker in self.makers().into_iter().filter(is_somebody) {
            for name in maker.names().filter(|name| name.len() >= 4) {
                let longer = best.is_none_or(|(len, _)| name.len() > len);
                if longer && holds_words(vendor, name) {
                    best = Some((name.len(), maker));
                }
            }
        }
        best.map(|(_, maker)| Hint { maker, strength })
    }

    fn best(&self, shown: &[Shown<'_>]) -> Option<Hint<'_>> {
        let mut best: Option<(Strength, usize, Maker<'_>)> = None;
        let mut tied = false;
        for maker in self.makers() {
            let Some((strength, letters)) = strongest(maker, shown) else {
                continue;
            };
            let before = best.map(|(strength, letters, _)| (strength, letters));
            if before.is_none_or(|before| (strength, letters) > before) {
                best = Some((strength, letters, maker));
                tied = false;
            } else if before == Some((strength, letters)) {
                tied = true;
            }
        }
        best.map(|(strength, _, maker)| Hint {
            maker,
            strength: if tied { Strength::Weak } else { strength },
        })
    }
}

/// The maker's best match: its strength and how many letters were matched literally.
fn strongest(maker: Maker<'_>, shown: &[Shown<'_>]) -> Option<(Strength, usize)> {
    let mut best = None;
    for (text, field, strength) in shown {
        let Some(text) = text
            .map(|text| bounded(text.trim()))
            .filter(|text| !text.is_empty())
        else {
            continue;
        };
        for pattern in maker.lines(*field) {
            if let Some(letters) = matched(pattern, text) {
                let weak = maker.lines(Field::Weak).any(|weak| weak == pattern);
                let strength = if weak { Strength::Weak } else { *strength };
                best = best.max(Some((strength, letters)));
            }
        }
    }
    best
}

fn bounded(text: &str) -> &str {
    let mut end = text.len().min(BANNER_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Does `text` hold `name` between characters that are no letters or digits? Case does not count.
fn holds_words(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric();
    text.char_indices().any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let Some(after) = strip_prefix_ignoring_case(rest, name) else {
            return false;
        };
        !before.ends_with(is_word) && !after.starts_with(is_word)
    })
}

/// How many letters of `pattern` stand in `text` literally, if it matches from the start up to the end
/// or the end of a word. Case does not count; `<...>` as documented in `RawFingerprint`.
fn matched(pattern: &str, text: &str) -> Option<usize> {
    let Some((literal, rest)) = pattern.split_once('<') else {
        let after = strip_prefix_ignoring_case(text, pattern)?;
        let ends_open = pattern.ends_with(|c: char| !c.is_alphanumeric());
        let is_end = ends_open || !after.starts_with(|c: char| c.is_alphanumeric());
        return is_end.then_some(pattern.len());
    };
    let text = strip_prefix_ignoring_case(text, literal)?;
    let (class, rest) = rest.split_once('>')?;
    let count = class
        .split(' ')
        .next()
        .and_then(|n| n.parse::<usize>().ok());
    if let Some(count) = count {
        let hex = class.contains("hex");
        let end = text
            .char_indices()
            .nth(count)
            .map_or(text.len(), |(i, _)| i);
        let (value, after) = text.split_at(end);
        let fits = value.chars().count() == count
            && (!hex || value.chars().all(|c| c.is_ascii_hexdigit()));
        return if fits {
            matched(rest, after).map(|n| n + literal.len())
        } else {
            None
        };
    }
    if rest.is_empty() {
        return (!text.is_empty()).then_some(literal.len());
    }
    let ends = text.char_indices().skip(1).map(|(i, _)| i);
    let best = ends.filter_map(|i| matched(rest, &text[i..])).max()?;
    Some(best + literal.len())
}

fn strip_prefix_ignoring_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// `AA:BB:CC:DD:EE:FF`, with dashes or without separators, as its six bytes.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut digits = [0u8; 12];
    let mut count = 0;
    for c in text.chars().filter(|c| !matches!(c, ':' | '-' | '.')) {
        *digits.get_mut(count)? = u8::try_from(c.to_digit(16)?).ok()?;
        count += 1;
    }
    (count == 12).then(|| std::array::from_fn(|i| digits[2 * i] << 4 | digits[2 * i + 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oui(mac: &str) -> Option<(String, Strength)> {
        let catalogue = Catalogue::builtin();
        let hint = catalogue.by_oui(parse_mac(mac).unwrap());
        hint.map(|h| (h.maker.id().to_owned(), h.strength))
    }

    fn shown(hint: Option<Hint<'_>>) -> Option<(&str, Strength)> {
        hint.map(|h| (h.maker.id(), h.strength))
    }

    #[test]
    fn mac_prefixes_of_all_lengths() {
        assert_eq!(
            oui("44:19:b6:01:02:03"),
            Some(("hikvision".into(), Strength::Medium))
        );
        assert_eq!(
            oui("50-FA-CB-9A-00-01"),
            Some(("bosch".into(), Strength::Medium))
        );
        assert_eq!(oui("50-FA-CB-8A-00-01"), None);
        assert_eq!(
            oui("18E829000001"),
            Some(("ubiquiti".into(), Strength::Weak))
        );
        assert_eq!(oui("46:19:b6:01:02:03"), None, "locally administered");
        assert_eq!(oui("45:19:b6:01:02:03"), None, "multicast");
        assert_eq!(parse_mac("44:19:b6:01:02"), None);
        assert_eq!(parse_mac("44:19:b6:01:02:03:04"), None);
        assert_eq!(parse_mac("zz:19:b6:01:02:03"), None);
    }

    #[test]
    fn banners_name_their_maker() {
        let catalogue = Catalogue::builtin();
        let http = |server, realm, title| shown(catalogue.by_http(server, realm, title));
        let strong = |id| Some((id, Strength::Strong));
        assert_eq!(
            http(Some("Hikvision-Webs"), None, None),
            strong("hikvision")
        );
        assert_eq!(
            http(None, Some("IP Camera(C1234)"), None),
            strong("hikvision")
        );
        assert_eq!(http(None, Some("AXIS_ACCC8E012345"), None), strong("axis"));
        assert_eq!(
            http(None, Some("Login to ND0123456"), None),
            strong("lorex")
        );
        assert_eq!(http(None, Some("Login to 4K012345"), None), strong("dahua"));
        assert_eq!(http(None, Some("DCS-932L"), None), strong("dlink"));
        assert_eq!(
            http(None, None, Some("AXIS P3245 Network Camera")),
            Some(("axis", Strength::Medium))
        );
        assert_eq!(http(None, Some("IP Camera(C12345)"), None), None);
        assert_eq!(
            http(Some("nginx"), Some("Restricted"), Some("Welcome")),
            None
        );
        let rtsp = |server, realm| shown(catalogue.by_rtsp(server, realm));
        assert_eq!(rtsp(Some("Dahua Rtsp Server"), None), strong("dahua"));
        assert_eq!(rtsp(Some("H264DVR 1.0"), None), strong("xiongmai"));
        assert_eq!(rtsp(Some("Hipcam RealServer/V1.0"), None), strong("hichip"));
        assert_eq!(rtsp(Some("GStreamer RTSP server"), None), None);
        assert_eq!(
            shown(catalogue.by_tls_subject("CN=axis-accc8e012345, O=Axis Communications AB")),
            strong("axis")
        );
        assert_eq!(
            shown(catalogue.by_onvif_scope("onvif://www.onvif.org/name/TP-IPC")),
            strong("tapo")
        );
    }

    #[test]
    fn generic_words_are_weak() {
        let catalogue = Catalogue::builtin();
        for server in [
            "Webs",
            "web",
            "webserver",
            "App-webs/",
            "alphapd",
            "HTTPD",
            "Network Camera",
        ] {
            let hint = catalogue.by_http(Some(server), None, None).unwrap();
            assert_eq!(hint.strength, Strength::Weak, "{server}");
        }
        assert_eq!(catalogue.by_http(Some("Website"), None, None), None);
        let both = catalogue
            .by_http(Some("Webs"), Some("AXIS_ACCC8E012345"), None)
            .unwrap();
        assert_eq!(shown(Some(both)), Some(("axis", Strength::Strong)));
        let tie = catalogue
            .by_http(None, Some("TP-LINK IP-Camera"), None)
            .unwrap();
        assert_eq!(tie.strength, Strength::Weak);
    }

    #[test]
    fn vendor_names_as_devices_write_them() {
        let catalogue = Catalogue::builtin();
        let by = |name| shown(catalogue.by_vendor_name(name)).map(|(id, _)| id);
        assert_eq!(by("HIKVISION"), Some("hikvision"));
        assert_eq!(by("Zhejiang Dahua Technology Co., Ltd."), Some("dahua"));
        assert_eq!(by("Hanwha Techwin"), Some("hanwha"));
        assert_eq!(by("AXIS"), Some("axis"));
        assert_eq!(by("TP-Link"), Some("tplink"));
        assert_eq!(by("Maxis Ltd"), None);
        assert_eq!(by("ONVIF"), None);
        assert_eq!(by(""), None);
    }

    proptest::proptest! {
        #[test]
        fn no_banner_panics(text in "\\PC{0,80}") {
            let catalogue = Catalogue::builtin();
            let shown = Some(text.as_str());
            let _ = (catalogue.by_http(shown, shown, shown), catalogue.by_rtsp(shown, shown));
            let _ = (catalogue.by_tls_subject(&text), catalogue.by_vendor_name(&text), parse_mac(&text));
        }
    }
}
