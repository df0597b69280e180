//! The host brake: all that goes to one host passes here, whatever the protocol. It holds the number
//! of sessions down and asks the ledger before any login is sent.

mod control;
mod onvif;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Semaphore, mpsc};

use crate::model::{AuthUse, ErrorCode, ProbeError, Scheme, Stage};
use crate::policy::ledger::{Fingerprint, Ledger, Permit, Realm};
use crate::probe::{self, Attempt, Depth, Target};
use crate::store::BrakeRow;

pub use crate::probe::wall_time as now;

/// Probes of one host at a time: cheap cameras have two to four session slots, and people need some.
const SESSIONS_PER_HOST: usize = 2;

/// Why a probe runs, for the lock-out guard.
#[derive(Debug, Clone, Copy)]
pub struct Errand {
    /// The maker is known to lock accounts after failed logins.
    pub locks: bool,
    /// An operator asks for it now.
    pub by_hand: bool,
}

/// Shared by detection, checks and everything else that dials a device.
#[derive(Debug)]
pub struct Brake {
    ledger: Mutex<Ledger>,
    key: ring::hmac::Key,
    hosts: Mutex<HashMap<String, Weak<Host>>>,
    /// What changed, for the store; `None` for one-shot commands.
    updates: Option<mpsc::Sender<BrakeRow>>,
}

/// What one host can bear.
#[derive(Debug)]
struct Host {
    sessions: Semaphore,
    /// Orders to motors, one at a time: they do not wait for pictures.
    orders: Semaphore,
    /// Held while a login is sent that was not accepted before.
    unproven_login: tokio::sync::Mutex<()>,
}

impl Brake {
    pub fn new(
        ledger: Ledger,
        key: ring::hmac::Key,
        updates: Option<mpsc::Sender<BrakeRow>>,
    ) -> Self {
        Self {
            ledger: Mutex::new(ledger),
            key,
            hosts: Mutex::new(HashMap::new()),
            updates,
        }
    }

    /// For a one-shot command: nothing is remembered after it.
    pub fn for_one_run() -> Self {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, uuid::Uuid::now_v7().as_bytes());
        Self::new(Ledger::default(), key, None)
    }

    /// May this target's login be sent now?
    pub fn permit(&self, target: &Target, errand: Errand) -> Option<Permit> {
        let login = self.fingerprint(target)?;
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        Some(ledger.permit(
            host_key(target),
            realm(target),
            login,
            now(),
            errand.locks,
            errand.by_hand,
        ))
    }

    /// Which login this target sends, and how.
    fn fingerprint(&self, target: &Target) -> Option<Fingerprint> {
        let login = target.login_of_url()?;
        Some(match realm(target) {
            Realm::Onvif if target.onvif.wsse_text => {
                Fingerprint::by_another_mechanism(&self.key, login, "wsse_text")
            }
            _ => Fingerprint::new(&self.key, login),
        })
    }

    /// Runs one probe within the host's budget; one for the pictures of an `onvif://` URL goes on to the
    /// stream that the device names. Where the login may not be sent, the probe goes without it, and
    /// an `auth_required` then tells why.
    pub async fn run(&self, target: Target, errand: Errand) -> Attempt {
        match (realm(&target), target.depth) {
            (Realm::Onvif, Depth::Frame | Depth::Window) => self.run_stream(target, errand).await,
            (Realm::Onvif, _) => self.run_onvif(target, errand).await,
            (Realm::Device, _) => self.run_one(target, errand).await,
        }
    }

    async fn run_one(&self, mut target: Target, errand: Errand) -> Attempt {
        let host = self.host(&target);
        let Ok(_session) = host.sessions.acquire().await else {
            return refused_unsent(ErrorCode::Internal, "the gateway is stopping");
        };
        let Some(login) = self.fingerprint(&target) else {
            return probe::run(&target).await;
        };
        let mut permit = self.permit(&target, errand);
        let mut _only_one = None;
        if permit == Some(Permit::Once) {
            _only_one = Some(host.unproven_login.lock().await);
            // Another probe may have had its verdict while this one waited.
            permit = self.permit(&target, errand);
        }
        match permit {
            Some(Permit::Known | Permit::Once) => {
                let attempt = probe::run(&target).await;
                self.record(&target, login, attempt.auth);
                attempt
            }
            denied => {
                let why = denial(host_key(&target), denied);
                if target.url.has_placeholders() {
                    return refused_unsent(ErrorCode::AuthFailed, why);
                }
                target.login = None;
                target.onvif.login = None;
                let mut attempt = probe::run(&target).await;
                if let Err(error) = &mut attempt.result
                    && error.code == ErrorCode::AuthRequired
                {
                    *error = ProbeError::new(ErrorCode::AuthFailed, Stage::Authenticate, why);
                }
                attempt
            }
        }
    }

    fn record(&self, target: &Target, login: Fingerprint, used: AuthUse) {
        let (host, realm) = (host_key(target), realm(target));
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if !ledger.record(host, realm, login, used, now()) {
            return;
        }
        if let Some(updates) = &self.updates {
            let (key, json) = ledger.export(host, realm);
            let update = BrakeRow { key, json };
            if updates.try_send(update).is_err() {
                tracing::warn!(
                    host,
                    "the store is behind: what became of a login is kept in memory only"
                );
            }
        }
    }

    fn host(&self, target: &Target) -> Arc<Host> {
        let key = host_key(target);
        // A camera on this machine has one session, and our own must not be in our way.
        let sessions = match target.url.scheme.is_local() {
            true => 1,
            false => SESSIONS_PER_HOST,
        };
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(key).and_then(Weak::upgrade) {
            return host;
        }
        hosts.retain(|_, host| host.strong_count() > 0);
        let host = Arc::new(Host {
            sessions: Semaphore::new(sessions),
            orders: Semaphore::new(1),
            unproven_login: tokio::sync::Mutex::new(()),
        });
        hosts.insert(key.to_owned(), Arc::downgrade(&host));
        host
    }
}

/// The account list that this target's login is checked against.
fn realm(target: &Target) -> Realm {
    match target.url.scheme {
        Scheme::Onvif => Realm::Onvif,
        _ => Realm::Device,
    }
}

/// The host without its zone: ports share one account list. What is on this machine has no host: it is
/// its own.
fn host_key(target: &Target) -> &str {
    if target.url.scheme.is_local() {
        return &target.url.path;
    }
    target.url.host.split('%').next().unwrap_or_default()
}

fn denial(host: &str, permit: Option<Permit>) -> String {
    match permit {
        Some(Permit::Refused { at }) => {
            format!("{host} refused this login at {at}; it is not sent again until it is changed")
        }
        Some(Permit::Wait { until }) => format!(
            "enough logins were tried on {host} for now; the next may be sent after {until}, so that the account is not locked"
        ),
        _ => format!("no login is sent to {host}"),
    }
}

/// An attempt that sent nothing.
fn refused_unsent(code: ErrorCode, message: impl Into<String>) -> Attempt {
    Attempt::not_made(ProbeError::new(code, Stage::Authenticate, message))
}
