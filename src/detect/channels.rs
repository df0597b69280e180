//! The channels of a recorder: by its maker's own interface, else by ONVIF, else by the maker's rule for
//! stream paths, tried channel by channel.

use std::time::{Duration, Instant};

use super::Detector;
use crate::brake::Errand;
use crate::model::{
    AuthUse, ChannelSource, ChannelState, Credentials, ErrorCode, OnvifFacts, ProbeError,
    RecorderChannel, RecorderFacts, Scheme, Stage, StreamRole, StreamUrl,
};
use crate::probe::{Attempt, Depth, OnvifAccess, Target, Trust};
use crate::vendor::{Maker, Service, recorder_snapshot, recorder_streams};
use crate::wire::maker;
use crate::wire::onvif::address::every_channel;

/// Channels that are tried where nothing lists them.
const TRIED_MAX: u32 = 64;
/// So many in a row that are not there end the search: recorders leave gaps.
const GAP_MAX: u32 = 2;
/// Web ports of one recorder that are tried.
const DOORS_MAX: usize = 3;

/// One recorder to ask.
#[derive(Debug, Clone)]
pub struct ChannelsRequest {
    /// With its zone, where it has one.
    pub host: String,
    /// Of the web service, where it is known.
    pub port: Option<u16>,
    /// How it was asked before: `nvr://` or `onvif://`.
    pub known: Option<StreamUrl>,
    pub login: Option<Credentials>,
    /// The account for ONVIF, where it is one of its own.
    pub onvif_login: Option<Credentials>,
    /// Catalogue id.
    pub manufacturer: Option<String>,
    /// A password may travel in clear where the device wants it so.
    pub cleartext_login: bool,
    /// How the certificate of the known URL is judged.
    pub trust: Trust,
    /// For everything together.
    pub timeout: Duration,
}

/// What a recorder has.
#[derive(Debug, Clone)]
pub struct ChannelList {
    pub source: ChannelSource,
    /// By which it is asked again: `nvr://`, `onvif://`, or its first channel's `rtsp://`.
    pub url: StreamUrl,
    pub channels: Vec<ListedChannel>,
}

/// One channel with the ways to its pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedChannel {
    pub facts: RecorderChannel,
    /// Main first; empty where nobody knows its paths.
    pub streams: Vec<(StreamRole, StreamUrl)>,
    pub snapshot: Option<StreamUrl>,
}

impl ListedChannel {
    pub fn stream(&self, role: StreamRole) -> Option<&StreamUrl> {
        let mut found = self.streams.iter().filter(|(own, _)| *own == role);
        found.next().map(|(_, url)| url)
    }
}

impl Detector {
    /// Asks a recorder for its channels.
    ///
    /// # Errors
    /// What stood in the way: a refused login before anything else, `not_found` where nothing lists
    /// channels.
    pub async fn channels(&self, request: &ChannelsRequest) -> Result<ChannelList, ProbeError> {
        let maker = request.manufacturer.as_deref();
        let maker = maker.and_then(|id| self.catalogue.find(id).ok());
        let mut search = Search {
            detector: self,
            request,
            maker,
            deadline: Instant::now() + request.timeout,
            closed: Vec::new(),
            failure: None,
        };
        if let Some(list) = search.by_maker().await {
            return Ok(list);
        }
        if let Some(list) = search.by_onvif().await {
            return Ok(list);
        }
        if let Some(list) = search.by_rule().await {
            return Ok(list);
        }
        Err(search.failure.unwrap_or_else(|| {
            let text = format!(
                "{} lists no channels, by its maker's interface nor by ONVIF",
                request.host
            );
            ProbeError::new(ErrorCode::NotFound, Stage::Describe, text)
        }))
    }
}

/// The state of one search.
struct Search<'a> {
    detector: &'a Detector,
    request: &'a ChannelsRequest,
    maker: Option<Maker<'a>>,
    deadline: Instant,
    /// Ports that nothing listens on.
    closed: Vec<u16>,
    /// What says the most to a person.
    failure: Option<ProbeError>,
}

impl Search<'_> {
    async fn by_maker(&mut self) -> Option<ChannelList> {
        for source in self.sources() {
            for url in self.doors(source) {
                if self.is_over() || self.closed.contains(&url.port) {
                    continue;
                }
                let attempt = self.ask(url.clone(), Depth::Answer).await;
                let is_refused = attempt.auth == AuthUse::Refused;
                match (attempt.result, attempt.recorder) {
                    (Ok(_), Some(facts)) => return Some(self.listed(source, url, &facts)),
                    (Ok(_), None) => {}
                    (Err(error), _) => {
                        let is_closed = error.stage <= Stage::Tls;
                        let is_login = is_login(&error) || is_refused;
                        self.note(error);
                        match (is_closed, is_login) {
                            (true, _) => self.closed.push(url.port),
                            // The device has one list of accounts, whatever it is asked.
                            (_, true) => return None,
                            _ => {}
                        }
                    }
                }
            }
        }
        None
    }

    /// Interfaces worth asking: the known one, the maker's, or each one for an unknown maker.
    fn sources(&self) -> Vec<ChannelSource> {
        if let Some(known) = &self.request.known {
            return maker::api(known).into_iter().collect();
        }
        let catalogue = &self.detector.catalogue;
        let is_spoken = |source: &ChannelSource| {
            let own = source.maker_id().and_then(|id| catalogue.by_id(id));
            match (self.maker, own) {
                (Some(maker), Some(own)) => maker.family() == own.family(),
                _ => self.maker.is_none(),
            }
        };
        let all = ChannelSource::OF_MAKERS.into_iter();
        all.filter(is_spoken).collect()
    }

    /// Where an interface may be: `nvr://` URLs, the likeliest first.
    fn doors(&self, source: ChannelSource) -> Vec<StreamUrl> {
        if let Some(known) = &self.request.known {
            return vec![known.clone()];
        }
        if source == ChannelSource::Dvrip {
            return vec![self.door(source, maker::dvrip::PORT, false)];
        }
        if let Some(port) = self.request.port {
            return vec![self.door(source, port, matches!(port, 443 | 8443))];
        }
        let ports = |service| {
            let own = self.maker.into_iter().flat_map(move |m| m.ports(service));
            own.collect::<Vec<u16>>()
        };
        let plain = match ports(Service::Http) {
            own if own.is_empty() => vec![80],
            own => own,
        };
        let tls = match ports(Service::Https) {
            own if own.is_empty() => vec![443],
            own => own,
        };
        let plain = plain
            .into_iter()
            .take(DOORS_MAX - 1)
            .map(|port| (port, false));
        let tls = tls.into_iter().take(1).map(|port| (port, true));
        plain
            .chain(tls)
            .map(|(port, is_tls)| self.door(source, port, is_tls))
            .collect()
    }

    fn door(&self, source: ChannelSource, port: u16, is_tls: bool) -> StreamUrl {
        // Where the port says it already, the URL need not.
        let tls = match (is_tls, matches!(port, 443 | 8443)) {
            (true, false) => "&tls=1",
            _ => "",
        };
        StreamUrl {
            scheme: Scheme::Nvr,
            host: self.request.host.clone(),
            port,
            path: format!("/?api={}{tls}", source.as_str()),
        }
    }

    fn listed(&self, source: ChannelSource, url: StreamUrl, facts: &RecorderFacts) -> ChannelList {
        let own = source.maker_id();
        // An operator's own entry of this family comes before the built-in one.
        let maker = self
            .maker
            .filter(|maker| !maker.nvr_templates().is_empty())
            .or_else(|| own.and_then(|id| self.detector.catalogue.by_id(id)));
        let web = maker::service(&url);
        let channel = |facts: &RecorderChannel, rtsp_port: Option<u16>| ListedChannel {
            streams: maker.map_or_else(Vec::new, |maker| {
                recorder_streams(maker, &url.host, facts.number, rtsp_port)
            }),
            snapshot: maker
                .filter(|_| source != ChannelSource::Dvrip)
                .and_then(|maker| recorder_snapshot(maker, &web, facts.number)),
            facts: facts.clone(),
        };
        ChannelList {
            source,
            channels: facts
                .channels
                .iter()
                .map(|one| channel(one, facts.rtsp_port))
                .collect(),
            url,
        }
    }

    /// Media profiles, grouped by video source. ONVIF cannot say whether a channel is alive.
    async fn by_onvif(&mut self) -> Option<ChannelList> {
        let known = self.request.known.as_ref();
        if known.is_some_and(|url| url.scheme != Scheme::Onvif) {
            return None;
        }
        let ports: Vec<u16> = match (known, self.request.port, self.maker) {
            (Some(url), ..) => vec![url.port],
            (_, Some(port), _) => vec![port],
            (.., Some(maker)) => maker.ports(Service::Onvif).collect(),
            _ => Vec::new(),
        };
        let ports = match ports.is_empty() {
            true => vec![80],
            false => ports,
        };
        for port in ports.into_iter().take(DOORS_MAX) {
            if self.is_over() {
                break;
            }
            let url = StreamUrl {
                scheme: Scheme::Onvif,
                host: self.request.host.clone(),
                port,
                path: known.map_or("/", |url| url.path.as_str()).to_owned(),
            };
            let target = self.target(every_channel(&url), Depth::Frame);
            let attempt = self.detector.brake.explore(target, self.errand()).await;
            match (attempt.result, attempt.onvif) {
                (Ok(_), Some(facts)) if !facts.profiles.is_empty() => {
                    return Some(by_source(url, &facts));
                }
                (Ok(_), _) => {}
                (Err(error), _) => self.note(error),
            }
        }
        None
    }

    /// Each channel's main stream is described, as the maker's rule has it, until some in a row are not
    /// there.
    async fn by_rule(&mut self) -> Option<ChannelList> {
        let maker = self.maker.filter(|_| self.request.known.is_none())?;
        let mut channels = Vec::new();
        let mut gap = 0;
        for number in 1..=TRIED_MAX {
            let streams = recorder_streams(maker, &self.request.host, number, None);
            let (_, main) = streams.first()?;
            if self.is_over() || gap > GAP_MAX {
                break;
            }
            let attempt = self.ask(main.clone(), Depth::Answer).await;
            let state = match attempt.result {
                Ok(_) => ChannelState::Online,
                Err(error) if error.stage <= Stage::Tls || is_login(&error) => {
                    self.note(error);
                    break;
                }
                Err(error) if error.code == ErrorCode::NotFound => {
                    gap += 1;
                    continue;
                }
                Err(_) => ChannelState::Offline,
            };
            gap = 0;
            channels.push(ListedChannel {
                facts: RecorderChannel {
                    state,
                    ..RecorderChannel::new(number)
                },
                streams,
                snapshot: None,
            });
        }
        let url = channels.first()?.stream(StreamRole::Main)?.clone();
        Some(ChannelList {
            source: ChannelSource::ChannelRule,
            url,
            channels,
        })
    }

    async fn ask(&self, url: StreamUrl, depth: Depth) -> Attempt {
        let target = self.target(url, depth);
        self.detector.brake.run(target, self.errand()).await
    }

    fn target(&self, url: StreamUrl, depth: Depth) -> Target {
        let request = self.request;
        let is_known = request.known.as_ref() == Some(&url);
        let mut limits = self.detector.limits;
        let left = self.deadline.saturating_duration_since(Instant::now());
        limits.total = limits.total.min(left);
        Target {
            url,
            role: StreamRole::Main,
            login: request.login.clone(),
            cleartext_login: request.cleartext_login,
            onvif: OnvifAccess {
                login: request.onvif_login.clone(),
                ..OnvifAccess::default()
            },
            depth,
            limits,
            trust: match is_known {
                true => request.trust.clone(),
                false => Trust::FirstUse,
            },
            networks: self.detector.networks.clone(),
            gate: self.detector.gate.clone(),
        }
    }

    fn errand(&self) -> Errand {
        Errand {
            locks: self.maker.is_some_and(Maker::locks_accounts),
            by_hand: true,
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Keeps the failure that says the most.
    fn note(&mut self, error: ProbeError) {
        let weight = |error: &ProbeError| match error.code {
            ErrorCode::AuthFailed | ErrorCode::AuthRequired => 3,
            ErrorCode::NotFound => 1,
            ErrorCode::Refused => 0,
            _ => 2,
        };
        let is_better = |known: &ProbeError| weight(&error) > weight(known);
        if self.failure.as_ref().is_none_or(is_better) {
            self.failure = Some(error);
        }
    }
}

fn is_login(error: &ProbeError) -> bool {
    matches!(error.code, ErrorCode::AuthFailed | ErrorCode::AuthRequired)
}

/// Channels from the profiles of an ONVIF device.
fn by_source(url: StreamUrl, facts: &OnvifFacts) -> ChannelList {
    let mut channels: Vec<ListedChannel> = Vec::new();
    for profile in &facts.profiles {
        let at = channels
            .iter()
            .position(|c| c.facts.number == profile.channel);
        let at = at.unwrap_or_else(|| {
            channels.push(ListedChannel {
                facts: RecorderChannel::new(profile.channel),
                streams: Vec::new(),
                snapshot: None,
            });
            channels.len() - 1
        });
        let Some(channel) = channels.get_mut(at) else {
            continue;
        };
        let stream = profile.stream.clone().map(|url| (profile.role, url));
        channel.streams.extend(stream);
        if channel.snapshot.is_none() {
            channel.snapshot.clone_from(&profile.snapshot);
        }
    }
    ChannelList {
        source: ChannelSource::Onvif,
        url,
        channels,
    }
}

#[cfg(test)]
mod tests;
