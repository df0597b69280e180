//! What ONVIF adds to a detection: who the device is, and its own list of streams.
//!
//! A refusal here ends nothing: ONVIF accounts are a list of their own on several makers, so a login goes
//! to the device's streams first, and to ONVIF once it was accepted there.

use std::collections::VecDeque;
use std::time::Duration;

use super::{LoginState, Run};
use crate::model::{AuthUse, ConnectionType, Credentials, ErrorCode, StreamRole, StreamUrl};
use crate::probe::{Attempt, Depth, OnvifAccess, Target};
use crate::vendor::{Candidate, Evidence};

/// With less time left ONVIF is not asked.
const TIME_LEFT_MIN: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Before anything else where that costs no login of the device's: anonymously where the
    /// device answers so, or with the account that is ONVIF's alone.
    pub(super) async fn ask_onvif_first(&mut self) {
        match self.request.onvif_login.clone() {
            Some(own) => {
                self.onvif.is_asked = true;
                self.explore(Some(own)).await;
            }
            None if self.identity.is_onvif_open => {
                self.explore(None).await;
            }
            None => {}
        }
    }

    /// With the login that the device has just accepted, and where ONVIF refuses that one, with the
    /// others: the lists are separate then.
    pub(super) async fn ask_onvif(&mut self) {
        if self.onvif.is_asked || !self.may_ask() {
            return;
        }
        self.onvif.is_asked = true;
        let all = self.order.iter().copied();
        let logins: Vec<usize> = match self.login {
            LoginState::Accepted(first) => {
                let others = all.filter(|index| *index != first);
                std::iter::once(first).chain(others).collect()
            }
            LoginState::Untried(turn) => all.skip(turn).collect(),
            LoginState::AllRefused => Vec::new(),
        };
        for index in logins {
            let login = self.request.credentials.get(index).cloned();
            match self.explore(login).await {
                AuthUse::Accepted => {
                    self.onvif.accepted = Some(index);
                    self.try_next(index);
                    return;
                }
                AuthUse::Refused => {}
                AuthUse::NotSent if self.was_held_back() => {}
                AuthUse::NotSent | AuthUse::SentNoVerdict => return,
            }
        }
    }

    /// What ONVIF accepted is the likeliest for the streams too.
    fn try_next(&mut self, login: usize) {
        let LoginState::Untried(turn) = self.login else {
            return;
        };
        let rest = self.order.get_mut(turn..).unwrap_or_default();
        if let Some(at) = rest.iter().position(|index| *index == login) {
            rest[..=at].rotate_right(1);
        }
    }

    /// When every guess was tried; returns the streams that the device names.
    pub(super) async fn ask_onvif_last(&mut self) -> VecDeque<Candidate> {
        self.ask_onvif().await;
        if self.identity.onvif.is_some() && !self.tries.iter().any(is_onvif) && self.may_ask() {
            // No login was left to give; what it says to that belongs to the report.
            self.explore(None).await;
        }
        self.named_streams().into()
    }

    /// The login that ONVIF accepted.
    pub(super) fn onvif_login(&self) -> Option<Credentials> {
        let by_index = self
            .onvif
            .accepted
            .and_then(|i| self.request.credentials.get(i));
        let own = self.request.onvif_login.as_ref();
        by_index
            .or(own.filter(|_| self.onvif.facts.is_some()))
            .cloned()
    }

    /// The streams that the device names over ONVIF, main ones first, as far as they are wanted.
    pub(super) fn named_streams(&self) -> Vec<Candidate> {
        let Some(facts) = self.onvif.facts.as_deref() else {
            return Vec::new();
        };
        let of_profiles = facts.profiles.iter().flat_map(|profile| {
            let stream = profile.stream.iter().map(|url| (url, profile.role));
            let picture = profile.snapshot.iter();
            stream.chain(picture.map(|url| (url, StreamRole::Snapshot)))
        });
        let wanted = of_profiles.filter(|(url, role)| {
            let is_role = matches!(
                role,
                StreamRole::Main | StreamRole::Sub | StreamRole::Snapshot
            );
            is_role && self.wants(url.connection_type())
        });
        let mut named: Vec<Candidate> = wanted
            .map(|(url, role)| Candidate {
                connection_type: url.connection_type(),
                url: url.clone(),
                role,
                evidence: Evidence::Captured,
                maker_id: None,
                order: 0,
            })
            .collect();
        named.sort_by_key(|candidate| candidate.role);
        named
    }

    /// True for an address that the device itself named.
    pub(super) fn is_named(&self, url: &StreamUrl) -> bool {
        let facts = self.onvif.facts.as_deref();
        let mut profiles = facts.into_iter().flat_map(|facts| &facts.profiles);
        profiles.any(|p| p.stream.as_ref() == Some(url) || p.snapshot.as_ref() == Some(url))
    }

    /// Main streams to the front, the others behind the last guess for a main stream.
    pub(super) fn put_first(&self, plan: &mut VecDeque<Candidate>, named: Vec<Candidate>) {
        let is_main = |c: &Candidate| matches!(c.role, StreamRole::Main | StreamRole::Any);
        let (main, others): (Vec<_>, Vec<_>) = named.into_iter().partition(is_main);
        let behind = plan.iter().position(|c| !is_main(c)).unwrap_or(plan.len());
        for candidate in others.into_iter().rev() {
            plan.insert(behind, candidate);
        }
        for candidate in main.into_iter().rev() {
            plan.push_front(candidate);
        }
    }

    /// One conversation, kept among the tries in place of the one before. Where only ONVIF is wanted
    /// it goes on to the pictures.
    async fn explore(&mut self, login: Option<Credentials>) -> AuthUse {
        let Some(url) = self.identity.onvif.clone().filter(|_| self.may_ask()) else {
            return AuthUse::NotSent;
        };
        let mut target = self.target(url, StreamRole::Main, Depth::Frame, login.clone());
        if self.request.onvif_login.is_some() {
            target.onvif = OnvifAccess {
                login,
                ..OnvifAccess::default()
            };
            target.login = self.request.credentials.first().cloned();
        }
        let (brake, errand) = (&self.detector.brake, self.errand());
        let attempt = match self.wants(ConnectionType::Rtsp) {
            true => brake.explore(target.clone(), errand).await,
            false => brake.run(target.clone(), errand).await,
        };
        let auth = attempt.auth;
        if let Some(facts) = &attempt.onvif {
            let detector = self.detector;
            self.identity.note_onvif(&detector.catalogue, facts);
            if attempt.result.is_ok() {
                self.onvif.facts = Some(facts.clone());
            }
        }
        self.tries.retain(|tried| !is_onvif(tried));
        self.tries.push((target, attempt));
        auth
    }

    /// The brake did not let the last login go.
    fn was_held_back(&self) -> bool {
        let last = self.tries.last().and_then(|(_, a)| a.result.as_ref().err());
        last.is_some_and(|error| error.code == ErrorCode::AuthFailed)
    }

    fn may_ask(&self) -> bool {
        self.wants(ConnectionType::Onvif) && self.remaining() > TIME_LEFT_MIN
    }

    fn wants(&self, method: ConnectionType) -> bool {
        self.request.methods.is_empty() || self.request.methods.contains(&method)
    }
}

fn is_onvif((target, _): &(Target, Attempt)) -> bool {
    target.url.connection_type() == ConnectionType::Onvif
}
