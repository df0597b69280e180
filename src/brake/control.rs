//! What is asked of a device beside probes: a picture, a move. Each passes the ledger as a probe does.

use bytes::Bytes;

use super::{Brake, Errand, denial, host_key};
use crate::model::{ErrorCode, ProbeError, PtzFacts, PtzOrder, PtzSource, Stage};
use crate::policy::ledger::Permit;
use crate::probe::onvif::events::Puller;
use crate::probe::{BoxFuture, Target, Transcript, http, onvif, ptz};

/// Largest still picture, bytes.
const PICTURE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Which of a host's lines work waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Media: cheap cameras have two to four slots.
    Sessions,
    /// Orders: a stop must not wait behind a probe that waits for pictures.
    Orders,
}

impl Brake {
    /// One still picture within the host's budget. A login that may not be sent is not sent.
    pub async fn fetch_jpeg(&self, target: Target, errand: Errand) -> Result<Bytes, ProbeError> {
        self.within(target, errand, Line::Sessions, |target, log| {
            Box::pin(http::fetch_jpeg(target, log, PICTURE_BYTES_MAX))
        })
        .await
    }

    /// Looks for a camera's motors, see [`ptz::find`].
    ///
    /// # Errors
    /// As a probe's.
    pub async fn find_motors(
        &self,
        target: Target,
        maker: Option<(PtzSource, u32)>,
        errand: Errand,
    ) -> Result<Option<(ptz::Way, PtzFacts)>, ProbeError> {
        self.within(target, errand, Line::Orders, |target, log| {
            Box::pin(ptz::find(target, maker, log))
        })
        .await
    }

    /// Gives a camera's motors one order.
    ///
    /// # Errors
    /// As a probe's.
    pub async fn order(
        &self,
        target: Target,
        way: &ptz::Way,
        order: &PtzOrder,
        errand: Errand,
    ) -> Result<(), ProbeError> {
        let (way, order) = (way.clone(), order.clone());
        self.within(target, errand, Line::Orders, move |target, log| {
            Box::pin(async move { ptz::send(target, &way, &order, log).await })
        })
        .await
    }

    /// Tells the device of an `onvif://` target to begin anew.
    ///
    /// # Errors
    /// As a probe's.
    pub async fn reboot(&self, target: Target, errand: Errand) -> Result<(), ProbeError> {
        self.within(target, errand, Line::Orders, |target, log| {
            Box::pin(onvif::reboot::reboot(target, log))
        })
        .await
    }

    /// Subscribes to the device's events. Only the beginning takes one of the host's places: a
    /// subscription is no media session.
    ///
    /// # Errors
    /// As [`Puller::open`]'s, or `auth_failed` where the device asks for a login that is held back.
    pub async fn subscribe(&self, target: Target, errand: Errand) -> Result<Puller, ProbeError> {
        let asked = target.clone();
        let open = self.within(target, errand, Line::Sessions, |target, log| {
            Box::pin(Puller::open(target, log))
        });
        open.await.map_err(|error| {
            let permit = self.permit(&asked, errand);
            match error.code {
                ErrorCode::AuthRequired if login_is_held(permit) => held_back(&asked, permit),
                _ => error,
            }
        })
    }

    /// One piece of work in its line. A login that may not be sent is not sent.
    async fn within<T>(
        &self,
        mut target: Target,
        errand: Errand,
        line: Line,
        work: impl for<'a> FnOnce(
            &'a Target,
            &'a mut Transcript,
        ) -> BoxFuture<'a, Result<T, ProbeError>>,
    ) -> Result<T, ProbeError> {
        let host = self.host(&target);
        let _place = match line {
            Line::Sessions => host.sessions.acquire().await,
            Line::Orders => host.orders.acquire().await,
        };
        let login = self.fingerprint(&target);
        let mut permit = self.permit(&target, errand);
        let mut _only_one = None;
        if permit == Some(Permit::Once) {
            _only_one = Some(host.unproven_login.lock().await);
            // Another one may have had its verdict while this one waited.
            permit = self.permit(&target, errand);
        }
        if login.is_some() && !matches!(permit, Some(Permit::Known | Permit::Once)) {
            if target.url.has_placeholders() {
                return Err(held_back(&target, permit));
            }
            target.login = None;
            target.onvif.login = None;
        }
        let mut log = Transcript::new();
        let done = work(&target, &mut log).await;
        if let Some(login) = login {
            self.record(&target, login, log.auth);
        }
        done
    }
}

/// Refused for good. One that has to wait is tried again later.
fn login_is_held(permit: Option<Permit>) -> bool {
    matches!(permit, Some(Permit::Refused { .. }))
}

fn held_back(target: &Target, permit: Option<Permit>) -> ProbeError {
    let why = denial(host_key(target), permit);
    ProbeError::new(ErrorCode::AuthFailed, Stage::Authenticate, why)
}

#[cfg(test)]
mod tests;
