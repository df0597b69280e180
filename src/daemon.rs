//! The composition root: opens, wires, serves, drains. The one file that knows every part.

mod derive;
mod orders;
mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::api::tls::{self, Tls, TlsError};
use crate::api::webhooks::Door;
use crate::brake::{Brake, now};
use crate::config::{Config, ConfigErrors};
use crate::control::{Control, Order};
use crate::exit::Exit;
use crate::model::{Event, EventKind, HourRollup, Secret};
use crate::policy::ledger::Ledger;
use crate::policy::lifecycle::Watch;
use crate::policy::uptime::Accumulator;
use crate::probe::Gate;
use crate::site::{Entry, Parts, Scope, Site, Wake, current_hour};
use crate::store::{BrakeRow, Loaded, OpenOptions, Store, StoreError, TokenRow};
use crate::supervise::{Restarts, keep_running, log_panics};
use crate::sys::signals::{Signalled, Signals};
use crate::sys::{notify, paths, process, token, watchdog};
use crate::vendor::Catalogue;
use crate::{logging, monitor, mqtt};

pub(crate) use derive::catalogue;
use derive::{hostname, mqtt_settings, seconds, server_settings, site_settings};
use orders::{Watched, look_at_trial, obey, reload};

/// From the signal to the exit.
const DRAIN: Duration = Duration::from_secs(5);
/// Of that, for requests and checks that run.
const FINISH: Duration = Duration::from_secs(2);
/// The monitor's loop must show itself within this.
const SCHEDULER_DEADLINE: Duration = Duration::from_secs(10);
/// The store must finish what it does within this.
const STORE_DEADLINE: Duration = Duration::from_secs(60);
/// How often the store's progress is looked at.
const STORE_LOOK: Duration = Duration::from_secs(5);
/// Cameras that push at the same time; further ones wait in the kernel's queue.
const CAMERA_CONNECTIONS_MAX: usize = 32;
/// Plans that may wait for the monitor.
const WAKES_MAX: usize = 1024;
/// How often a change on trial is looked at.
const TRIAL_LOOK: Duration = Duration::from_secs(1);
/// Ledger rows that may wait for the store.
const BRAKE_UPDATES_MAX: usize = 256;

/// What the command line says about a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub config: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub state_dir: Option<PathBuf>,
    pub new_store: bool,
}

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error("{0}")]
    Catalogue(String),
    #[error("{0}")]
    State(#[from] paths::PathError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error(
        "cannot listen on {address}: {source}; is another ohmvision running? Choose another address with --listen or server.listen"
    )]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot write {path}: {source}")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot catch signals: {0}")]
    Signals(std::io::Error),
    #[error("log.filter {0}")]
    Log(String),
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("the system gives no random numbers: a key cannot be made")]
    Random,
    #[error("a change of the settings was taken back, and a restart makes what was before it hold")]
    Reverted,
    #[error("a part of the daemon broke off (see the log before this line); a restart helps")]
    PartEnded,
}

impl DaemonError {
    /// The exit code that tells this apart.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Catalogue(_) | Self::Log(_) => Exit::Config,
            Self::State(_) | Self::Write { .. } | Self::Tls(TlsError::Write { .. }) => {
                Exit::CannotCreate
            }
            Self::Tls(TlsError::Make(_)) => Exit::Unavailable,
            Self::Tls(_) => Exit::Config,
            Self::Store(
                StoreError::Newer { .. } | StoreError::Corrupt { .. } | StoreError::VaultKey { .. },
            ) => Exit::CorruptStore,
            Self::Store(StoreError::InUse { .. }) | Self::Reverted => Exit::Temporary,
            Self::Random
            | Self::Store(_)
            | Self::Listen { .. }
            | Self::Signals(_)
            | Self::PartEnded => Exit::Unavailable,
        }
    }
}

/// One thread does everything; the blocking pool is for name look-ups.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(256 * 1024)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
}

/// Runs until a signal ends it. `say` prints what the operator must see at start.
pub async fn run(options: Options, say: impl Fn(&str)) -> Result<(), DaemonError> {
    process::harden();
    let mut signals = Signals::new().map_err(DaemonError::Signals)?;
    let first = settings::load(&options, serde_json::Map::new())?.config;
    let log = logging::start_daemon(&first.log.filter).map_err(DaemonError::Log)?;
    log_panics();
    let dir = paths::state_dir(options.state_dir.as_deref())?;
    let (store, mut loaded) = Store::open(OpenOptions {
        vault_key_file: first.security.vault_key_file.clone(),
        new_store: options.new_store,
        ..OpenOptions::new(&dir)
    })?;
    let sealing = sealing_key(&store, loaded.outside.sealing_key.take()).await?;
    let remembered = loaded.outside.commands.take();
    let desired = loaded.outside.desired.take();
    let mut settings = stored_settings(&options, &mut loaded, &log)?;
    let config = settings.running.config.clone();
    let store = store.with_retention(
        seconds(config.storage.raw_retention) / 3600,
        seconds(config.storage.history_retention) / 86_400,
    );
    let catalogue = catalogue(&settings.running)?;
    let listener = bind(config.server.listen).await?;
    let address = listener.local_addr().unwrap_or(config.server.listen);
    let cameras_listener = match config.webhooks.listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let pushed_to = cameras_listener.as_ref().and_then(|l| l.local_addr().ok());
    let listeners = [Some(address), pushed_to].into_iter().flatten().collect();
    let tls = open_tls(&config, &dir)?;
    tell_address(&dir, address, tls.as_deref());
    let tokens = first_token(&dir, &loaded, &store, &say).await?;

    let stop = CancellationToken::new();
    let (wake, wakes) = mpsc::channel(WAKES_MAX);
    let (brake_updates, brake_rows) = mpsc::channel(BRAKE_UPDATES_MAX);
    let site = build_site(
        &config,
        &loaded,
        catalogue,
        listeners,
        store.clone(),
        tokens,
        (wake, brake_updates),
        &stop,
    );
    let (cameras, gateway) = (loaded.cameras.len(), loaded.gateway_id.clone());
    restore(&site, loaded, &store).await?;

    let marks = watchdog::Marks::new();
    let scheduler = marks.add("scheduler", SCHEDULER_DEADLINE);
    let writer = marks.add("store", STORE_DEADLINE);
    let (control, orders) = Control::new();
    let context = Arc::new(api::Context {
        door: match pushed_to {
            Some(address) => Door::new(address, false),
            None => Door::new(address, tls.is_some()),
        },
        ..api::Context::new(site.clone(), control, server_settings(&config))
    });
    let reached = watch::Sender::new(None);
    let (mqtt_settings, reporter, reconciler) = {
        let (change, settings) = watch::channel(Arc::new(mqtt_settings(&settings)));
        let commands = mqtt::commands::Commands::new(
            context.clone(),
            gateway.clone(),
            sealing,
            remembered.as_deref(),
        );
        let desired = mqtt::desired::Reconciler::new(commands.clone(), desired.as_deref());
        let reporter = mqtt::Reporter::new(mqtt::Parts {
            site: site.clone(),
            commands,
            desired: desired.clone(),
            gateway: gateway.clone(),
            state_dir: dir.clone(),
            settings,
            reached: reached.clone(),
            mark: marks.add("mqtt", mqtt::DEADLINE),
            stop: stop.clone(),
        });
        (change, reporter, desired)
    };
    let mut parts = JoinSet::new();
    parts.spawn(monitor::run(site.clone(), wakes, scheduler, stop.clone()));
    parts.spawn(keep_brake(store.clone(), brake_rows, stop.clone()));
    if let Some(listener) = cameras_listener {
        let (context, stop) = (context.clone(), stop.clone());
        let limits = api::listen::Limits {
            connections_max: CAMERA_CONNECTIONS_MAX,
            ..api::listen::Limits::default()
        };
        parts.spawn(api::run_webhooks(context, listener, limits, stop));
    }
    parts.spawn(kept("reports", stop.clone(), {
        let site = site.clone();
        move || site.clone().end_reports()
    }));
    parts.spawn(api::run(
        context.clone(),
        listener,
        tls.clone(),
        api::listen::Limits::default(),
        stop.clone(),
    ));
    parts.spawn(kept("transitions", stop.clone(), {
        let site = site.clone();
        move || site.clone().commit_transitions()
    }));
    parts.spawn(kept("mqtt", stop.clone(), move || reporter.clone().run()));
    parts.spawn(kept("desired", stop.clone(), {
        let stop = stop.clone();
        move || reconciler.clone().run(stop.clone())
    }));
    parts.spawn(kept("network", stop.clone(), {
        let site = site.clone();
        move || site.clone().watch_network()
    }));
    parts.spawn(kept("usb", stop.clone(), {
        let site = site.clone();
        move || site.clone().watch_usb()
    }));
    parts.spawn(kept("subscriptions", stop.clone(), {
        let site = site.clone();
        move || site.clone().keep_subscriptions()
    }));
    parts.spawn(kept("store mark", stop.clone(), {
        let (store, stop) = (store.clone(), stop.clone());
        move || watch_store(store.clone(), writer.clone(), stop.clone())
    }));
    parts.spawn(kept("watchdog", stop.clone(), {
        let stop = stop.clone();
        move || watchdog::feed(marks.clone(), stop.clone())
    }));

    if let Some(address) = pushed_to {
        tracing::info!("cameras push to {address}");
    }
    site.set_ready();
    site.tell(started_event(&gateway));
    tracing::info!(gateway, "ready: {cameras} cameras, API on {address}");
    say(&format!(
        "ohmvision {} listens on {}",
        env!("CARGO_PKG_VERSION"),
        tls::url(address, tls.as_deref())
    ));
    if let Some(tls) = &tls {
        say_fingerprint(tls, &say);
    }
    notify::ready(&format!("{cameras} cameras, API on {address}"));

    let watch = Watched {
        site: &site,
        store: &store,
        log: &log,
        context: &context,
        mqtt: &mqtt_settings,
        reached: &reached,
        tls: tls.as_deref(),
        dir: &dir,
    };
    let ended = until_end(&mut signals, watch, &mut settings, orders, &mut parts).await;
    drain(&site, &store, &stop, parts, &mut signals).await;
    ended
}

/// Waits for the end, carrying out orders and reloads on the way.
async fn until_end(
    signals: &mut Signals,
    watched: Watched<'_>,
    settings: &mut settings::Settings,
    mut orders: mpsc::Receiver<Order>,
    parts: &mut JoinSet<()>,
) -> Result<(), DaemonError> {
    // Not a pause that begins anew with each order: a client that asks all the time must not keep a
    // change on trial for ever.
    let mut look = tokio::time::interval(TRIAL_LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(order) = orders.recv() => {
                if obey(watched, settings, order).await {
                    return Ok(());
                }
            }
            _ = look.tick(), if settings.is_on_trial() => {
                look_at_trial(watched, settings).await?;
            }
            signal = signals.next() => match signal {
                Signalled::End(name) => {
                    tracing::info!(signal = name, "stopping");
                    return Ok(());
                }
                Signalled::Reload => {
                    // Told in the log.
                    let _ = reload(watched, settings);
                }
            },
            // All of these run until they are told to stop: an early end is a fault, and the service
            // manager brings back a whole daemon better than we a half one.
            () = watched.store.gone() => return Err(DaemonError::PartEnded),
            _ = parts.join_next() => return Err(DaemonError::PartEnded),
        }
    }
}

async fn drain(
    site: &Arc<Site>,
    store: &Store,
    stop: &CancellationToken,
    mut parts: JoinSet<()>,
    signals: &mut Signals,
) {
    notify::stopping();
    let work = async {
        stop.cancel();
        site.tasks().close();
        let running = async {
            site.tasks().wait().await;
            while parts.join_next().await.is_some() {}
        };
        if tokio::time::timeout(FINISH, running).await.is_err() {
            tracing::info!("some checks or requests were still running and are cut off");
        }
        if let Err(error) = site.flush_events().await {
            tracing::error!("the last transitions could not be stored: {error}");
        }
        if let Err(error) = site.beat(true).await {
            tracing::error!("the last figures could not be stored: {error}");
        }
        if let Err(error) = store.close().await {
            tracing::error!("the store did not close in order: {error}");
        }
    };
    tokio::select! {
        ended = tokio::time::timeout(DRAIN, work) => {
            if ended.is_err() {
                tracing::warn!("the store did not finish within {} s", DRAIN.as_secs());
            }
        }
        name = signals.end() => tracing::warn!(signal = name, "second signal: leaving at once"),
    }
    tracing::info!("stopped");
}

/// The configuration with what was stored of it.
fn stored_settings(
    options: &Options,
    loaded: &mut Loaded,
    log: &logging::FilterHandle,
) -> Result<settings::Settings, DaemonError> {
    let outside = std::mem::take(&mut loaded.outside);
    let stored = std::mem::take(&mut loaded.settings);
    let mut settings = settings::Settings::new(
        loaded.gateway_id.clone(),
        options.clone(),
        stored,
        outside.broker_password,
    )?;
    settings.resume(outside.trial, outside.broker_password_before);
    for wrong in &settings.running.set_aside {
        tracing::warn!("a stored setting is left out: {wrong}");
    }
    log.set(&settings.running.config.log.filter)
        .map_err(DaemonError::Log)?;
    Ok(settings)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, DaemonError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| DaemonError::Listen { address, source })
}

/// The tokens in force; at the first start one is made and written where only the owner reads it.
async fn first_token(
    dir: &Path,
    loaded: &Loaded,
    store: &Store,
    say: &impl Fn(&str),
) -> Result<Vec<TokenRow>, DaemonError> {
    if !loaded.tokens.is_empty() {
        return Ok(loaded.tokens.clone());
    }
    let path = dir.join("admin.token");
    let failed = |source| DaemonError::Write {
        path: path.clone(),
        source,
    };
    let (text, sha256) = token::make().map_err(failed)?;
    token::write(&path, &text).map_err(failed)?;
    let row = TokenRow {
        id: uuid::Uuid::now_v7().to_string(),
        name: "admin".to_owned(),
        scope: Scope::Admin.as_str().to_owned(),
        sha256,
        created_at: now(),
        expires_at: None,
        last_used_at: None,
    };
    store.put_token(row.clone()).await?;
    say(&format!(
        "the admin token is in {} (readable by its owner only)",
        path.display()
    ));
    Ok(vec![row])
}

#[expect(
    clippy::too_many_arguments,
    reason = "the one place where all parts meet"
)]
fn build_site(
    config: &Config,
    loaded: &Loaded,
    catalogue: Arc<Catalogue>,
    listeners: Vec<SocketAddr>,
    store: Store,
    tokens: Vec<TokenRow>,
    (wake, brake_updates): (mpsc::Sender<Wake>, mpsc::Sender<BrakeRow>),
    stop: &CancellationToken,
) -> Arc<Site> {
    let mut ledger = Ledger::default();
    for row in &loaded.brake {
        ledger.import(&row.key, &row.json);
    }
    let brake = Brake::new(ledger, store.fingerprint_key(), Some(brake_updates));
    Site::new(Parts {
        settings: site_settings(config, listeners),
        catalogue,
        brake: Arc::new(brake),
        gate: Arc::new(Gate::new(config.health.concurrent_max as usize)),
        next_camera_id: loaded.next_camera_id.0,
        reported: loaded.reported,
        store,
        tokens,
        wake,
        stop: stop.clone(),
    })
}

/// Cameras come back with their state, the running hour and thirty days of figures.
async fn restore(site: &Site, loaded: Loaded, store: &Store) -> Result<(), DaemonError> {
    let hour = current_hour(now());
    let running: std::collections::BTreeMap<_, HourRollup> =
        store.hour(hour).await?.into_iter().collect();
    let mut states: std::collections::BTreeMap<_, _> = loaded.states.into_iter().collect();
    let entry = |(camera, secrets): (crate::model::Camera, crate::model::CameraSecrets)| {
        let id = camera.id;
        let mut entry = Entry::new(camera, secrets);
        if let Some(mut watch) = states
            .remove(&id)
            .and_then(|json| serde_json::from_slice::<Watch>(&json).ok())
        {
            watch.resumed(now());
            entry.watch = watch;
        }
        if let Some(rollup) = running.get(&id) {
            entry.figures = Accumulator::resume(hour, *rollup);
        }
        entry
    };
    site.restore(loaded.cameras.into_iter().map(entry).collect());
    site.refresh_month().await?;
    Ok(())
}

/// The key that secrets are sealed for; made at the first start.
async fn sealing_key(
    store: &Store,
    stored: Option<Secret>,
) -> Result<mqtt::sealed::SealingKey, DaemonError> {
    use mqtt::sealed::SealingKey;
    if let Some(key) = stored.as_ref().and_then(SealingKey::of) {
        return Ok(key);
    }
    let key = SealingKey::make().ok_or(DaemonError::Random)?;
    store.put_sealing_key(&key.to_secret()).await?;
    Ok(key)
}

/// The API's certificate, where the configuration wants one.
fn open_tls(config: &Config, dir: &Path) -> Result<Option<Arc<Tls>>, TlsError> {
    let source = tls::Source::of(&config.server, dir, &hostname());
    let open = |source| Tls::open(source, now()).map(Arc::new);
    source.map(open).transpose()
}

/// For the commands that ask a daemon of this machine: its address; under TLS with scheme, and the
/// certificate's fingerprint in a second line. Cameras are watched without it too.
fn tell_address(dir: &Path, address: SocketAddr, tls: Option<&Tls>) {
    let text = match tls {
        None => address.to_string(),
        Some(tls) => format!("https://{address}\n{}", tls.fingerprint().sha256),
    };
    let path = dir.join("api.addr");
    if let Err(error) = paths::replace(&path, &text) {
        tracing::error!(
            "commands on this machine do not find the API by themselves (--server names it): cannot write {}: {error}",
            path.display()
        );
    }
}

fn say_fingerprint(tls: &Tls, say: &impl Fn(&str)) {
    let shown = tls.fingerprint();
    say(&format!(
        "its certificate has the SHA-256 fingerprint {}",
        shown.sha256
    ));
    if tls.is_own() {
        say(&format!(
            "curl trusts it with: -k --pinnedpubkey \"{}\"",
            shown.pin
        ));
    }
}

/// What becomes of logins is kept over restarts.
async fn keep_brake(store: Store, mut rows: mpsc::Receiver<BrakeRow>, stop: CancellationToken) {
    loop {
        let update = tokio::select! {
            update = rows.recv() => update,
            () = stop.cancelled() => rows.try_recv().ok(),
        };
        let Some(row) = update else { return };
        if let Err(error) = store.put_brake(vec![row], Vec::new()).await {
            tracing::error!("what became of a login is kept in memory only: {error}");
        }
    }
}

/// A part that may be begun anew after a fault; when that does not help, it ends, and with it the
/// daemon.
async fn kept<F>(name: &'static str, stop: CancellationToken, work: impl Fn() -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let run = move || {
        let part = work();
        async move {
            part.await;
            Ok::<(), std::convert::Infallible>(())
        }
    };
    if let Err(gave_up) = keep_running(name, Restarts::default(), stop, run).await {
        tracing::error!("{gave_up}");
    }
}

/// Touches the store's mark as long as it gets on with its work.
async fn watch_store(store: Store, mark: watchdog::Mark, stop: CancellationToken) {
    loop {
        if store.last_progress().elapsed() < STORE_LOOK {
            mark.touch();
        }
        tokio::select! {
            () = tokio::time::sleep(STORE_LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn started_event(gateway: &str) -> Event {
    let message = format!("{gateway} started, version {}", env!("CARGO_PKG_VERSION"));
    own_event(EventKind::Started, message)
}

/// An event of the gateway itself.
fn own_event(kind: EventKind, message: String) -> Event {
    Event {
        id: uuid::Uuid::now_v7(),
        time: now(),
        kind,
        camera_id: None,
        camera_name: None,
        cause: None,
        duration_s: None,
        message,
        detail: None,
    }
}
