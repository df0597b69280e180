//! ONVIF PullPoint subscriptions of the cameras that are set to it (`connection_config.onvif_events`):
//! each has a task of its own that subscribes, pulls, and begins anew after a fault. The only place
//! where that is tried again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{Site, lock};
use crate::model::{CameraId, Credentials, ErrorCode, Scheme, StreamRole, StreamUrl, Transport};
use crate::policy::backoff::Backoff;
use crate::probe::onvif::events::Puller;
use crate::probe::{Depth, OnvifAccess, Target, Trust};

/// Changed settings of a camera are seen within this.
const STEP: Duration = Duration::from_secs(5);
/// Subscriptions at the same time.
const SUBSCRIPTIONS_MAX: usize = 256;
/// Between two pulls: a device that answers at once all the time is not asked all the time.
const PULL_PAUSE: Duration = Duration::from_millis(500);
/// Until a lost subscription is made anew. Never given up: a camera that boots comes back.
const RETRY: Backoff = Backoff {
    first_delay_s: 5,
    max_delay_s: 300,
    max_attempts: 0,
    jitter: 0.1,
};

/// How a camera's subscription is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SubscriptionHealth {
    /// None is wanted, or the first one is being made.
    #[default]
    None,
    Active,
    /// Why there is none.
    Lost(ErrorCode),
}

/// What a subscription is made with: when that changes, it is made anew.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    url: StreamUrl,
    login: Option<Credentials>,
    manufacturer: Option<String>,
}

impl Site {
    /// Keeps the subscriptions as the cameras' settings want them, until the site stops.
    pub async fn keep_subscriptions(self: Arc<Self>) {
        let mut running: HashMap<CameraId, (Wanted, CancellationToken)> = HashMap::new();
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = steps.tick() => {}
                () = self.stop.cancelled() => return,
            }
            let wanted = self.wanted_subscriptions();
            running.retain(|id, (made_with, stop)| {
                let is_same = wanted.get(id) == Some(made_with);
                if !is_same {
                    stop.cancel();
                }
                is_same
            });
            for (id, wanted) in wanted {
                if running.contains_key(&id) || running.len() >= SUBSCRIPTIONS_MAX {
                    continue;
                }
                let stop = self.stop.child_token();
                let work = Box::pin(self.clone().pull_events(id, wanted.clone(), stop.clone()));
                self.tasks.spawn(work);
                running.insert(id, (wanted, stop));
            }
        }
    }

    fn wanted_subscriptions(&self) -> HashMap<CameraId, Wanted> {
        let cameras = lock(&self.cameras);
        let wanted = cameras.values().filter_map(|entry| {
            let camera = &entry.camera;
            let is_on = camera.enabled && camera.connection_config.onvif_events == Some(true);
            if !is_on || entry.displaced.is_some() {
                return None;
            }
            let own = camera.primary_stream_url.clone();
            let url = match own.filter(|url| url.scheme == Scheme::Onvif) {
                Some(url) => url,
                None => device_url(camera.ip_address.as_deref()?)?,
            };
            let login = entry.onvif_login().or(entry.login());
            let manufacturer = camera.manufacturer.clone();
            Some((
                camera.id,
                Wanted {
                    url,
                    login,
                    manufacturer,
                },
            ))
        });
        wanted.collect()
    }

    /// One camera's subscription, again and again.
    async fn pull_events(self: Arc<Self>, id: CameraId, wanted: Wanted, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let lost = match self.open_subscription(id, &wanted, &stop).await {
                None => break,
                Some(Err(error)) => error,
                Some(Ok(puller)) => {
                    failures = 0;
                    self.set_subscription(id, SubscriptionHealth::Active, "");
                    match self.pull_until_lost(id, puller, &stop).await {
                        None => break,
                        Some(error) => error,
                    }
                }
            };
            self.set_subscription(id, SubscriptionHealth::Lost(lost.code), &lost.message);
            if lost.code == ErrorCode::AuthFailed {
                // Only another login helps, and that begins another task.
                stop.cancelled().await;
                break;
            }
            failures += 1;
            let delay_s = RETRY.delay_s(failures).unwrap_or(RETRY.max_delay_s);
            let wait_ms = RETRY.jittered_ms(delay_s, super::checks::dice());
            let wait = sleep(Duration::from_millis(wait_ms.unsigned_abs()));
            if stop.run_until_cancelled(wait).await.is_none() {
                break;
            }
        }
        self.set_subscription(id, SubscriptionHealth::None, "");
    }

    async fn open_subscription(
        &self,
        id: CameraId,
        wanted: &Wanted,
        stop: &CancellationToken,
    ) -> Option<Result<Puller, crate::model::ProbeError>> {
        let settings = self.settings();
        let camera = lock(&self.cameras).get(&id)?.camera.clone();
        let target = Target {
            url: wanted.url.clone(),
            role: StreamRole::Main,
            login: None,
            cleartext_login: true,
            onvif: OnvifAccess {
                login: wanted.login.clone(),
                ..OnvifAccess::default()
            },
            depth: Depth::Answer,
            limits: settings.limits(&camera),
            trust: match camera.tls_pin {
                Some(pin) if camera.primary_stream_url.as_ref() == Some(&wanted.url) => {
                    Trust::Pinned(pin)
                }
                _ => Trust::FirstUse,
            },
            networks: settings.networks.clone(),
            gate: Some(self.gate.clone()),
        };
        let errand = self.errand(wanted.manufacturer.as_deref(), false);
        stop.run_until_cancelled(self.brake.subscribe(target, errand))
            .await
    }

    /// `None` when it is to end; else why the subscription is lost. Its place on the device is given back
    /// either way.
    async fn pull_until_lost(
        &self,
        id: CameraId,
        mut puller: Puller,
        stop: &CancellationToken,
    ) -> Option<crate::model::ProbeError> {
        let lost = loop {
            match stop.run_until_cancelled(puller.pull()).await {
                None => break None,
                Some(Err(error)) => break Some(error),
                Some(Ok(messages)) => {
                    let notices = messages.iter().map(|m| m.notice()).collect();
                    self.observe(id, notices, Transport::Pullpoint);
                }
            }
            if stop.run_until_cancelled(sleep(PULL_PAUSE)).await.is_none() {
                break None;
            }
        };
        puller.close().await;
        lost
    }

    /// One line for each change.
    fn set_subscription(&self, id: CameraId, health: SubscriptionHealth, why: &str) {
        let mut cameras = lock(&self.cameras);
        let Some(entry) = cameras.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut entry.subscription, health.clone());
        let name = entry.camera.name.clone();
        drop(cameras);
        match health {
            _ if before == health => {}
            SubscriptionHealth::Active => {
                tracing::info!(camera = id.0, name, "camera reports its events over ONVIF");
            }
            SubscriptionHealth::Lost(code) => {
                let code = code.as_str();
                tracing::warn!(camera = id.0, name, code, "no events over ONVIF: {why}");
            }
            SubscriptionHealth::None => {}
        }
    }
}

/// The device service at its usual port.
fn device_url(address: &str) -> Option<StreamUrl> {
    let url = match address.contains(':') {
        true => format!("onvif://[{address}]"),
        false => format!("onvif://{address}"),
    };
    StreamUrl::parse(&url).ok().map(|parsed| parsed.url)
}
