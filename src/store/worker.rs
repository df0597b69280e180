//! The one thread that owns the database. It takes what waits in its queue together: one commit or
//! one sync for all of it.

use std::fs::File;
use std::sync::Arc;

use redb::{Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::error::{Fault, StoreError};
use super::events;
use super::file::StateDir;
use super::journal::{Entry, Journal};
use super::tables::{self, META, event_row, meta};
use crate::model::{CameraId, Event};

/// Requests that share one commit at most.
const GROUP_MAX: usize = 64;

pub(super) type Reply = oneshot::Sender<Result<(), StoreError>>;

/// Work inside one write transaction.
pub(super) type Apply = Box<dyn FnOnce(&WriteTransaction) -> Result<(), Fault> + Send>;

pub(super) enum Request {
    Write(Write),
    Record(Record),
    /// Carries its own reply.
    Read(Box<dyn FnOnce(&mut Worker) + Send>),
    Close(Reply),
}

pub(super) struct Write {
    pub apply: Apply,
    /// Whether the journal has to be taken in first, because both touch the same rows.
    pub take_in: TakeIn,
    /// Worth a new backup.
    pub is_configuration: bool,
    pub reply: Reply,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TakeIn {
    Leave,
    First,
    /// In a beat once an hour is enough, unless the beat touches the same rows itself: each time
    /// costs about 25 pages.
    Beat {
        hour: u32,
        first: bool,
    },
}

/// A transition: states and events that belong together.
pub(super) struct Record {
    pub states: Vec<(CameraId, Vec<u8>)>,
    pub events: Vec<Event>,
    pub reply: Reply,
}

pub(super) struct Worker {
    pub dir: StateDir,
    /// Held until the thread ends.
    pub lock: File,
    /// `None` after an I/O error, until it could be opened again.
    pub db: Option<Database>,
    pub journal: Journal,
    pub next_sequence: u64,
    pub events_max: u32,
    pub taken_in_hour: u32,
    /// The configuration may have changed since the last backup.
    pub backup_is_due: bool,
    pub shared: Arc<Shared>,
}

impl Worker {
    /// Runs until it is told to close or every handle is gone.
    pub fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut waiting = Vec::new();
        while queue.blocking_recv_many(&mut waiting, GROUP_MAX) > 0 {
            let mut group = waiting.drain(..).peekable();
            while let Some(request) = group.next() {
                match request {
                    Request::Write(first) => {
                        let more = std::iter::from_fn(|| {
                            match group.next_if(|r| matches!(r, Request::Write(_)))? {
                                Request::Write(write) => Some(write),
                                _ => None,
                            }
                        });
                        let writes: Vec<_> = std::iter::once(first).chain(more).collect();
                        self.write(writes);
                    }
                    Request::Record(first) => {
                        let more = std::iter::from_fn(|| {
                            match group.next_if(|r| matches!(r, Request::Record(_)))? {
                                Request::Record(record) => Some(record),
                                _ => None,
                            }
                        });
                        let records: Vec<_> = std::iter::once(first).chain(more).collect();
                        self.record(records);
                    }
                    Request::Read(read) => {
                        read(&mut self);
                        self.shared.done(1);
                    }
                    Request::Close(reply) => {
                        let closed = self.close();
                        self.shared.done(1);
                        let _ = reply.send(closed);
                        return;
                    }
                }
            }
        }
    }

    fn write(&mut self, writes: Vec<Write>) {
        let count = writes.len();
        let mut replies = Vec::with_capacity(count);
        let mut take_in = false;
        let mut work = Vec::with_capacity(count);
        for write in writes {
            take_in |= match write.take_in {
                TakeIn::Leave => false,
                TakeIn::First => true,
                TakeIn::Beat { hour, first } => {
                    let turned = self.taken_in_hour != hour;
                    self.taken_in_hour = hour;
                    turned || first
                }
            };
            self.backup_is_due |= write.is_configuration;
            work.push(write.apply);
            replies.push(write.reply);
        }
        let done = self.commit(take_in, |txn| {
            work.into_iter().try_for_each(|apply| apply(txn))
        });
        self.answer(replies, done);
    }

    fn record(&mut self, records: Vec<Record>) {
        let mut entries = Vec::new();
        let mut replies = Vec::with_capacity(records.len());
        for record in records {
            let state = |(camera, json)| Entry::State(camera, json);
            entries.extend(record.states.into_iter().map(state));
            for event in &record.events {
                let entry = match event.kind.is_observed() {
                    true => Entry::Observed,
                    false => Entry::Event,
                };
                entries.push(entry(self.next_sequence, event_row(event)));
                self.next_sequence += 1;
            }
            replies.push(record.reply);
        }
        let done = if entries.is_empty() {
            Ok(())
        } else if self.journal.has_room_for(&entries) {
            self.journal.append(entries)
        } else {
            let events_max = self.events_max;
            self.commit(true, |txn| events::take_in(txn, &entries, events_max))
        };
        self.answer(replies, done);
    }

    fn answer(&self, replies: Vec<Reply>, done: Result<(), StoreError>) {
        self.shared.done(replies.len());
        for reply in replies {
            // A caller that stopped waiting has its own error.
            let _ = reply.send(done.clone());
        }
    }

    /// One durable commit of `work`, after the journal when `take_in`.
    fn commit(
        &mut self,
        take_in: bool,
        work: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
    ) -> Result<(), StoreError> {
        let take_in = take_in && !self.journal.pending.is_empty();
        self.with_database(|db, worker| {
            let txn = db.begin_write()?;
            if take_in {
                events::take_in(&txn, &worker.journal.pending, worker.events_max)?;
                let generation = worker.journal.next_generation();
                tables::put_meta(&txn, meta::GENERATION, &generation.to_le_bytes())?;
                tables::put_meta(&txn, meta::SEQUENCE, &worker.next_sequence.to_le_bytes())?;
            }
            work(&txn)?;
            Ok(txn.commit()?)
        })?;
        if take_in {
            self.journal.start_over();
        }
        Ok(())
    }

    /// Reads one snapshot and what the journal holds beside it.
    pub fn view<T>(
        &mut self,
        read: impl FnOnce(&ReadTransaction, &[Entry]) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.with_database(|db, worker| read(&db.begin_read()?, &worker.journal.pending))
    }

    /// After an I/O error redb refuses everything until the file is opened again, so the database is
    /// dropped on any failure and opened by the next request; what was committed is still there.
    fn with_database<T>(
        &mut self,
        work: impl FnOnce(&Database, &mut Self) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let db = match self.db.take() {
            Some(db) => db,
            None => self.dir.open()?,
        };
        match work(&db, self) {
            Ok(done) => {
                self.db = Some(db);
                Ok(done)
            }
            Err(fault) => {
                drop(db);
                Err(self.dir.error(fault))
            }
        }
    }

    /// Copies the configuration when it changed; failing costs nothing but the copy.
    pub fn back_up(&mut self, min_age_s: u64) {
        let Some(db) = self.db.as_ref().filter(|_| self.backup_is_due) else {
            return;
        };
        match self.dir.back_up(db, min_age_s) {
            Ok(done) => self.backup_is_due = !done,
            Err(error) => tracing::warn!(%error, "no backup was made"),
        }
    }

    /// Takes the journal in, so that the file alone is whole, and closes it.
    fn close(&mut self) -> Result<(), StoreError> {
        let taken_in = self.commit(true, |_| Ok(()));
        let closed = match self.db.take() {
            Some(db) => db.close().map_err(|e| self.dir.error(e.into())),
            None => Ok(()),
        };
        let _ = self.lock.unlock();
        taken_in.and(closed)
    }
}

/// What the meta table says about the journal: store id, generation, next sequence number.
pub(super) fn read_marks(db: &Database) -> Result<([u8; 16], u64, u64), Fault> {
    let txn = db.begin_read()?;
    let table = txn.open_table(META)?;
    let store_id = tables::meta_number(&table, meta::STORE_ID)?
        .ok_or_else(|| Fault::Corrupt("it has no id of its own".to_owned()))?;
    let generation = tables::meta_number(&table, meta::GENERATION)?.map_or(1, u64::from_le_bytes);
    let sequence = tables::meta_number(&table, meta::SEQUENCE)?.map_or(1, u64::from_le_bytes);
    let sequence = sequence.max(events::last_sequence(&txn)? + 1);
    Ok((store_id, generation, sequence))
}
