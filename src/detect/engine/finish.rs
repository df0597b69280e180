//! What a detection tells, from all that was tried.

use super::{Detection, LoginState, Run};
use crate::detect::{AttemptReport, DetectReport, DeviceReport};
use crate::model::{AuthUse, ErrorCode, Scheme, StreamRole};
use crate::policy::rank::{hint, reason};
use crate::probe::{Attempt, Target, millis};

impl Run<'_> {
    pub(super) fn finish(self) -> Detection {
        let device = self.device();
        let best = self.best_index();
        let is_onvif = |i: usize| self.tries[i].0.url.scheme == Scheme::Onvif;
        let credential_index = match self.login {
            LoginState::Accepted(index) => Some(index),
            _ => self.onvif.accepted.filter(|_| best.is_some_and(is_onvif)),
        };
        let accepted = credential_index.and_then(|i| self.request.credentials.get(i));
        let winner = best.and_then(|i| self.tries[i].1.result.as_ref().ok().cloned());
        let shown = |(target, attempt): &(Target, Attempt)| {
            AttemptReport::new(
                target,
                attempt,
                target
                    .login_of_url()
                    .filter(|_| attempt.auth != AuthUse::NotSent),
            )
        };
        let all_results: Vec<AttemptReport> = self.tries.iter().map(shown).collect();
        let errors: Vec<ErrorCode> = self
            .tries
            .iter()
            .filter_map(|(_, a)| a.result.as_ref().err().map(|e| e.code))
            .chain(self.port_errors.iter().copied())
            .collect();
        let of_role = |role: StreamRole| {
            let mut found = self.successes().filter(|o| o.role == role);
            found
                .next()
                .map(|o| o.url.clone())
                .filter(|url| winner.as_ref().is_some_and(|w| w.url != *url))
        };
        // A path with a login in it says nothing of what the device asks for.
        let needs_cleartext_login = self
            .tries
            .iter()
            .filter(|(target, _)| best.is_none() || target.url.scheme != Scheme::Onvif)
            .any(|(target, a)| a.needs_cleartext_login && !target.url.has_placeholders());
        let (secondary, snapshot) = (of_role(StreamRole::Sub), of_role(StreamRole::Snapshot));
        let report = DetectReport {
            success: winner.is_some(),
            recommended_method: winner.as_ref().map(|w| w.connection_type),
            recommended_url: best.and_then(|i| all_results.get(i)).map(|r| r.url.clone()),
            reason: winner.as_ref().map(reason),
            hint: winner
                .is_none()
                .then(|| hint(&self.host, &errors, &self.open)),
            device,
            credential_index,
            tried: u32::try_from(all_results.len()).unwrap_or(u32::MAX),
            all_results,
            duration_ms: millis(self.started.elapsed()),
        };
        Detection {
            report,
            winner,
            secondary,
            snapshot,
            login: accepted.cloned(),
            onvif_login: self.onvif_login().filter(|own| Some(own) != accepted),
            needs_cleartext_login,
            answered: !self.open.is_empty() || self.port_errors.contains(&ErrorCode::Refused),
        }
    }

    /// Who it is: the catalogue's name where the maker is known, else the device's own.
    fn device(&self) -> DeviceReport {
        let maker = self.identity.maker();
        let told = &self.identity.information;
        DeviceReport {
            manufacturer: maker
                .map(|maker| maker.name().to_owned())
                .or_else(|| told.manufacturer.clone()),
            manufacturer_id: maker.map(|maker| maker.id().to_owned()),
            model: told.model.clone(),
            firmware_version: told.firmware_version.clone(),
            serial_number: told.serial_number.clone(),
            mac: self.identity.mac.clone(),
        }
    }
}
