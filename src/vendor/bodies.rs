//! What the API and the command line answer about makers and their templates.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalogue::Catalogue;
use super::maker::Maker;
use super::tables::{Category, Evidence, Field, Service, Slot};
use super::template::Template;
use crate::model::ConnectionType;

/// Every port list of an entry, in the order in which it is shown.
const SERVICES: [Service; 10] = [
    Service::Rtsp,
    Service::Rtsps,
    Service::Http,
    Service::Https,
    Service::Onvif,
    Service::Rtmp,
    Service::Hls,
    Service::Webrtc,
    Service::PrivateTcp,
    Service::DiscoveryUdp,
];

/// `GET /api/discovery/manufacturers`.
#[derive(Debug, Serialize)]
pub struct MakersBody<'c> {
    pub count: usize,
    pub manufacturers: Vec<MakerSummary<'c>>,
}

/// One maker in the list.
#[derive(Debug, Serialize)]
pub struct MakerSummary<'c> {
    pub id: &'c str,
    pub name: &'c str,
    pub category: &'static str,
    pub aliases: Vec<&'c str>,
    pub connection_types: Vec<ConnectionType>,
    pub default_ports: BTreeMap<&'static str, Vec<u16>>,
    pub notes: Vec<&'c str>,
}

/// Everything that one entry tells a person (`ohmvision manufacturers ID`).
#[derive(Debug, Serialize)]
pub struct MakerBody<'c> {
    #[serde(flatten)]
    pub summary: MakerSummary<'c>,
    pub family: &'c str,
    pub locks_accounts: bool,
    pub mac_prefixes_shared: bool,
    /// The entry's other texts by name; no factory login is ever tried.
    pub details: BTreeMap<&'static str, Vec<&'c str>>,
    pub templates: TemplateLists,
    pub nvr: Option<NvrBody<'c>>,
}

/// `GET /api/discovery/stream-templates/{manufacturer}`.
#[derive(Debug, Serialize)]
pub struct TemplatesBody<'c> {
    pub manufacturer: &'c str,
    pub templates: TemplateLists,
    /// Null where the maker has no recorders that we know.
    pub nvr: Option<NvrBody<'c>>,
}

/// URLs by how they are reached.
#[derive(Debug, Serialize)]
pub struct Lists<T> {
    pub rtsp: Vec<T>,
    pub http_mjpeg: Vec<T>,
    pub snapshot: Vec<T>,
    /// Other formats and protocols; `name` says which.
    pub other: Vec<T>,
}

pub type TemplateLists = Lists<NamedUrl<String>>;

/// How to reach one channel of a recorder.
#[derive(Debug, Serialize)]
pub struct NvrBody<'c> {
    pub rule: &'c str,
    /// Number of the first channel in the device's own counting; `{channel}` counts from 1 all the
    /// same, `{channel0}` from 0.
    pub first: u8,
    pub note: Option<&'c str>,
    pub templates: Vec<NamedUrl<String>>,
}

/// One URL or template: its stream (`main`, `sub`, `snapshot`, ...) or kind (`mjpeg`, `flv`, ...).
#[derive(Debug, Serialize)]
pub struct NamedUrl<T> {
    pub name: String,
    pub url: T,
    pub evidence: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The list of makers, by id.
pub fn manufacturers_body(catalogue: &Catalogue) -> MakersBody<'_> {
    let manufacturers: Vec<_> = catalogue.makers().into_iter().map(summary).collect();
    MakersBody {
        count: manufacturers.len(),
        manufacturers,
    }
}

fn summary(maker: Maker<'_>) -> MakerSummary<'_> {
    let ports = |service: Service| (service.as_str(), maker.ports(service).collect::<Vec<_>>());
    let sentences = [
        Field::OnvifDefaultOff,
        Field::CredentialsLock,
        Field::PortNote,
    ];
    let notes = sentences
        .into_iter()
        .map(|field| maker.text(field))
        .filter(|text| !text.is_empty());
    MakerSummary {
        id: maker.id(),
        name: maker.name(),
        category: category(maker.category()),
        aliases: maker.aliases().collect(),
        connection_types: maker.connection_types(),
        default_ports: SERVICES
            .into_iter()
            .map(ports)
            .filter(|(_, list)| !list.is_empty())
            .collect(),
        notes: maker.lines(Field::Quirks).chain(notes).collect(),
    }
}

/// All that is known of one maker.
pub fn maker_body(maker: Maker<'_>) -> MakerBody<'_> {
    let shown = [
        ("channels", Field::ChannelRule),
        ("channel_list_paths", Field::ChannelListPaths),
        ("onvif_service", Field::OnvifService),
        ("onvif", Field::OnvifNote),
        ("discovery", Field::DiscoveryNative),
        ("mdns", Field::Mdns),
        ("device_info", Field::InfoPath),
        ("http_auth", Field::AuthHttp),
        ("rtsp_auth", Field::AuthRtsp),
        ("auth", Field::AuthNote),
        ("factory_login", Field::CredentialsFactory),
        ("legacy_login", Field::CredentialsLegacy),
        ("usual_user", Field::CredentialsUser),
        ("account_lock", Field::CredentialsLock),
    ];
    let details = shown
        .into_iter()
        .map(|(name, field)| (name, maker.lines(field).collect::<Vec<_>>()));
    MakerBody {
        summary: summary(maker),
        family: maker.family(),
        locks_accounts: maker.locks_accounts(),
        mac_prefixes_shared: maker.mac_oui_is_shared(),
        details: details.filter(|(_, lines)| !lines.is_empty()).collect(),
        templates: template_lists(maker),
        nvr: nvr(maker),
    }
}

/// A maker's templates for channel 1, and the channel rule of its recorders.
pub fn templates_body(maker: Maker<'_>) -> TemplatesBody<'_> {
    TemplatesBody {
        manufacturer: maker.id(),
        templates: template_lists(maker),
        nvr: nvr(maker),
    }
}

fn template_lists(maker: Maker<'_>) -> TemplateLists {
    let mut lists = Lists::new();
    for template in maker.templates() {
        let url = template.display(Some(1));
        if !lists.knows(&template, |known| *known == url) {
            lists.push(&template, url);
        }
    }
    lists
}

fn nvr(maker: Maker<'_>) -> Option<NvrBody<'_>> {
    let templates = maker.nvr_templates();
    let note = Some(maker.text(Field::ChannelNote)).filter(|note| !note.is_empty());
    (!templates.is_empty()).then(|| NvrBody {
        rule: maker.text(Field::ChannelRule),
        first: maker.first_channel(),
        note,
        templates: templates
            .iter()
            .map(|template| named(template, template.display(None)))
            .collect(),
    })
}

impl<T> Lists<T> {
    pub(super) fn new() -> Self {
        Self {
            rtsp: vec![],
            http_mjpeg: vec![],
            snapshot: vec![],
            other: vec![],
        }
    }

    fn list(&mut self, template: &Template<'_>) -> &mut Vec<T> {
        match template.slot() {
            Slot::RtspStream => &mut self.rtsp,
            Slot::HttpStream if template.kind() == "mjpeg" => &mut self.http_mjpeg,
            Slot::Snapshot => &mut self.snapshot,
            Slot::HttpStream | Slot::OtherStream => &mut self.other,
        }
    }
}

impl<T> Lists<NamedUrl<T>> {
    pub(super) fn knows(&mut self, template: &Template<'_>, same: impl Fn(&T) -> bool) -> bool {
        self.list(template).iter().any(|known| same(&known.url))
    }

    pub(super) fn push(&mut self, template: &Template<'_>, url: T) {
        let entry = named(template, url);
        self.list(template).push(entry);
    }
}

fn named<T>(template: &Template<'_>, url: T) -> NamedUrl<T> {
    let name = match template.kind() {
        "" => template.role().as_str(),
        kind => kind,
    };
    NamedUrl {
        name: name.to_owned(),
        url,
        evidence: evidence(template.evidence()),
        note: Some(template.note())
            .filter(|note| !note.is_empty())
            .map(str::to_owned),
    }
}

fn category(category: Category) -> &'static str {
    match category {
        Category::Professional => "professional",
        Category::Consumer => "consumer",
        Category::Cloud => "cloud",
        Category::Generic => "generic",
        Category::Diy => "diy",
        Category::Local => "local",
    }
}

fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Documented => "documented",
        Evidence::Library => "library",
        Evidence::Captured => "captured",
        Evidence::Crowd => "crowd",
        Evidence::Unverified => "unverified",
    }
}
