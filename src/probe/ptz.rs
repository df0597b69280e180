//! Motors: by ONVIF, or by the maker's own interface over HTTP. An order is sent once; whoever gives it
//! sees to it that every move ends.

use tokio::time::timeout_at;

use super::http::Clock;
use super::http::session::{Session, failure};
use super::nvr::{reolink_error, reolink_login};
use super::{Target, Transcript, onvif};
use crate::model::{ErrorCode, ProbeError, PtzFacts, PtzOrder, PtzSource, Scheme, StreamUrl};
use crate::wire::maker::ptz::{self, NotOffered};
use crate::wire::maker::reolink;

/// How the motors of one camera are reached, once that is known. The target's URL is `onvif://` for the
/// first, the web service for the second.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    Onvif {
        service: StreamUrl,
        /// Token of the media profile that moves.
        profile: String,
        /// The device's clock minus ours.
        clock_offset_ms: i64,
    },
    Maker {
        source: PtzSource,
        /// From 1.
        channel: u32,
    },
}

impl Way {
    /// Can this order be given at all?
    ///
    /// # Errors
    /// [`NotOffered`]
    pub fn check(&self, order: &PtzOrder) -> Result<(), NotOffered> {
        match self {
            Self::Onvif { .. } => Ok(()),
            Self::Maker { source, channel } => {
                ptz::requests(*source, *channel, order, None).map(drop)
            }
        }
    }
}

/// Looks for motors: over ONVIF for an `onvif://` target, else by `maker`'s own interface. `None` where
/// there are none.
///
/// # Errors
/// As a probe's.
pub async fn find(
    target: &Target,
    maker: Option<(PtzSource, u32)>,
    log: &mut Transcript,
) -> Result<Option<(Way, PtzFacts)>, ProbeError> {
    match (target.url.scheme, maker) {
        (Scheme::Onvif, _) => onvif::motors::find(target, log).await,
        (_, Some((source, channel))) => {
            in_time(target, log, |mut talk| async move {
                let found = talk.find(source, channel).await;
                talk.hang_up().await;
                found
            })
            .await
        }
        (_, None) => Ok(None),
    }
}

/// Gives one order.
///
/// # Errors
/// As a probe's.
pub async fn send(
    target: &Target,
    way: &Way,
    order: &PtzOrder,
    log: &mut Transcript,
) -> Result<(), ProbeError> {
    match way {
        Way::Onvif {
            service,
            profile,
            clock_offset_ms,
        } => onvif::motors::send(target, service, profile, *clock_offset_ms, order, log).await,
        Way::Maker { source, channel } => {
            in_time(target, log, |mut talk| async move {
                let sent = talk.send(*source, *channel, order).await;
                talk.hang_up().await;
                sent
            })
            .await
        }
    }
}

/// Runs `work` within the target's total deadline.
async fn in_time<'l, T, F>(
    target: &Target,
    log: &'l mut Transcript,
    work: impl FnOnce(Talk<'l>) -> F,
) -> Result<T, ProbeError>
where
    F: Future<Output = Result<T, ProbeError>>,
{
    let clock = Clock::start(target);
    let stage = log.stage();
    let talk = Talk {
        session: Session::new(target.clone()),
        log,
        token: None,
    };
    timeout_at(clock.end, work(talk)).await.unwrap_or_else(|_| {
        let total_ms = target.limits.total.as_millis();
        let host = target.url.authority();
        let text = format!("{host} did not do it within {total_ms} ms");
        Err(ProbeError::new(ErrorCode::Timeout, stage, text))
    })
}

/// One conversation with a maker's interface.
struct Talk<'l> {
    session: Session,
    log: &'l mut Transcript,
    /// Reolink's session.
    token: Option<String>,
}

impl Talk<'_> {
    async fn find(
        &mut self,
        source: PtzSource,
        channel: u32,
    ) -> Result<Option<(Way, PtzFacts)>, ProbeError> {
        self.log_in(source).await?;
        let Some(request) = ptz::list(source, channel, self.token.as_deref()) else {
            return Ok(None);
        };
        let reply = self.session.call(&request, self.log).await?;
        let presets = match reply.is_ok() {
            true => ptz::presets(source, &reply.body),
            false => None,
        };
        Ok(presets.map(|presets| {
            let facts = PtzFacts {
                source,
                abilities: ptz::abilities(source),
                presets,
            };
            (Way::Maker { source, channel }, facts)
        }))
    }

    async fn send(
        &mut self,
        source: PtzSource,
        channel: u32,
        order: &PtzOrder,
    ) -> Result<(), ProbeError> {
        self.log_in(source).await?;
        let requests = ptz::requests(source, channel, order, self.token.as_deref());
        let requests =
            requests.map_err(|why| self.log.error(ErrorCode::Protocol, why.to_string()))?;
        for request in requests {
            let reply = self.session.call(&request, self.log).await?;
            if let Some(error) = failure(&reply, self.session.target(), self.log) {
                return Err(error);
            }
            if source == PtzSource::Reolink
                && let Err(refusal) = reolink::done(&reply.body)
            {
                return Err(reolink_error(&self.session, refusal, self.log));
            }
        }
        Ok(())
    }

    async fn log_in(&mut self, source: PtzSource) -> Result<(), ProbeError> {
        if source == PtzSource::Reolink {
            self.token = Some(reolink_login(&mut self.session, self.log).await?);
        }
        Ok(())
    }

    /// The device has few sessions, and a token keeps one for an hour.
    async fn hang_up(&mut self) {
        if let Some(token) = self.token.take() {
            let _ = self.session.call(&reolink::logout(&token), self.log).await;
        }
    }
}

#[cfg(test)]
mod tests;
