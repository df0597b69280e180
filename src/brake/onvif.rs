//! ONVIF behind the brake: the second mechanism of a login, and from a device's answers to its
//! pictures, which belong to the other account list.

use std::time::Duration;

use super::{Brake, Errand};
use crate::model::{
    AuthUse, ErrorCode, OnvifFacts, OnvifLogin, ProbeError, Stage, StreamRole, StreamUrl,
};
use crate::policy::ledger::Permit;
use crate::probe::{Attempt, Depth, OnvifAccess, Target};
use crate::wire::onvif::address::device_service;

impl Brake {
    /// All that a device tells over ONVIF of itself and its streams (`Attempt::onvif`); no pictures.
    pub async fn explore(&self, mut target: Target, errand: Errand) -> Attempt {
        target.depth = target.depth.max(Depth::Frame);
        self.run_onvif(target, errand).await
    }

    /// One conversation. A device that refuses the digest of a password may take its text, which
    /// is tried inside TLS only and counts as an attempt of its own.
    pub(super) async fn run_onvif(&self, target: Target, errand: Errand) -> Attempt {
        if !device_service(&target.url).scheme.is_tls() {
            return self.run_one(target, errand).await;
        }
        let mut by_text = target.clone();
        by_text.onvif.wsse_text = true;
        if self.permit(&by_text, errand) == Some(Permit::Known) {
            return self.run_one(by_text, errand).await;
        }
        let attempt = self.run_one(target, errand).await;
        let login_by = attempt.onvif.as_ref().and_then(|facts| facts.login_by);
        let is_digest_refused =
            attempt.auth == AuthUse::Refused && login_by == Some(OnvifLogin::WsseDigest);
        match is_digest_refused && self.permit(&by_text, errand) == Some(Permit::Once) {
            true => self.run_one(by_text, errand).await,
            false => attempt,
        }
    }

    /// Asks the device where its stream is and proves the pictures there. The device's login goes to
    /// the stream, the ONVIF account's where there is no other.
    pub(super) async fn run_stream(&self, target: Target, errand: Errand) -> Attempt {
        let mut asked = self.explore(target.clone(), errand).await;
        if asked.result.is_err() {
            return asked;
        }
        let facts = asked.onvif.as_deref();
        let Some(url) = facts.and_then(|facts| stream(facts, target.role)) else {
            let host = target.url.authority();
            let text = format!("{host} answers over ONVIF, but names no stream of this kind");
            asked.result = Err(ProbeError::new(ErrorCode::NotFound, Stage::Describe, text));
            return asked;
        };
        let spent = Duration::from_millis(u64::from(asked.duration_ms));
        let mut stream = Target {
            url: url.clone(),
            login: target.login.or(target.onvif.login),
            onvif: OnvifAccess::default(),
            ..target
        };
        stream.limits.total = stream.limits.total.saturating_sub(spent);
        let shown = self.run_one(stream, errand).await;
        merged(asked, shown)
    }
}

/// The stream for this role; the best one for roles that no profile has a name for.
fn stream(facts: &OnvifFacts, role: StreamRole) -> Option<&StreamUrl> {
    let of = |role| facts.profiles.iter().filter(move |p| p.role == role);
    let wanted = match role {
        StreamRole::Sub | StreamRole::Third | StreamRole::Fourth => role,
        _ => StreamRole::Main,
    };
    let mut found = of(wanted).filter_map(|p| p.stream.as_ref());
    found.next()
}

/// One attempt out of the conversation over ONVIF and the look at the stream.
fn merged(asked: Attempt, shown: Attempt) -> Attempt {
    let result = match (asked.result, shown.result) {
        (Ok(mut outcome), Ok(proof)) => {
            outcome.evidence = outcome.evidence.max(proof.evidence);
            outcome.media = proof.media;
            outcome.first_frame_ms = proof
                .first_frame_ms
                .map(|ms| ms.saturating_add(asked.duration_ms));
            Ok(outcome)
        }
        (Ok(_), Err(mut error)) => {
            error.message = format!("the stream that ONVIF names: {}", error.message);
            Err(error)
        }
        (Err(error), _) => Err(error),
    };
    let mut stages = asked.stages;
    stages.extend(shown.stages.iter().filter(|s| s.name > Stage::Describe));
    Attempt {
        result,
        stages,
        auth: match shown.auth {
            AuthUse::Refused => AuthUse::Refused,
            _ => asked.auth,
        },
        needs_cleartext_login: asked.needs_cleartext_login || shown.needs_cleartext_login,
        duration_ms: asked.duration_ms.saturating_add(shown.duration_ms),
        server: asked.server,
        realm: asked.realm,
        onvif: asked.onvif,
        recorder: None,
    }
}

#[cfg(test)]
mod tests;
