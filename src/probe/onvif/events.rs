//! A PullPoint subscription: one conversation that goes on, in which the device holds back its answer
//! until something happens.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::session::{CallError, Session};
use super::wall_time;
use crate::model::{ErrorCode, ProbeError, StreamUrl};
use crate::probe::{Depth, Limits, Target, Transcript};
use crate::wire::events::onvif::{Message, messages};
use crate::wire::onvif::events::{Subscription, create_pull_point, subscription};
use crate::wire::onvif::{self as codec, Call, address};

/// The device forgets a subscription that is not renewed for so long: what a crash of ours leaves there.
const LIFETIME_S: u32 = 600;
/// Renewed after half of that.
const RENEW_AFTER: Duration = Duration::from_secs(LIFETIME_S as u64 / 2);
/// The device answers after this at the latest, with nothing.
const PULL_S: u32 = 20;
/// Beyond that, before an answer counts as missing.
const GRACE: Duration = Duration::from_secs(10);
const MESSAGES_MAX: u32 = 100;
/// For an Unsubscribe that nobody waits for longer.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// An open subscription. [`Puller::close`] ends it on the device, which has few places for them.
pub struct Puller {
    session: Session,
    device: StreamUrl,
    /// Where the subscription is called.
    at: StreamUrl,
    subscription: Subscription,
    renewed: Instant,
}

impl std::fmt::Debug for Puller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Puller({})", self.device.authority())
    }
}

impl Puller {
    /// Subscribes.
    ///
    /// # Errors
    /// As a probe's of the same device; `not_found` where it has no events to pull.
    pub async fn open(target: &Target, log: &mut Transcript) -> Result<Self, ProbeError> {
        let device = address::device_service(&target.url);
        let mut session = Session::new(Target {
            url: device.clone(),
            depth: Depth::Answer,
            login: target.login_of_url().cloned(),
            limits: Limits {
                answer: Duration::from_secs(u64::from(PULL_S)) + GRACE,
                total: Duration::from_secs(u64::from(PULL_S)) + GRACE * 2,
                ..target.limits
            },
            ..target.clone()
        });
        let clock = codec::get_system_date_and_time();
        match session.call_anonymously(&clock, log).await {
            Ok(answer) => {
                if let Ok(Some(time)) = codec::date_and_time(&answer) {
                    let told_ms = time.unix_ms().saturating_add(500);
                    session.clock_offset_ms = told_ms.saturating_sub(wall_time().unix_ms());
                }
            }
            Err(error) if error.is_about_call() => {}
            Err(error) => return Err(error.into()),
        }
        // Every device knows this call: a login that goes with one it does not know has no verdict.
        match session
            .call(&device, &codec::get_device_information(), log)
            .await
        {
            Ok(_) => {}
            Err(error) if error.is_about_call() => {}
            Err(error) => return Err(error.into()),
        }
        let events = events_service(&mut session, &device, log).await?;
        let call = create_pull_point(LIFETIME_S);
        let answer = session.call(&events, &call, log).await?;
        let Some(subscription) = subscription(&answer).ok().flatten() else {
            let text = format!("{} names no subscription", device.authority());
            return Err(log.error(ErrorCode::Protocol, text));
        };
        let mut puller = Self {
            at: address::service(&subscription.address, &device),
            session,
            device,
            subscription,
            renewed: Instant::now(),
        };
        // Good to have; many do not know it.
        let call = puller.subscription.synchronize(&message_id());
        match puller.call(&call).await {
            Ok(_) => {}
            Err(error) if error.is_about_call() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(puller)
    }

    /// Messages that came within the device's waiting time; none is an answer too. Renews the
    /// subscription when it is time.
    ///
    /// # Errors
    /// The subscription is lost: the device went away, or forgot it.
    pub async fn pull(&mut self) -> Result<Vec<Message>, ProbeError> {
        if self.renewed.elapsed() >= RENEW_AFTER {
            let call = self.subscription.renew(LIFETIME_S, &message_id());
            self.call(&call).await.map_err(ProbeError::from)?;
            self.renewed = Instant::now();
        }
        let call = self.subscription.pull(PULL_S, MESSAGES_MAX, &message_id());
        let answer = self.call(&call).await.map_err(ProbeError::from)?;
        messages(&answer).map_err(|error| {
            let host = self.device.authority();
            let text = format!("the events of {host} cannot be read: {error}");
            Transcript::new().error(ErrorCode::Protocol, text)
        })
    }

    /// Gives the place on the device back, as far as it takes it.
    pub async fn close(mut self) {
        let call = self.subscription.unsubscribe(&message_id());
        let _ = timeout(CLOSE_LIMIT, self.call(&call)).await;
    }

    /// Each call has its own time and transcript; the login stands since the first one.
    async fn call(&mut self, call: &Call) -> Result<Vec<u8>, CallError> {
        self.session.restart_clock();
        let at = self.at.clone();
        self.session.call(&at, call, &mut Transcript::new()).await
    }
}

/// Where the device takes subscriptions; the device service itself where it names nothing.
async fn events_service(
    session: &mut Session,
    device: &StreamUrl,
    log: &mut Transcript,
) -> Result<StreamUrl, ProbeError> {
    for call in [codec::get_services(), codec::get_capabilities()] {
        match session.call(device, &call, log).await {
            Ok(answer) => {
                let events = codec::services(&answer).ok().and_then(|s| s.events);
                if let Some(written) = events {
                    return Ok(address::service(&written, device));
                }
            }
            Err(error) if error.is_about_call() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(device.clone())
}

fn message_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AuthUse, Observed};
    use crate::probe::onvif::fake::{Asks, Behaviour, Fake};

    /// The subscription, and what became of the login.
    async fn open(fake: &Fake) -> (Result<Puller, ProbeError>, AuthUse) {
        let mut log = Transcript::new();
        let opened = Puller::open(&fake.target(Depth::Answer), &mut log).await;
        (opened, log.auth)
    }

    #[tokio::test]
    async fn subscribes_pulls_and_gives_the_place_back() {
        for asks in [Asks::Nothing, Asks::WsseDigest, Asks::HttpDigest] {
            let fake = Fake::start(Behaviour {
                asks,
                ..Behaviour::default()
            })
            .await;
            let (opened, auth) = open(&fake).await;
            let mut puller = opened.unwrap();
            let wanted = match asks {
                Asks::Nothing => AuthUse::NotSent,
                _ => AuthUse::Accepted,
            };
            assert_eq!(auth, wanted, "{asks:?}");
            // The fake answers only to its own reference parameter.
            let told = puller.pull().await.unwrap();
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].notice().kind, Observed::Motion);
            puller.renewed -= RENEW_AFTER;
            puller.pull().await.unwrap();
            puller.close().await;
            let calls = fake.calls();
            let count = |name: &str| calls.iter().filter(|c| c.starts_with(name)).count();
            assert_eq!(count("Renew"), 1, "{calls:?}");
            assert_eq!(count("Unsubscribe"), 1, "{calls:?}");
            assert!(
                calls
                    .iter()
                    .any(|c| c.starts_with("SetSynchronizationPoint"))
            );
        }
    }

    #[tokio::test]
    async fn a_wrong_login_is_sent_once() {
        let fake = Fake::start(Behaviour {
            asks: Asks::Refuses,
            ..Behaviour::default()
        })
        .await;
        let (opened, auth) = open(&fake).await;
        assert_eq!(opened.unwrap_err().code, ErrorCode::AuthFailed);
        assert_eq!((auth, fake.logins()), (AuthUse::Refused, 1));
    }

    #[tokio::test]
    async fn a_device_that_forgot_or_went_away_is_a_lost_subscription() {
        let forgetful = Fake::start(Behaviour {
            asks: Asks::Nothing,
            answers: vec![(
                "PullMessages",
                crate::probe::onvif::fake::envelope("<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text>unknown subscription</s:Text></s:Reason></s:Fault>"),
            )],
            ..Behaviour::default()
        })
        .await;
        let (opened, _) = open(&forgetful).await;
        assert!(opened.unwrap().pull().await.is_err());
        let fake = Fake::start(Behaviour::default()).await;
        let (opened, _) = open(&fake).await;
        let mut puller = opened.unwrap();
        drop(fake);
        assert!(puller.pull().await.is_err());
        puller.close().await;
    }
}
