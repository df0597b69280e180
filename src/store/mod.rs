//! The store: configuration, secrets, history and events in one file of the state directory. The
//! only module that names redb.
//!
//! One thread owns the database; [`Store`] is a handle to it. Every call is durable when it returns
//! `Ok`, waits at most [`Store::DEADLINE`] and never blocks the runtime.
//!
//! | file | |
//! | --- | --- |
//! | `ohmvision.redb` | everything; passwords sealed |
//! | `ohmvision.journal` | transitions since the last hour, see `journal` |
//! | `vault.key` | the key of the passwords, unless it comes from elsewhere |
//! | `vault.key-next` | its successor while a copied store gets an identity of its own |
//! | `ohmvision.lock` | held while a process uses the directory |
//! | `ohmvision.redb.backup-<unix>` | the configuration without history, the last two |
//! | `ohmvision.redb.v<schema>-<unix>` | the whole file before a migration |
//! | `ohmvision.redb.aside-<unix>` | set aside by `--new-store` |

mod error;
mod events;
mod file;
mod history;
mod identity;
mod journal;
mod outside;
mod pack;
mod records;
mod tables;
mod vault;
mod worker;

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redb::{ReadTransaction, WriteTransaction};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use error::StoreError;
pub use events::{EventFilter, EventPage, EventSource};
pub use history::Beat;
pub use identity::{Kept, reset_identity};
pub use outside::Outside;
pub use records::{BrakeRow, Loaded, TokenRow};

use self::error::Fault;
use self::file::StateDir;
use self::history::Retention;
use self::journal::{Entry, Journal};
use self::outside::Own;
use self::vault::{KeyFile, Vault};
use self::worker::{Record, Request, TakeIn, Worker, Write};
use crate::model::{Camera, CameraId, CameraSecrets, Event, HOUR_S, HourRollup, RawSample, Secret};
use crate::policy::uptime::Totals;

/// Requests that may wait for the thread.
const QUEUE: usize = 64;
const STACK_BYTES: usize = 256 * 1024;
/// Age of the newest backup before another is made: at the start, and while running when the
/// configuration changed.
const BACKUP_AGE_START_S: u64 = 24 * 3600;
const BACKUP_AGE_CHANGED_S: u64 = 3600;

/// How to open the store.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The state directory; made with mode 0700 when it is missing.
    pub dir: PathBuf,
    /// `security.vault_key_file`; else the systemd credential `ohmvision.vault-key`, else
    /// `vault.key` in the directory, made at the first start.
    pub vault_key_file: Option<PathBuf>,
    /// Set an existing store aside and start empty. The vault key stays.
    pub new_store: bool,
    pub raw_retention_h: u32,
    pub history_retention_d: u32,
    /// Size of the ring of events, and of the ring of what cameras reported.
    pub events_max: u32,
}

impl OpenOptions {
    /// The defaults of the configuration.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            vault_key_file: None,
            new_store: false,
            raw_retention_h: 24,
            history_retention_d: 30,
            events_max: 10_000,
        }
    }
}

/// A handle to the open store; clones share it. The store closes when the last one is dropped, or
/// in order with [`Store::close`].
#[derive(Clone)]
pub struct Store {
    queue: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    vault: Arc<Vault>,
    retention: Retention,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// What handles and thread share beside the queue.
struct Shared {
    progress: Mutex<Progress>,
    gone: CancellationToken,
}

struct Progress {
    unanswered: usize,
    last: Instant,
}

impl Shared {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn asked(&self) {
        let mut progress = self.progress();
        if progress.unanswered == 0 {
            progress.last = Instant::now();
        }
        progress.unanswered += 1;
    }

    fn done(&self, count: usize) {
        let mut progress = self.progress();
        progress.unanswered = progress.unanswered.saturating_sub(count);
        progress.last = Instant::now();
    }
}

impl Store {
    /// The longest that a call waits, queueing included.
    pub const DEADLINE: Duration = Duration::from_secs(60);

    /// Opens the store, verifies it and reads the records. Blocks for as long as reading the file
    /// takes; meant for the start, before the runtime.
    ///
    /// # Errors
    /// [`StoreError`]; nothing on disk was changed, except by `new_store`.
    pub fn open(options: OpenOptions) -> Result<(Store, Loaded), StoreError> {
        let dir = StateDir(options.dir);
        let lock = dir.lock()?;
        if options.new_store {
            dir.set_aside()?;
        }
        let key = KeyFile::choose(&dir.0, options.vault_key_file.as_deref());
        let (db, vault, first_start) = dir.open_or_create(&key)?;
        let (store_id, generation, sequence) =
            worker::read_marks(&db).map_err(|fault| dir.error(fault))?;
        let journal = Journal::open(&dir.journal(), store_id, generation)?;
        let newest = journal.pending.iter().filter_map(|entry| match entry {
            Entry::Event(sequence, _) | Entry::Observed(sequence, _) => Some(sequence + 1),
            Entry::State(..) => None,
        });
        let next_sequence = newest.fold(sequence, u64::max);
        let mut loaded =
            records::load(&db, &vault, first_start).map_err(|fault| dir.error(fault))?;
        overlay(&mut loaded.states, &journal.pending);

        let shared = Arc::new(Shared {
            progress: Mutex::new(Progress {
                unanswered: 0,
                last: Instant::now(),
            }),
            gone: CancellationToken::new(),
        });
        let mut worker = Worker {
            dir,
            lock,
            db: Some(db),
            journal,
            next_sequence,
            events_max: options.events_max,
            taken_in_hour: 0,
            backup_is_due: !first_start,
            shared: Arc::clone(&shared),
        };
        worker.back_up(BACKUP_AGE_START_S);
        let queue = start(worker)?;
        let store = Store {
            queue,
            shared,
            vault: Arc::new(vault),
            retention: Retention {
                raw_h: options.raw_retention_h,
                history_h: options.history_retention_d.saturating_mul(24),
            },
        };
        Ok((store, loaded))
    }

    /// Stores a new or changed camera with its secrets, all of them.
    pub async fn put_camera(
        &self,
        camera: &Camera,
        secrets: &CameraSecrets,
    ) -> Result<(), StoreError> {
        let key = (camera.id, camera.uid);
        let json = to_json(camera)?;
        let sealed = self.vault.seal(camera.uid, secrets);
        self.write(TakeIn::Leave, move |txn| {
            records::put_camera(txn, key, &json, sealed.as_deref())
        })
        .await
    }

    /// Deletes a camera, its secrets and its state; `channels` are recorded by it and stay on their own.
    /// Its history stays until it expires, and its id is not used again.
    pub async fn delete_camera(
        &self,
        id: CameraId,
        uid: uuid::Uuid,
        channels: Vec<Camera>,
    ) -> Result<(), StoreError> {
        let channels = channels
            .iter()
            .map(|camera| Ok((camera.id, to_json(camera)?)));
        let channels: Vec<(CameraId, Vec<u8>)> = channels.collect::<Result<_, StoreError>>()?;
        self.write(TakeIn::First, move |txn| {
            records::delete_camera(txn, id, uid, &channels)
        })
        .await
    }

    /// Stores states (JSON) and events that belong together. Calls that wait share one sync.
    pub async fn commit_transition(
        &self,
        states: Vec<(CameraId, Vec<u8>)>,
        events: Vec<Event>,
    ) -> Result<(), StoreError> {
        self.ask(|reply| {
            Request::Record(Record {
                states,
                events,
                reply,
            })
        })
        .await?
    }

    /// Stores and deletes rows of the host brake.
    pub async fn put_brake(
        &self,
        put: Vec<BrakeRow>,
        delete: Vec<String>,
    ) -> Result<(), StoreError> {
        self.write(TakeIn::Leave, move |txn| {
            records::put_brake(txn, &put, &delete)
        })
        .await
    }

    pub async fn put_token(&self, token: TokenRow) -> Result<(), StoreError> {
        self.write(TakeIn::Leave, move |txn| records::put_token(txn, &token))
            .await
    }

    pub async fn delete_token(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(TakeIn::Leave, move |txn| records::delete_token(txn, &id))
            .await
    }

    /// Replaces the stored settings.
    pub async fn put_settings(
        &self,
        settings: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), StoreError> {
        let json = to_json(settings)?;
        self.write(TakeIn::Leave, move |txn| {
            tables::put_meta(txn, tables::meta::SETTINGS, &json)
        })
        .await
    }

    /// The password for the broker; `None` forgets it.
    pub async fn put_broker_password(&self, password: Option<&Secret>) -> Result<(), StoreError> {
        self.put_own(Own::BrokerPassword, password).await
    }

    /// The key that secrets for this gateway are sealed for.
    pub async fn put_sealing_key(&self, key: &Secret) -> Result<(), StoreError> {
        self.put_own(Own::SealingKey, Some(key)).await
    }

    async fn put_own(&self, own: Own, secret: Option<&Secret>) -> Result<(), StoreError> {
        let sealed = outside::seal(&self.vault, own, secret);
        self.write(TakeIn::Leave, move |txn| {
            outside::put_secret(txn, own, sealed.as_deref())
        })
        .await
    }

    /// A change on trial (JSON) with the broker's password before it; `None`: there is none any more.
    pub async fn put_trial(
        &self,
        json: Option<Vec<u8>>,
        password_before: Option<&Secret>,
    ) -> Result<(), StoreError> {
        let own = Own::BrokerPasswordBefore;
        let sealed = outside::seal(&self.vault, own, password_before);
        self.write(TakeIn::Leave, move |txn| {
            outside::put_text(txn, tables::meta::TRIAL, json.as_deref())?;
            outside::put_secret(txn, own, sealed.as_deref())
        })
        .await
    }

    /// The last commands that were taken (JSON).
    pub async fn put_commands(&self, json: Vec<u8>) -> Result<(), StoreError> {
        self.write(TakeIn::Leave, move |txn| {
            tables::put_meta(txn, tables::meta::COMMANDS, &json)
        })
        .await
    }

    /// The operator's document, and what was taken of it (JSON).
    pub async fn put_desired(&self, json: Vec<u8>) -> Result<(), StoreError> {
        self.write(TakeIn::Leave, move |txn| {
            tables::put_meta(txn, tables::meta::DESIRED, &json)
        })
        .await
    }

    /// The same store, with another time that history is kept.
    pub fn with_retention(mut self, raw_h: u32, history_d: u32) -> Self {
        self.retention = Retention {
            raw_h,
            history_h: history_d.saturating_mul(24),
        };
        self
    }

    /// Writes one beat and deletes what has expired, in one commit. Copies the
    /// configuration when it changed.
    pub async fn checkpoint(&self, beat: Beat) -> Result<(), StoreError> {
        let retention = self.retention;
        let hour = u32::try_from(beat.at.unix_s()).unwrap_or(0) / HOUR_S;
        let take_in = TakeIn::Beat {
            hour,
            // The journal may hold older states of the same cameras.
            first: !beat.states.is_empty(),
        };
        self.write(take_in, move |txn| {
            history::write_beat(txn, &beat, retention)
        })
        .await?;
        self.ask(|reply| {
            Request::Read(Box::new(move |worker| {
                worker.back_up(BACKUP_AGE_CHANGED_S);
                let _ = reply.send(());
            }))
        })
        .await
    }

    /// One camera's roll-ups by unix hour, oldest first; hours without one are left out.
    pub async fn rollups(
        &self,
        camera: CameraId,
        hours: Range<u32>,
    ) -> Result<Vec<(u32, HourRollup)>, StoreError> {
        self.read(move |txn, _| history::rollups(txn, camera, hours))
            .await
    }

    /// Every camera's sum over `hours` (unix hours), in one scan.
    pub async fn all_rollups_sum(
        &self,
        hours: Range<u32>,
    ) -> Result<HashMap<CameraId, Totals>, StoreError> {
        self.read(move |txn, _| history::sums(txn, hours)).await
    }

    /// Every camera's roll-up of one hour (unix hours).
    pub async fn hour(&self, hour: u32) -> Result<Vec<(CameraId, HourRollup)>, StoreError> {
        self.read(move |txn, _| history::hour(txn, hour)).await
    }

    /// A key of its own, derived from the vault's, for recognising logins without keeping them.
    pub fn fingerprint_key(&self) -> ring::hmac::Key {
        self.vault.fingerprint_key()
    }

    /// One camera's samples with a time in `times` (unix seconds).
    pub async fn raw(
        &self,
        camera: CameraId,
        times: Range<u32>,
    ) -> Result<Vec<RawSample>, StoreError> {
        self.read(move |txn, _| history::samples(txn, camera, times))
            .await
    }

    /// One page of events.
    pub async fn events(&self, filter: EventFilter) -> Result<EventPage, StoreError> {
        self.read(move |txn, pending| events::list(txn, pending, &filter))
            .await
    }

    /// Events behind the one with this sequence number, oldest first, each with its own; at most
    /// `limit`.
    pub async fn events_behind(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        self.read(move |txn, pending| events::behind(txn, pending, after, limit))
            .await
    }

    /// Sequence number of the newest event; 0 before the first.
    pub async fn newest_event(&self) -> Result<u64, StoreError> {
        self.ask(|reply| {
            Request::Read(Box::new(move |worker| {
                let _ = reply.send(worker.next_sequence.saturating_sub(1));
            }))
        })
        .await
    }

    /// What was published for good on a broker, as [`Self::put_published`] left it.
    pub async fn published(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|txn, _| {
            let table = txn.open_table(tables::META)?;
            let row = table.get(tables::meta::PUBLISHED)?;
            Ok(row.map(|row| row.value().to_vec()))
        })
        .await
    }

    /// Remembers what is published for good on a broker (JSON), so that it can be taken away.
    pub async fn put_published(&self, json: Vec<u8>) -> Result<(), StoreError> {
        self.write(TakeIn::Leave, move |txn| {
            tables::put_meta(txn, tables::meta::PUBLISHED, &json)
        })
        .await
    }

    /// When the thread last finished something, or now while nothing waits for it: the watchdog's
    /// progress mark.
    pub fn last_progress(&self) -> Instant {
        let progress = self.shared.progress();
        match progress.unanswered {
            0 => Instant::now(),
            _ => progress.last,
        }
    }

    /// Ends when the thread has ended: after [`Self::close`], or because it panicked.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        self.shared.gone.clone().cancelled_owned()
    }

    /// Finishes what waits, writes the journal into the tables and closes the file. Every call after
    /// that gives [`StoreError::Gone`].
    pub async fn close(&self) -> Result<(), StoreError> {
        self.ask(Request::Close).await?
    }

    async fn write(
        &self,
        take_in: TakeIn,
        apply: impl FnOnce(&WriteTransaction) -> Result<(), Fault> + Send + 'static,
    ) -> Result<(), StoreError> {
        let apply = Box::new(apply);
        let is_configuration = !matches!(take_in, TakeIn::Beat { .. });
        self.ask(|reply| {
            Request::Write(Write {
                apply,
                take_in,
                is_configuration,
                reply,
            })
        })
        .await?
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadTransaction, &[Entry]) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(|reply| {
            Request::Read(Box::new(move |worker| {
                let _ = reply.send(worker.view(read));
            }))
        })
        .await?
    }

    /// Sends a request and waits for its answer.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            let permit = self.queue.reserve().await.map_err(|_| StoreError::Gone)?;
            self.shared.asked();
            permit.send(request(reply));
            answer.await.map_err(|_| StoreError::Gone)
        };
        let late = StoreError::Timeout {
            limit_s: Self::DEADLINE.as_secs(),
        };
        tokio::time::timeout(Self::DEADLINE, exchange)
            .await
            .unwrap_or(Err(late))
    }
}

fn start(worker: Worker) -> Result<mpsc::Sender<Request>, StoreError> {
    let (queue, requests) = mpsc::channel(QUEUE);
    let dir = worker.dir.0.clone();
    let gone = worker.shared.gone.clone().drop_guard();
    std::thread::Builder::new()
        .name("store".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _gone = gone;
            worker.run(requests);
        })
        .map_err(|e| StoreError::io(&dir, &e))?;
    Ok(queue)
}

/// The states as they will be once the journal is taken in.
fn overlay(states: &mut Vec<(CameraId, Vec<u8>)>, pending: &[Entry]) {
    for entry in pending {
        let Entry::State(camera, json) = entry else {
            continue;
        };
        match states.iter_mut().find(|(id, _)| id == camera) {
            Some((_, state)) => state.clone_from(json),
            None => states.push((*camera, json.clone())),
        }
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|e| StoreError::Io {
        path: PathBuf::from("ohmvision.redb"),
        detail: format!("cannot be written as JSON: {e}"),
    })
}

#[cfg(test)]
mod tests;
