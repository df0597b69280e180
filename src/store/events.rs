//! The bounded ring of events.

use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};

use super::error::Fault;
use super::journal::Entry;
use super::tables::{EVENTS, STATES, read_event_row};
use crate::model::{CameraId, Event, EventKind, Timestamp};

/// Which events to list. All conditions hold at once; an empty one holds always.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// At or after this time.
    pub since: Option<Timestamp>,
    pub camera: Option<CameraId>,
    pub kinds: Vec<EventKind>,
    /// Oldest first unless set.
    pub newest_first: bool,
    /// [`EventPage::next_cursor`] of the page before, in the same direction.
    pub cursor: Option<u64>,
    /// At most this many, and never more than [`EventFilter::LIMIT_MAX`].
    pub limit: usize,
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

/// One page out of the table and, newer than it, the journal.
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
    let mut last = filter.cursor.unwrap_or(0);
    let fresh = |entry: &'_ Entry| match entry {
        Entry::Event(sequence, row) if (first..end).contains(sequence) => {
            Some((*sequence, row.clone()))
        }
        _ => None,
    };
    let table = txn.open_table(EVENTS)?;
    let stored = table.range(first..end)?;
    if filter.newest_first {
        for (sequence, row) in pending.iter().rev().filter_map(fresh) {
            if filter.take(&mut page, &mut last, sequence, &row) {
                return Ok(page);
            }
        }
        for row in stored.rev() {
            let (sequence, row) = row?;
            if filter.take(&mut page, &mut last, sequence.value(), row.value()) {
                return Ok(page);
            }
        }
    } else {
        for row in stored {
            let (sequence, row) = row?;
            if filter.take(&mut page, &mut last, sequence.value(), row.value()) {
                return Ok(page);
            }
        }
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
    for row in txn.open_table(EVENTS)?.range(first..)? {
        if found.len() == limit {
            return Ok(found);
        }
        let (sequence, row) = row?;
        found.extend(read(sequence.value(), row.value()));
    }
    let fresh = pending.iter().filter_map(|entry| match entry {
        Entry::Event(sequence, row) if *sequence >= first => read(*sequence, row),
        _ => None,
    });
    let room = limit - found.len();
    found.extend(fresh.take(room));
    Ok(found)
}

/// Takes journal entries into their tables and drops the oldest events beyond `events_max`.
pub(super) fn take_in(
    txn: &WriteTransaction,
    entries: &[Entry],
    events_max: u32,
) -> Result<(), Fault> {
    let mut states = txn.open_table(STATES)?;
    let mut events = txn.open_table(EVENTS)?;
    for entry in entries {
        match entry {
            Entry::State(camera, json) => states.insert(camera.0, json.as_slice())?.is_some(),
            Entry::Event(sequence, row) => events.insert(sequence, row.as_slice())?.is_some(),
        };
    }
    while events.len()? > u64::from(events_max) {
        events.pop_first()?;
    }
    Ok(())
}

/// The newest sequence number in the table.
pub(super) fn last_sequence(txn: &ReadTransaction) -> Result<u64, Fault> {
    let table = txn.open_table(EVENTS)?;
    let last = table.last()?.map_or(0, |(sequence, _)| sequence.value());
    Ok(last)
}
