//! The course of one detection: open ports, identity, likeliest paths first, proof, choice.

mod finish;
mod onvif;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AttemptReport, DetectReport, DetectRequest, ProbeRequest};
use crate::brake::{Brake, Errand};
use crate::model::{
    AuthUse, ConnectionType, Credentials, ErrorCode, Evidence, OnvifFacts, Outcome, Scheme, Stage,
    StreamRole, StreamUrl,
};
use crate::policy::networks::AllowedNetworks;
use crate::policy::rank::rank;
use crate::probe::{Attempt, Depth, Gate, Limits, OnvifAccess, Target, Trust, net, prober};
use crate::vendor::{Candidate, Catalogue};

use super::identity::{Asked, Identity};
use super::plan;

/// Attempts of one detection.
const TRIES_MAX: usize = 80;
/// A LAN host answers a connection within this, or not at all.
const PORT_LIMIT: Duration = Duration::from_millis(1500);
/// Time kept back for measuring the winner's frame rate.
const WINDOW_LIMIT: Duration = Duration::from_secs(5);

/// What a detection needs from its surroundings.
#[derive(Debug, Clone)]
pub struct Detector {
    pub catalogue: Arc<Catalogue>,
    pub brake: Arc<Brake>,
    pub gate: Option<Arc<Gate>>,
    pub networks: Arc<AllowedNetworks>,
    pub limits: Limits,
}

/// A detection with what was learnt for storing the camera.
#[derive(Debug)]
pub struct Detection {
    pub report: DetectReport,
    /// The recommended stream.
    pub winner: Option<Outcome>,
    pub secondary: Option<StreamUrl>,
    pub snapshot: Option<StreamUrl>,
    /// The login that was accepted, where one was needed.
    pub login: Option<Credentials>,
    /// The login that ONVIF accepted, where it is another.
    pub onvif_login: Option<Credentials>,
    /// A login was kept back because the device wants the password in clear.
    pub needs_cleartext_login: bool,
    /// There is a host: a port took or refused a connection.
    pub answered: bool,
}

impl Detector {
    /// Detects one device within `request.timeout_ms`. Never fails as a whole: what went wrong is in
    /// the report.
    pub async fn detect(&self, request: &DetectRequest) -> Detection {
        let mut run = Run::new(self, request);
        run.look_for_ports().await;
        run.identify().await;
        run.ask_onvif_first().await;
        let plan = run.plan();
        run.try_candidates(plan).await;
        let streams = run.ask_onvif_last().await;
        run.try_candidates(streams).await;
        run.measure_winner().await;
        run.finish()
    }

    /// Probes one URL with the login that came with it.
    pub async fn probe(&self, request: &ProbeRequest) -> AttemptReport {
        let target = Target {
            url: request.url.clone(),
            role: StreamRole::Main,
            login: request.login.clone(),
            cleartext_login: true,
            onvif: OnvifAccess::default(),
            depth: if request.frames {
                Depth::Window
            } else {
                Depth::Answer
            },
            limits: self.limits,
            trust: Trust::FirstUse,
            networks: self.networks.clone(),
            gate: self.gate.clone(),
        };
        let errand = Errand {
            locks: false,
            by_hand: true,
        };
        let attempt = match target.url.scheme {
            // All that the device tells is the description of its streams.
            Scheme::Onvif if !request.frames => self.brake.explore(target.clone(), errand).await,
            _ => self.brake.run(target.clone(), errand).await,
        };
        AttemptReport::new(&target, &attempt, target.login.as_ref())
    }
}

/// Where ONVIF stands with this device.
#[derive(Debug, Default)]
struct OnvifState {
    facts: Option<Box<OnvifFacts>>,
    /// Which of the request's logins it accepted.
    accepted: Option<usize>,
    /// Every login that may be sent was.
    is_asked: bool,
}

/// The state of one detection.
struct Run<'a> {
    detector: &'a Detector,
    request: &'a DetectRequest,
    host: String,
    started: Instant,
    deadline: Instant,
    open: Vec<u16>,
    port_errors: Vec<ErrorCode>,
    identity: Identity<'a>,
    login: LoginState,
    /// The request's logins, in the order in which they are tried.
    order: Vec<usize>,
    onvif: OnvifState,
    tries: Vec<(Target, Attempt)>,
}

/// Where the logins stand with this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginState {
    /// The next one to try, by its place in the order.
    Untried(usize),
    Accepted(usize),
    /// None is left.
    AllRefused,
}

impl<'a> Run<'a> {
    fn new(detector: &'a Detector, request: &'a DetectRequest) -> Self {
        let host = match &request.zone {
            Some(zone) => format!("{}%{zone}", request.ip),
            None => request.ip.to_string(),
        };
        let started = Instant::now();
        let given = request.manufacturer.as_deref();
        let given = given.and_then(|m| detector.catalogue.find(m).ok());
        Self {
            detector,
            request,
            host,
            started,
            deadline: started + Duration::from_millis(u64::from(request.timeout_ms)),
            open: Vec::new(),
            port_errors: Vec::new(),
            identity: Identity::new(given),
            login: LoginState::Untried(0),
            order: (0..request.credentials.len()).collect(),
            onvif: OnvifState::default(),
            tries: Vec::new(),
        }
    }

    async fn look_for_ports(&mut self) {
        let ports = plan::ports(&self.request.ports, self.identity.likely_maker());
        let networks = &self.detector.networks;
        let limit = PORT_LIMIT.min(self.remaining());
        let addresses: Vec<SocketAddr> = ports
            .iter()
            .filter_map(|port| net::literal_address(&self.host, *port))
            .collect();
        for (port, found) in net::open_ports(&addresses, networks, limit).await {
            match found {
                Ok(()) => self.open.push(port),
                Err(code) => self.port_errors.push(code),
            }
        }
    }

    /// Banners, realms and the MAC prefix, all without a login.
    async fn identify(&mut self) {
        let (detector, ip) = (self.detector, self.request.ip);
        let mut asked = Asked::default();
        let (host, open, deadline) = (&self.host, &self.open, self.deadline);
        self.identity
            .read(detector, ip, host, open, deadline, &mut asked)
            .await;
    }

    /// What to try, likeliest first: the streams that the device names before guesses.
    fn plan(&self) -> VecDeque<Candidate> {
        let guesses = plan::candidates(
            &self.detector.catalogue,
            self.identity.likely_maker(),
            self.request,
            &self.host,
            &self.open,
        );
        let mut plan = VecDeque::from(guesses);
        self.put_first(&mut plan, self.named_streams());
        plan
    }

    /// Ends when the best so far cannot be beaten, when logins are used up, or when time is.
    async fn try_candidates(&mut self, mut plan: VecDeque<Candidate>) {
        while let Some(candidate) = plan.pop_front() {
            if self.remaining().is_zero() || self.tries.len() >= TRIES_MAX {
                return;
            }
            if self.is_needless(&candidate) {
                continue;
            }
            if self.is_guess(&candidate) && !self.onvif.is_asked {
                // What the device names is worth more than what others of its kind have.
                self.ask_onvif().await;
                let named = self.named_streams();
                if !named.is_empty() {
                    plan.push_front(candidate);
                    self.put_first(&mut plan, named);
                    continue;
                }
            }
            let was_accepted = matches!(self.login, LoginState::Accepted(_));
            self.try_one(&candidate).await;
            if !was_accepted && matches!(self.login, LoginState::Accepted(_)) {
                self.ask_onvif().await;
                self.put_first(&mut plan, self.named_streams());
            }
        }
    }

    /// True for a path that is not the maker's own, and for one that would carry the login itself.
    fn is_guess(&self, candidate: &Candidate) -> bool {
        let is_known = candidate.maker_id.is_some() || self.is_named(&candidate.url);
        !is_known || candidate.url.has_placeholders()
    }

    /// True when this candidate could neither win nor add a stream that is still missing.
    fn is_needless(&self, candidate: &Candidate) -> bool {
        let is_main = |role| matches!(role, StreamRole::Main | StreamRole::Any);
        let was_tried = self.tries.iter().any(|(t, _)| t.url == candidate.url);
        if was_tried || self.is_shut(&candidate.url) {
            return true;
        }
        let Some(best) = self.best().filter(|o| o.evidence == Evidence::KeyFrame) else {
            // A device that asks for the login in a header takes none from the path.
            return candidate.url.has_placeholders() && self.asks_for_login(|_| true);
        };
        let is_own = self
            .identity
            .likely_maker()
            .is_some_and(|m| candidate.maker_id.as_deref() == Some(m.id()))
            || self.is_named(&candidate.url);
        match candidate.role {
            role if is_main(role) => {
                let encrypted = candidate.url.scheme.is_tls() && !best.url.scheme.is_tls();
                !(encrypted && candidate.url.path == best.url.path)
            }
            StreamRole::Sub | StreamRole::Snapshot => !is_own || self.has_role(candidate.role),
            _ => true,
        }
    }

    /// True when this server asks for a login and there is none left to give: other paths would only
    /// ask again.
    fn is_shut(&self, url: &StreamUrl) -> bool {
        let is_out = match self.login {
            LoginState::Accepted(_) => false,
            LoginState::Untried(turn) => turn >= self.order.len(),
            LoginState::AllRefused => true,
        };
        is_out && self.asks_for_login(|tried| tried.scheme == url.scheme && tried.port == url.port)
    }

    /// Did any of these URLs ask for a login in a header?
    fn asks_for_login(&self, of: impl Fn(&StreamUrl) -> bool) -> bool {
        let asks = |(target, attempt): &(Target, Attempt)| {
            let code = attempt.result.as_ref().err().map(|e| e.code);
            let asked = matches!(code, Some(ErrorCode::AuthRequired | ErrorCode::AuthFailed));
            let is_login_in_header = !target.url.has_placeholders();
            // ONVIF accounts are a list of their own.
            let is_other_list = target.url.scheme == Scheme::Onvif;
            is_login_in_header && !is_other_list && (asked || attempt.auth != AuthUse::NotSent)
        };
        self.tries
            .iter()
            .filter(|(target, _)| of(&target.url))
            .any(asks)
    }

    fn has_role(&self, role: StreamRole) -> bool {
        self.successes().any(|o| o.role == role)
    }

    async fn try_one(&mut self, candidate: &Candidate) {
        let depth = match candidate.role {
            StreamRole::Sub => Depth::Answer,
            _ => Depth::Frame,
        };
        let needs_login = candidate.url.has_placeholders();
        if let LoginState::Accepted(index) = self.login {
            let login = self.request.credentials.get(index).cloned();
            self.probe(candidate, depth, login).await;
            return;
        }
        if !needs_login {
            // Without a login first: it costs no attempt and tells which paths exist.
            let asked = self.probe(candidate, depth, None).await;
            if asked != Some(ErrorCode::AuthRequired) {
                return;
            }
        }
        while let LoginState::Untried(turn) = self.login {
            let index = self.order.get(turn).copied();
            let login = index.and_then(|i| self.request.credentials.get(i)).cloned();
            let (Some(index), Some(login)) = (index, login) else {
                if !self.request.credentials.is_empty() {
                    self.login = LoginState::AllRefused;
                }
                return;
            };
            if self.remaining().is_zero() {
                return;
            }
            // The anonymous answer is replaced by the one that counts.
            if !needs_login || turn > 0 {
                self.tries.pop();
            }
            self.probe(candidate, depth, Some(login)).await;
            let Some((_, attempt)) = self.tries.last() else {
                return;
            };
            match attempt.auth {
                AuthUse::Accepted => self.login = LoginState::Accepted(index),
                AuthUse::Refused => self.login = LoginState::Untried(turn + 1),
                AuthUse::NotSent if attempt.needs_cleartext_login => return,
                AuthUse::NotSent if is_auth_failed(attempt) => {
                    self.login = LoginState::Untried(turn + 1)
                }
                AuthUse::NotSent | AuthUse::SentNoVerdict => return,
            }
        }
    }

    /// Runs one probe and keeps it; returns its error.
    async fn probe(
        &mut self,
        candidate: &Candidate,
        depth: Depth,
        login: Option<Credentials>,
    ) -> Option<ErrorCode> {
        let target = self.target(candidate.url.clone(), candidate.role, depth, login);
        let attempt = self.detector.brake.run(target.clone(), self.errand()).await;
        let code = attempt.result.as_ref().err().map(|e| e.code);
        self.tries.push((target, attempt));
        code
    }

    /// The winner's frame rate, measured: announced ones are often wrong.
    async fn measure_winner(&mut self) {
        let remaining = self.remaining();
        if remaining < Duration::from_secs(3) {
            return;
        }
        let Some(best) = self.best_index() else {
            return;
        };
        let (target, _) = &self.tries[best];
        if target.role == StreamRole::Snapshot {
            return;
        }
        let mut target = target.clone();
        target.depth = Depth::Window;
        target.limits.total = target
            .limits
            .total
            .min(remaining)
            .min(WINDOW_LIMIT + target.limits.frame);
        let attempt = self.detector.brake.run(target.clone(), self.errand()).await;
        if let (Ok(measured), Ok(before)) = (&attempt.result, &self.tries[best].1.result) {
            let mut merged = before.clone();
            merged.media = measured.media;
            self.tries[best].1.result = Ok(merged);
            self.tries[best]
                .1
                .stages
                .extend(attempt.stages.iter().filter(|s| s.name == Stage::Sample));
        }
    }

    fn successes(&self) -> impl Iterator<Item = &Outcome> {
        self.tries
            .iter()
            .filter_map(|(_, attempt)| attempt.result.as_ref().ok())
    }

    fn best_index(&self) -> Option<usize> {
        let ranked = self
            .tries
            .iter()
            .enumerate()
            .filter_map(|(i, (_, a))| Some((rank(a.result.as_ref().ok()?), i)));
        // The earlier of two equals: it was the likelier one.
        ranked
            .max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)))
            .map(|(_, i)| i)
    }

    fn best(&self) -> Option<&Outcome> {
        self.best_index()
            .and_then(|i| self.tries[i].1.result.as_ref().ok())
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn errand(&self) -> Errand {
        Errand {
            locks: self.identity.locks_accounts(),
            by_hand: true,
        }
    }

    fn target(
        &self,
        url: StreamUrl,
        role: StreamRole,
        depth: Depth,
        login: Option<Credentials>,
    ) -> Target {
        let limits = self.detector.limits;
        Target {
            url,
            role,
            login,
            cleartext_login: self.request.cleartext_login,
            onvif: OnvifAccess::default(),
            depth,
            limits: Limits {
                total: limits.total.min(self.remaining()),
                ..limits
            },
            trust: Trust::FirstUse,
            networks: self.detector.networks.clone(),
            gate: self.detector.gate.clone(),
        }
    }
}

fn is_auth_failed(attempt: &Attempt) -> bool {
    attempt
        .result
        .as_ref()
        .is_err_and(|e| e.code == ErrorCode::AuthFailed)
}

/// True where a connection type can be detected at all.
pub fn is_detectable(method: ConnectionType) -> bool {
    matches!(
        method,
        ConnectionType::Rtsp
            | ConnectionType::Rtmp
            | ConnectionType::HttpMjpeg
            | ConnectionType::Https
            | ConnectionType::Hls
            | ConnectionType::Webrtc
            | ConnectionType::Onvif
    ) && prober(method).is_some()
}
