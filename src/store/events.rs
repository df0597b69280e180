//! The bounded rings of events: what was found out, and what cameras reported.

use redb::{
    ReadTransaction, ReadableTableMetadata as _, TableDefinition, TableError, WriteTransaction,
};

use super::error::Fault;
use super::journal::Entry;
use super::tables::{EVENTS, OBSERVED, STATES, read_event_row};
use crate::model::{CameraId, Event, EventKind, Timestamp};

/// Which events to list. All conditions hold at once; an empty one holds always.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// At or after this time.
    pub since: Option<Timestamp>,
    pub camera: Option<CameraId>,
    pub kinds: Vec<EventKind>,
    pub source: EventSource,
    /// Oldest first unless set.
    pub newest_first: bool,
    /// [`EventPage::next_cursor`] of the page before, in the same direction.
    pub cursor: Option<u64>,
    /// At most this many, and never more than [`EventFilter::LIMIT_MAX`].
    pub limit: usize,
}

/// Which ring to look in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventSource {
    #[default]
    Both,
    /// What cameras reported.
    Observed,
    /// What was found out about them and the gateway.
    FoundOut,
}

impl EventFilter {
    pub const LIMIT_MAX: usize = 1000;
}

#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    pub events: Vec<Event>,
    /// `None` on the last page.
    pub next_cursor: Option<u64>,
}

impl EventFilter {
    /// The event when it is wanted. A row that cannot be read is passed over.
    fn accept(&self, row: &[u8]) -> Option<Event> {
        let head = read_event_row(row)?;
        let wanted = self.since.is_none_or(|since| since <= head.time)
            && (self.camera.is_none() || self.camera == head.camera);
        if !wanted {
            return None;
        }
        let event: Event = serde_json::from_slice(head.json).ok()?;
        (self.kinds.is_empty() || self.kinds.contains(&event.kind)).then_some(event)
    }

    /// Takes one row; `true` when the page is full.
    fn take(&self, page: &mut EventPage, last: &mut u64, sequence: u64, row: &[u8]) -> bool {
        let Some(event) = self.accept(row) else {
            return false;
        };
        if page.events.len() == self.limit.min(Self::LIMIT_MAX) {
            page.next_cursor = Some(*last);
            return true;
        }
        page.events.push(event);
        *last = sequence;
        false
    }
}

/// One page out of both tables and, newer than them, the journal.
pub(super) fn list(
    txn: &ReadTransaction,
    pending: &[Entry],
    filter: &EventFilter,
) -> Result<EventPage, Fault> {
    let mut page = EventPage {
        events: Vec::new(),
        next_cursor: None,
    };
    let (first, end) = match filter.cursor {
        Some(cursor) if filter.newest_first => (0, cursor),
        Some(cursor) => (cursor.saturating_add(1), u64::MAX),
        None => (0, u64::MAX),
    };
    let is_wanted = |is_observed: bool| match filter.source {
        EventSource::Both => true,
        EventSource::Observed => is_observed,
        EventSource::FoundOut => !is_observed,
    };
    let mut last = filter.cursor.unwrap_or(0);
    let fresh = |entry: &'_ Entry| match entry {
        Entry::Event(sequence, row) if is_wanted(false) => Some((*sequence, row.clone())),
        Entry::Observed(sequence, row) if is_wanted(true) => Some((*sequence, row.clone())),
        _ => None,
    };
    let fresh = |entry: &'_ Entry| fresh(entry).filter(|(s, _)| (first..end).contains(s));
    let mut stored = Merged {
        rings: [
            Ring::open(txn, EVENTS, first..end, is_wanted(false))?,
            Ring::open(txn, OBSERVED, first..end, is_wanted(true))?,
        ],
        newest_first: filter.newest_first,
    };
    if filter.newest_first {
        for (sequence, row) in pending.iter().rev().filter_map(fresh) {
            if filter.take(&mut page, &mut last, sequence, &row) {
                return Ok(page);
            }
        }
    }
    while let Some((sequence, row)) = stored.next()? {
        if filter.take(&mut page, &mut last, sequence, row.value()) {
            return Ok(page);
        }
    }
    if !filter.newest_first {
        for (sequence, row) in pending.iter().filter_map(fresh) {
            if filter.take(&mut page, &mut last, sequence, &row) {
                return Ok(page);
            }
        }
    }
    Ok(page)
}

/// Events behind `after`, oldest first, each with its sequence number; at most `limit`. A row that
/// cannot be read is passed over.
pub(super) fn behind(
    txn: &ReadTransaction,
    pending: &[Entry],
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, Event)>, Fault> {
    let read = |sequence: u64, row: &[u8]| {
        let event = serde_json::from_slice(read_event_row(row)?.json).ok()?;
        Some((sequence, event))
    };
    let first = after.saturating_add(1);
    let mut found = Vec::new();
    let ring = |table| Ring::open(txn, table, first..u64::MAX, true);
    let mut stored = Merged {
        rings: [ring(EVENTS)?, ring(OBSERVED)?],
        newest_first: false,
    };
    while let Some((sequence, row)) = stored.next()? {
        if found.len() == limit {
            return Ok(found);
        }
        found.extend(read(sequence, row.value()));
    }
    let fresh = pending.iter().filter_map(|entry| match entry {
        Entry::Event(sequence, row) | Entry::Observed(sequence, row) if *sequence >= first => {
            read(*sequence, row)
        }
        _ => None,
    });
    let room = limit - found.len();
    found.extend(fresh.take(room));
    Ok(found)
}

type Row = redb::AccessGuard<'static, &'static [u8]>;

/// A range of one table, read from either end, one row ahead.
struct Ring {
    rows: Option<redb::Range<'static, u64, &'static [u8]>>,
    ahead: Option<(u64, Row)>,
}

impl Ring {
    /// Empty where it is not wanted, or where nothing was stored yet.
    fn open(
        txn: &ReadTransaction,
        table: TableDefinition<u64, &'static [u8]>,
        range: std::ops::Range<u64>,
        is_wanted: bool,
    ) -> Result<Self, Fault> {
        let rows = match txn.open_table(table) {
            _ if !is_wanted => None,
            Ok(table) => Some(table.range(range)?),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { rows, ahead: None })
    }

    fn look_ahead(&mut self, newest_first: bool) -> Result<Option<u64>, Fault> {
        if self.ahead.is_none()
            && let Some(rows) = &mut self.rows
        {
            let row = match newest_first {
                true => rows.next_back(),
                false => rows.next(),
            };
            self.ahead = match row {
                Some(row) => row.map(|(sequence, row)| Some((sequence.value(), row)))?,
                None => None,
            };
        }
        Ok(self.ahead.as_ref().map(|(sequence, _)| *sequence))
    }
}

/// Both tables as one: their sequence numbers are of one row.
struct Merged {
    rings: [Ring; 2],
    newest_first: bool,
}

impl Merged {
    fn next(&mut self) -> Result<Option<(u64, Row)>, Fault> {
        let newest_first = self.newest_first;
        let [a, b] = &mut self.rings;
        let (first, second) = (a.look_ahead(newest_first)?, b.look_ahead(newest_first)?);
        let is_first = match (first, second) {
            (Some(a), Some(b)) => (a < b) != newest_first,
            (a, _) => a.is_some(),
        };
        Ok(if is_first { a } else { b }.ahead.take())
    }
}

/// Takes journal entries into their tables and drops the oldest events beyond `events_max`.
pub(super) fn take_in(
    txn: &WriteTransaction,
    entries: &[Entry],
    events_max: u32,
) -> Result<(), Fault> {
    let mut states = txn.open_table(STATES)?;
    let mut events = txn.open_table(EVENTS)?;
    let mut observed = txn.open_table(OBSERVED)?;
    for entry in entries {
        match entry {
            Entry::State(camera, json) => states.insert(camera.0, json.as_slice())?.is_some(),
            Entry::Event(sequence, row) => events.insert(sequence, row.as_slice())?.is_some(),
            Entry::Observed(sequence, row) => observed.insert(sequence, row.as_slice())?.is_some(),
        };
    }
    for ring in [&mut events, &mut observed] {
        while ring.len()? > u64::from(events_max) {
            ring.pop_first()?;
        }
    }
    Ok(())
}

/// The newest sequence number in the tables.
pub(super) fn last_sequence(txn: &ReadTransaction) -> Result<u64, Fault> {
    let mut newest = 0;
    for table in [EVENTS, OBSERVED] {
        let mut ring = Ring::open(txn, table, 0..u64::MAX, true)?;
        newest = newest.max(ring.look_ahead(true)?.unwrap_or(0));
    }
    Ok(newest)
}
