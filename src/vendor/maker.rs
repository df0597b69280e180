//! One maker, read from the tables.

use super::catalogue::Catalogue;
use super::tables::{Category, Field, MakerRow, Service, Slot, Tables};
use super::template::Template;
use crate::model::ConnectionType;

/// One maker of the catalogue: a handle, cheap to copy.
#[derive(Clone, Copy)]
pub struct Maker<'c> {
    catalogue: &'c Catalogue,
    tables: &'c Tables,
    row: &'c MakerRow,
}

impl std::fmt::Debug for Maker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Maker").field(&self.id()).finish()
    }
}

impl PartialEq for Maker<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl<'c> Maker<'c> {
    pub(super) fn new(catalogue: &'c Catalogue, tables: &'c Tables, row: &'c MakerRow) -> Self {
        Self {
            catalogue,
            tables,
            row,
        }
    }

    /// `hikvision`
    pub fn id(self) -> &'c str {
        self.text(Field::Id)
    }

    /// `Hikvision`
    pub fn name(self) -> &'c str {
        self.text(Field::Name)
    }

    pub fn aliases(self) -> impl Iterator<Item = &'c str> {
        self.lines(Field::Aliases)
    }

    /// Id, name and aliases.
    pub(super) fn names(self) -> impl Iterator<Item = &'c str> {
        [self.id(), self.name()].into_iter().chain(self.aliases())
    }

    pub fn category(self) -> Category {
        self.row.category
    }

    /// Makers of one family answer alike.
    pub fn family(self) -> &'c str {
        self.text(Field::Family)
    }

    /// A text of the entry; empty where it has none.
    pub fn text(self, field: Field) -> &'c str {
        self.tables.field(self.row, field)
    }

    /// The items of a list of the entry.
    pub fn lines(self, field: Field) -> impl Iterator<Item = &'c str> {
        self.text(field).lines()
    }

    /// The makers that this name stands for.
    fn members(self) -> impl Iterator<Item = Maker<'c>> {
        self.lines(Field::Merges)
            .filter_map(move |id| self.catalogue.by_id(id))
    }

    /// True for a name that stands for several makers (`tplink`).
    pub fn is_merged(self) -> bool {
        !self.text(Field::Merges).is_empty()
    }

    /// The device locks a user or a source address after a few refused logins: at most two logins.
    pub fn locks_accounts(self) -> bool {
        self.row.locks_accounts || self.members().any(|maker| maker.row.locks_accounts)
    }

    /// The MAC prefixes are also those of other products.
    pub fn mac_oui_is_shared(self) -> bool {
        self.row.mac_oui_shared
    }

    /// Number of the first channel in the device's own counting.
    pub fn first_channel(self) -> u8 {
        self.row.first_channel
    }

    /// Usual ports, the likeliest first. Those of all its makers for a merged name.
    pub fn ports(self, service: Service) -> impl Iterator<Item = u16> {
        let own = self.row.ports.of(&self.tables.ports).iter();
        let mut found: Vec<u16> = own
            .filter(|row| row.service == service)
            .map(|row| row.port)
            .collect();
        for maker in self.members() {
            let rows = maker.row.ports.of(&maker.tables.ports).iter();
            for row in rows.filter(|row| row.service == service) {
                if !found.contains(&row.port) {
                    found.push(row.port);
                }
            }
        }
        found.into_iter()
    }

    /// The entry's templates: RTSP, HTTP, snapshots, others, in order of preference. Those of all its
    /// makers for a merged name; with the paths for unknown makers for the generic one.
    pub fn templates(self) -> Vec<Template<'c>> {
        let own = |maker: Maker<'c>| {
            let rows = maker.row.templates.of(&maker.tables.templates).iter();
            rows.map(move |row| Template::new(maker.tables, row, Some(maker)))
        };
        let mut all: Vec<Template<'c>> = own(self).collect();
        for member in self.members() {
            all.extend(own(member));
        }
        if self.category() == Category::Generic {
            all.extend(self.catalogue.generic_templates());
        }
        all.sort_by_key(|template| template.slot());
        let mut unique: Vec<Template<'c>> = Vec::with_capacity(all.len());
        for template in all {
            if !unique.iter().any(|known| known.same_as(&template)) {
                unique.push(template);
            }
        }
        unique
    }

    /// The ways in to one channel of a recorder.
    pub fn nvr_templates(self) -> Vec<Template<'c>> {
        self.templates()
            .into_iter()
            .filter(|template| template.is_nvr())
            .collect()
    }

    /// How its devices can be connected, in the order of [`ConnectionType::ALL`].
    pub fn connection_types(self) -> Vec<ConnectionType> {
        let templates = self.templates();
        let listed: Vec<&str> = self.lines(Field::ConnectionTypes).collect();
        let has_onvif = |maker: Maker<'_>| !maker.text(Field::OnvifService).is_empty();
        let has = |kind: &str| templates.iter().any(|t| t.kind() == kind);
        let slot = |slot: Slot| templates.iter().any(|t| t.slot() == slot);
        let web = slot(Slot::Snapshot) || has("mjpeg");
        let is_way = |way: &ConnectionType| {
            let shown = match way {
                ConnectionType::Rtsp => slot(Slot::RtspStream),
                ConnectionType::Rtmp => has("rtmp") || has("flv"),
                ConnectionType::Onvif => has_onvif(self) || self.members().any(has_onvif),
                ConnectionType::HttpMjpeg => web,
                ConnectionType::Https => web && self.ports(Service::Https).next().is_some(),
                ConnectionType::Webrtc => has("webrtc"),
                ConnectionType::Hls => has("hls"),
                ConnectionType::Cloud => self.category() == Category::Cloud,
                ConnectionType::Nvr => templates.iter().any(|t| t.is_nvr()),
                ConnectionType::Usb => has("usb"),
                ConnectionType::Webhook | ConnectionType::File => false,
            };
            shown || listed.contains(&way.as_str())
        };
        ConnectionType::ALL.into_iter().filter(is_way).collect()
    }
}

impl Service {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rtsp => "rtsp",
            Self::Rtsps => "rtsps",
            Self::Http => "http",
            Self::Https => "https",
            Self::Onvif => "onvif",
            Self::Rtmp => "rtmp",
            Self::Hls => "hls",
            Self::Webrtc => "webrtc",
            Self::PrivateTcp => "private_tcp",
            Self::DiscoveryUdp => "discovery_udp",
        }
    }
}

impl Tables {
    /// A text of a maker, empty where it has none.
    pub fn field(&self, row: &MakerRow, field: Field) -> &str {
        let rows = row.fields.of(&self.fields);
        let found = rows.iter().find(|r| r.field == field);
        found.map_or("", |r| self.text(r.text))
    }
}
