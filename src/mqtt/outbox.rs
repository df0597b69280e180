//! Events on their way to the broker: read from the store in order, let go when acknowledged.

use std::collections::{BTreeSet, VecDeque};

use crate::model::Event;
use crate::site::Site;
use crate::store::StoreError;

/// Events that are read at once.
const PAGE: usize = 64;

/// The events behind the last one that the broker has taken.
#[derive(Debug)]
pub struct Outbox {
    page: VecDeque<(u64, Event)>,
    /// The last one that was read.
    read: u64,
    /// Sent and not acknowledged.
    waiting: BTreeSet<u64>,
    /// The store may hold more.
    has_more: bool,
}

impl Outbox {
    /// Goes on where the last session stopped; the first one begins with what comes from now on.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(site: &Site) -> Result<Self, StoreError> {
        let read = match site.reported() {
            Some(sequence) => sequence,
            None => {
                let newest = site.store().newest_event().await?;
                site.set_reported(Some(newest));
                newest
            }
        };
        Ok(Self {
            page: VecDeque::new(),
            read,
            waiting: BTreeSet::new(),
            has_more: true,
        })
    }

    /// The store holds new ones.
    pub fn has_news(&mut self) {
        self.has_more = true;
    }

    /// Whether [`Self::next`] would find something, or has to look.
    pub fn is_open(&self) -> bool {
        self.has_more || !self.page.is_empty()
    }

    /// The next event, which then waits for its acknowledgement.
    ///
    /// # Errors
    /// The store's.
    pub async fn next(&mut self, site: &Site) -> Result<Option<(u64, Event)>, StoreError> {
        if self.page.is_empty() && self.has_more {
            let page = site.store().events_behind(self.read, PAGE).await?;
            self.has_more = page.len() == PAGE;
            let expected = self.read + 1;
            if let Some((first, _)) = page.first().filter(|(first, _)| *first > expected) {
                let lost = first - expected;
                tracing::warn!(
                    lost,
                    "the broker was away too long: the oldest events had to make room"
                );
            }
            self.read = page.last().map_or(self.read, |(last, _)| *last);
            self.page = page.into();
        }
        let next = self.page.pop_front();
        if let Some((sequence, _)) = &next {
            self.waiting.insert(*sequence);
        }
        Ok(next)
    }

    /// The broker has this one, or will never take it.
    pub fn done(&mut self, sequence: u64, site: &Site) {
        self.waiting.remove(&sequence);
        let unread = self.page.front().map(|(sequence, _)| *sequence);
        let first = self.waiting.first().copied().or(unread);
        site.set_reported(Some(first.map_or(self.read, |first| first - 1)));
    }

    /// Events that the broker does not have, as far as they were read.
    pub fn len(&self) -> u64 {
        (self.page.len() + self.waiting.len()) as u64
    }
}
