//! What happens to a running daemon: orders, reloads, a change on trial. One path applies a
//! configuration, whoever asks for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::derive::{catalogue, hostname, mqtt_settings, server_settings, site_settings};
use super::{DaemonError, own_event, settings, tell_address};
use crate::api::tls::{self, Tls};
use crate::brake::now;
use crate::config::{self, Config};
use crate::control::{ControlError, Order};
use crate::model::{Event, EventKind};
use crate::site::Site;
use crate::store::Store;
use crate::sys::notify;
use crate::{api, logging, mqtt};

/// What the daemon looks at while it runs.
#[derive(Clone, Copy)]
pub(super) struct Watched<'a> {
    pub(super) site: &'a Site,
    pub(super) store: &'a Store,
    pub(super) log: &'a logging::FilterHandle,
    pub(super) context: &'a api::Context,
    pub(super) mqtt: &'a watch::Sender<Arc<mqtt::Settings>>,
    pub(super) reached: &'a watch::Sender<Option<Arc<mqtt::Settings>>>,
    pub(super) tls: Option<&'a Tls>,
    pub(super) dir: &'a Path,
}

/// Carries out an order; true: the daemon ends.
pub(super) async fn obey(
    watched: Watched<'_>,
    settings: &mut settings::Settings,
    order: Order,
) -> bool {
    match order {
        Order::Show(reply) => drop(reply.send(Ok(settings.view()))),
        Order::Reload(reply) => {
            let done = reload(watched, settings).map(|()| settings.view());
            drop(reply.send(done));
        }
        Order::Change(change, reply) => {
            let stored = settings.store(change, watched.store).await;
            let done = stored.and_then(|()| reload(watched, settings));
            drop(reply.send(done.map(|()| settings.view())));
        }
        Order::Restart(reply) => {
            tracing::info!("asked to restart: stopping, the service manager begins anew");
            drop(reply.send(Ok(())));
            return true;
        }
    }
    false
}

/// A change on trial stands, or is taken back.
pub(super) async fn look_at_trial(
    watched: Watched<'_>,
    settings: &mut settings::Settings,
) -> Result<(), DaemonError> {
    let running = watched.mqtt.borrow().clone();
    let reached = settings::Reached {
        broker: watched.reached.borrow().as_ref() == Some(&running),
        caller: watched.context.gate.admitted(),
    };
    match settings.judge(reached, Instant::now()) {
        settings::Verdict::Goes => {}
        settings::Verdict::Stands => match settings.stands(watched.store).await {
            Ok(()) => tracing::info!("the changed settings proved themselves and stay"),
            Err(error) => tracing::error!("the changed settings stay on trial: {error}"),
        },
        settings::Verdict::Reverts => match settings.revert(watched.store).await {
            Ok(()) => {
                tracing::warn!("nobody was reached with the changed settings: they are taken back");
                let _ = reload(watched, settings);
                if !settings.waiting().is_empty() {
                    return Err(DaemonError::Reverted);
                }
            }
            Err(error) => tracing::error!("the changed settings cannot be taken back: {error}"),
        },
    }
    Ok(())
}

/// Atomically: a bad file changes nothing and every mistake in it is named.
pub(super) fn reload(
    watched: Watched<'_>,
    settings: &mut settings::Settings,
) -> Result<(), ControlError> {
    let Watched { site, log, .. } = watched;
    notify::reloading();
    let loaded = settings.read_again().map_err(DaemonError::Config);
    let done = match loaded.and_then(|loaded| Ok((catalogue(&loaded)?, loaded))) {
        Ok((catalogue, loaded)) => {
            let changes = config::changes(&settings.running, &loaded);
            if let Err(error) = log.set(&loaded.config.log.filter) {
                tracing::error!("log.filter {error}");
            }
            let listeners = site.settings().networks.own_listeners().to_vec();
            site.apply(site_settings(&loaded.config, listeners), catalogue);
            watched.context.gate.apply(server_settings(&loaded.config));
            reload_tls(watched, &loaded.config);
            let (live, later) = (changes.live.join(", "), changes.restart.join(", "));
            tracing::info!(live, at_next_start = later, "configuration reloaded");
            if !changes.is_empty() {
                site.tell(changed_event(&changes));
            }
            settings.running = loaded;
            let new = Arc::new(mqtt_settings(settings));
            watched.mqtt.send_if_modified(|running| {
                let differs = *running != new;
                *running = new;
                differs
            });
            Ok(())
        }
        Err(error) => {
            tracing::error!("the configuration is not reloaded, the old one stays:\n{error}");
            Err(ControlError::Unreadable(error.to_string()))
        }
    };
    notify::ready("configuration reloaded");
    done
}

/// The certificate is read again, changed settings or not: new connections get it, running ones
/// go on with theirs.
fn reload_tls(watched: Watched<'_>, config: &Config) {
    let Some(tls) = watched.tls else { return };
    let source = tls::Source::of(&config.server, watched.dir, &hostname());
    match tls.reload(source, now()) {
        Ok(true) => {
            let sha256 = tls.fingerprint().sha256;
            tracing::info!(sha256, "the API shows another certificate from now on");
            let own = watched
                .site
                .settings()
                .networks
                .own_listeners()
                .first()
                .copied();
            let address = own.unwrap_or(config.server.listen);
            tell_address(watched.dir, address, Some(tls));
        }
        Ok(false) => {}
        Err(error) => {
            tracing::error!("the API's certificate is not reloaded, the old one stays: {error}");
        }
    }
}

fn changed_event(changes: &config::Changes) -> Event {
    let mut keys = [changes.live.as_slice(), &changes.restart].concat();
    keys.extend(changes.manufacturers.then_some("manufacturer"));
    let message = format!("the configuration changed: {}", keys.join(", "));
    own_event(EventKind::ConfigChanged, message)
}
