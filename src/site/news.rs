//! What has changed since a reporter looked last. Holds names, not contents: who reports reads the
//! newest state itself.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use uuid::Uuid;

use super::{Entry, Site, lock};
use crate::model::CameraId;

/// The news for one reporter.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Somebody listens; else nothing is collected.
    is_wanted: AtomicBool,
    changed: Mutex<BTreeSet<CameraId>>,
    has_events: AtomicBool,
    told: Notify,
    /// Up to which event they were reported.
    reported: Mutex<Option<u64>>,
}

impl News {
    pub fn starting_at(reported: Option<u64>) -> Self {
        Self {
            reported: Mutex::new(reported),
            ..Self::default()
        }
    }

    pub fn camera(&self, id: CameraId) {
        if self.is_wanted.load(Ordering::Relaxed) {
            lock(&self.changed).insert(id);
            self.told.notify_one();
        }
    }

    pub fn events(&self) {
        self.has_events.store(true, Ordering::Relaxed);
        self.told.notify_one();
    }
}

impl Site {
    /// From now on changes are collected; every camera counts as changed.
    pub fn begin_report(&self) {
        self.news.is_wanted.store(true, Ordering::Relaxed);
        let ids = self.camera_ids();
        lock(&self.news.changed).extend(ids);
        self.news.events();
    }

    /// Nothing is collected any more.
    pub fn end_report(&self) {
        self.news.is_wanted.store(false, Ordering::Relaxed);
        lock(&self.news.changed).clear();
    }

    /// Ends when something may have changed since the last wait.
    pub async fn news(&self) {
        self.news.told.notified().await;
    }

    /// Takes one camera out of those that changed; one that is gone is among them too.
    pub fn take_changed(&self) -> Option<CameraId> {
        lock(&self.news.changed).pop_first()
    }

    /// Whether events were stored since this was asked last.
    pub fn take_has_events(&self) -> bool {
        self.news.has_events.swap(false, Ordering::Relaxed)
    }

    /// Up to which event (sequence number in the store) they were reported; `None`: nobody reports.
    pub fn reported(&self) -> Option<u64> {
        *lock(&self.news.reported)
    }

    /// Kept with the next beat: after a crash some events are reported twice, with the same id.
    pub fn set_reported(&self, sequence: Option<u64>) {
        *lock(&self.news.reported) = sequence;
    }

    /// Looks at a camera where it lies.
    pub fn look<T>(&self, id: CameraId, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        lock(&self.cameras).get(&id).map(look)
    }

    /// Looks at every camera, by id, ascending.
    pub fn look_at_all<T>(&self, look: impl FnMut(&Entry) -> T) -> Vec<T> {
        lock(&self.cameras).values().map(look).collect()
    }

    /// The camera with this uid.
    pub fn id_of(&self, uid: Uuid) -> Option<CameraId> {
        let cameras = lock(&self.cameras);
        let found = cameras.values().find(|e| e.camera.uid == uid);
        found.map(|e| e.camera.id)
    }
}
