//! The makers that are known: the built-in ones and the operator's.

use super::maker::Maker;
use super::pack::{Problem, pack};
use super::raw::{RawGeneric, RawMaker};
use super::tables::{Field, MakerRow, Service, Tables};
use super::template::Template;
use crate::model::ConnectionType;
use crate::policy::closest::{closest, same_name};

mod builtin {
    use std::borrow::Cow;

    use crate::vendor::tables::{
        Category::*, Evidence::*, Field::*, FieldRow, MakerRow, OuiRow, PortRow, Role::*,
        Service::*, Slot::*, Span, Tables, TemplateRow, Text,
    };

    include!(concat!(env!("OUT_DIR"), "/makers.rs"));
}

/// Every maker by id, name and alias. Built once per configuration, shared by `Arc`.
#[derive(Debug, Default)]
pub struct Catalogue {
    overlay: Option<Tables>,
}

/// No maker has this id, name or alias.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a known manufacturer{}", suggestion(closest))]
pub struct UnknownMaker {
    /// As given, at most 64 characters.
    pub name: String,
    /// Ids of the makers whose names are closest.
    pub closest: Vec<String>,
}

fn suggestion(closest: &[String]) -> String {
    match closest.is_empty() {
        true => "; GET /api/discovery/manufacturers lists them, `generic` stands for any other"
            .to_owned(),
        false => format!("; did you mean `{}`?", closest.join("` or `")),
    }
}

impl Catalogue {
    /// The built-in makers alone.
    pub fn builtin() -> Self {
        Self::default()
    }

    /// The built-in makers with the operator's on top: an entry with a known id replaces the keys that
    /// it gives, another id is a new maker.
    ///
    /// # Errors
    /// Every mistake, with the index of its entry.
    pub fn with_overlay(makers: &[RawMaker]) -> Result<Self, Vec<Problem>> {
        if makers.is_empty() {
            return Ok(Self::builtin());
        }
        let mut problems = Vec::new();
        for (entry, maker) in makers.iter().enumerate() {
            for name in maker.connection_types.iter().flatten() {
                if ConnectionType::from_name(name).is_none() {
                    let message = format!(
                        "manufacturer `{}`: `{name}` is not a connection type",
                        maker.id
                    );
                    problems.push(Problem { entry, message });
                }
            }
        }
        let base = |id: &str| row(&builtin::BUILTIN, id).map(|row| (&builtin::BUILTIN, row));
        match pack(makers, &RawGeneric::default(), &base) {
            Ok(overlay) if problems.is_empty() => Ok(Self {
                overlay: Some(overlay),
            }),
            Ok(_) => Err(problems),
            Err(found) => {
                problems.extend(found);
                Err(problems)
            }
        }
    }

    /// The operator's tables, then the built-in ones.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Tables> {
        self.overlay.iter().chain([&builtin::BUILTIN])
    }

    /// The maker with exactly this id.
    pub fn by_id(&self, id: &str) -> Option<Maker<'_>> {
        self.tables()
            .find_map(|tables| row(tables, id).map(|row| Maker::new(self, tables, row)))
    }

    /// Every maker once, sorted by id; without the names that merge several makers.
    pub fn makers(&self) -> Vec<Maker<'_>> {
        self.all()
            .into_iter()
            .filter(|maker| !maker.is_merged())
            .collect()
    }

    /// Every TCP port that a maker's devices use, ascending.
    pub fn tcp_ports(&self) -> Vec<u16> {
        const SERVICES: [Service; 9] = [
            Service::Rtsp,
            Service::Rtsps,
            Service::Http,
            Service::Https,
            Service::Onvif,
            Service::Rtmp,
            Service::Hls,
            Service::Webrtc,
            Service::PrivateTcp,
        ];
        let mut ports = Vec::new();
        for maker in self.makers() {
            for service in SERVICES {
                ports.extend(maker.ports(service));
            }
        }
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    fn all(&self) -> Vec<Maker<'_>> {
        let rows = |tables: &'_ Tables| tables.makers.len();
        let mut all: Vec<Maker<'_>> = Vec::with_capacity(self.tables().map(rows).sum());
        for tables in self.tables() {
            all.extend(
                tables
                    .makers
                    .iter()
                    .map(|row| Maker::new(self, tables, row)),
            );
        }
        if self.overlay.is_none() {
            // The built-in rows stand by id, each once.
            return all;
        }
        // Stable: the operator's entry stands before the built-in one of the same id.
        all.sort_by(|a, b| a.id().cmp(b.id()));
        all.dedup_by(|later, first| later.id() == first.id());
        all
    }

    /// The maker with this id, name or alias; case, spaces, dashes and underscores do not count.
    ///
    /// # Errors
    /// [`UnknownMaker`] with the closest ids.
    pub fn find(&self, name: &str) -> Result<Maker<'_>, UnknownMaker> {
        self.named(name).ok_or_else(|| {
            let all = self.all();
            let names = all.iter().flat_map(|maker| maker.names());
            let mut ids: Vec<String> = Vec::new();
            for near in closest(name, names) {
                let owner = all
                    .iter()
                    .find(|maker| maker.names().any(|known| known == near));
                let id = owner.map(|maker| maker.id().to_owned());
                ids.extend(id.filter(|id| !ids.contains(id)));
            }
            UnknownMaker {
                name: name.chars().take(64).collect(),
                closest: ids,
            }
        })
    }

    /// By id, name or alias; without a word on what was meant instead.
    pub fn named(&self, name: &str) -> Option<Maker<'_>> {
        let is_it = |maker: &Maker<'_>| maker.names().any(|known| same_name(known, name));
        self.all().into_iter().find(is_it)
    }

    /// The maker that stands for any other.
    pub fn generic(&self) -> Option<Maker<'_>> {
        self.by_id("generic_onvif")
    }

    /// Templates for when the maker is unknown, the likeliest first.
    pub fn generic_templates(&self) -> impl Iterator<Item = Template<'_>> {
        let tables = &builtin::BUILTIN;
        tables
            .generic
            .of(&tables.templates)
            .iter()
            .map(|row| Template::new(tables, row, None))
    }
}

fn row<'t>(tables: &'t Tables, id: &str) -> Option<&'t MakerRow> {
    let found = tables
        .makers
        .binary_search_by(|row| tables.field(row, Field::Id).cmp(id));
    found.ok().and_then(|index| tables.makers.get(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::{Evidence, Service};

    fn overlay(text: &str) -> Result<Catalogue, Vec<Problem>> {
        #[derive(serde::Deserialize)]
        struct File {
            manufacturer: Vec<RawMaker>,
        }
        let file: File = toml::from_str(text).unwrap();
        Catalogue::with_overlay(&file.manufacturer)
    }

    #[test]
    fn names_and_aliases_resolve() {
        let catalogue = Catalogue::builtin();
        for (name, id) in [
            ("hikvision", "hikvision"),
            ("HIK vision", "hikvision"),
            ("generic", "generic_onvif"),
            ("tplink", "tplink"),
            ("TP-Link", "tplink"),
            ("tp_link", "tplink"),
            ("Kasa", "kasa"),
            ("nest", "google_nest"),
            ("Google Nest", "google_nest"),
            ("amazon_ring", "ring"),
            ("samsung", "hanwha"),
            ("Hanwha", "hanwha"),
            ("D Link", "dlink"),
            ("UNV", "uniview"),
            ("i-PRO", "panasonic"),
        ] {
            assert_eq!(catalogue.find(name).unwrap().id(), id, "{name}");
        }
    }

    #[test]
    fn an_unknown_name_says_what_is_close() {
        let catalogue = Catalogue::builtin();
        let error = catalogue.find("Hikvison").unwrap_err();
        assert_eq!(error.closest, ["hikvision"]);
        assert_eq!(
            error.to_string(),
            "`Hikvison` is not a known manufacturer; did you mean `hikvision`?"
        );
        let error = catalogue.find(&"q".repeat(300)).unwrap_err();
        assert_eq!((error.name.len(), error.closest.len()), (64, 0));
    }

    #[test]
    fn tp_link_merges_its_lines() {
        let catalogue = Catalogue::builtin();
        let merged = catalogue.find("tp-link").unwrap();
        let makers: Vec<&str> = merged
            .templates()
            .iter()
            .filter_map(|t| t.maker().map(|m| m.id()))
            .collect();
        for id in ["tapo", "vigi", "kasa", "tplink_legacy"] {
            assert!(makers.contains(&id), "{id} in {makers:?}");
        }
        assert!(merged.locks_accounts());
        assert!(catalogue.makers().iter().all(|m| m.id() != "tplink"));
    }

    #[test]
    fn an_operator_overrides_key_by_key_and_adds() {
        let catalogue = overlay(
            r#"
            [[manufacturer]]
            id = "hikvision"
            ports = { rtsp = [8554] }
            snapshot = [{ url = "http://{ip}:{port}/site.jpg" }]

            [[manufacturer]]
            id = "acme"
            name = "Acme Cams"
            aliases = ["ACM"]
            rtsp = [{ role = "main", url = "rtsp://{user}:{pass}@{ip}:{port}/acme/{channel}" }]
            mac_oui = ["00:BC:9A"]
            "#,
        )
        .unwrap();
        let hik = catalogue.find("hikvision").unwrap();
        assert_eq!(hik.name(), "Hikvision");
        assert_eq!(hik.ports(Service::Rtsp).collect::<Vec<_>>(), [8554]);
        assert_eq!(hik.ports(Service::Http).collect::<Vec<_>>(), [80]);
        assert!(hik.locks_accounts());
        let snapshots: Vec<_> = hik
            .templates()
            .into_iter()
            .filter(|t| t.is_snapshot())
            .collect();
        assert_eq!(snapshots.len(), 1);
        assert_eq!(snapshots[0].evidence(), Evidence::Documented);
        assert!(hik.templates().len() > 10);
        assert_eq!(catalogue.find("acm").unwrap().id(), "acme");
        let by_mac = |mac| catalogue.by_oui(mac).map(|hint| hint.maker);
        assert_eq!(by_mac([0, 0xbc, 0x9a, 1, 2, 3]).unwrap().id(), "acme");
        let overridden = by_mac([0, 0xbc, 0x99, 1, 2, 3]).unwrap();
        assert_eq!(overridden.ports(Service::Rtsp).collect::<Vec<_>>(), [8554]);
        assert_eq!(catalogue.makers().len(), 85);
        let count = catalogue
            .makers()
            .iter()
            .filter(|m| m.id() == "hikvision")
            .count();
        assert_eq!(count, 1);
    }

    #[test]
    fn mistakes_are_all_named() {
        let problems = overlay(
            r#"
            [[manufacturer]]
            id = "Acme!"
            rtsp = [
              { role = "main", url = "rtsp://admin:hunter2@{ip}/x" },
              { role = "sub", url = "http://{ip}/x" },
              { role = "sub", url = "rtsp://{ip}/{no such}" },
            ]
            snapshot = [{ url = "http://{ip}/x?user={user}&pwd=1234" }]
            mac_oui = ["00:11", "02:00:00"]
            connection_types = ["telepathy"]
            ports = { rtsp = [0] }
            "#,
        )
        .unwrap_err();
        let all: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
        let all = all.join("\n");
        for part in [
            "`id` is",
            "needs a `name`",
            "{user}:{pass}@",
            "begins with rtsp:// or rtsps://",
            "no blanks",
            "`pwd=` takes {pass}",
            "`00:11` is not a MAC prefix",
            "`02:00:00` is a local",
            "`telepathy` is not a connection type",
            "a port is 1 to 65535",
        ] {
            assert!(all.contains(part), "{part} in:\n{all}");
        }
    }

    #[test]
    fn misspelt_keys_are_refused() {
        let error = toml::from_str::<RawMaker>("id = \"x\"\nrtps = []").unwrap_err();
        assert!(error.to_string().contains("rtps"), "{error}");
    }
}
