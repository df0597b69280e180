//! What stands on a broker for good, kept in the store: what is no longer wanted there is taken away,
//! after a restart too.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::topics::{Subject, Topics};
use crate::store::{Store, StoreError};

/// Retained topics below a camera.
pub const CAMERA_LEAVES: [&str; 5] = ["state", "availability", "info", "alarm/offline", "snapshot"];

/// The trees that hold retained messages of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    base: String,
    prefix: String,
    gateway: String,
    /// Discovery documents are there too.
    announced: bool,
    /// Commands whose capability is declared.
    #[serde(default)]
    commands: BTreeSet<String>,
    cameras: BTreeSet<Uuid>,
}

impl Published {
    /// What the store remembers; nothing where it cannot be read.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let row = store.published().await?;
        Ok(row
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default())
    }

    /// # Errors
    /// The store's.
    pub async fn save(&self, store: &Store) -> Result<(), StoreError> {
        let json = serde_json::to_vec(self).unwrap_or_default();
        store.put_published(json).await
    }

    /// Enters the tree that is used from now on, and returns what must be emptied: everything of an
    /// earlier tree, and the announcements where none are wanted any more.
    pub fn move_to(&mut self, topics: &Topics, announce: bool) -> Vec<String> {
        let old = Topics::new(&self.base, &self.prefix, &self.gateway);
        let mut stale = Vec::new();
        if !self.base.is_empty() && old != *topics {
            if old.root() != topics.root() {
                stale.extend(["status", "info", "health", "cams"].map(|leaf| old.own(leaf)));
                stale.extend(
                    self.commands
                        .iter()
                        .map(|name| old.own(&format!("cmd/{name}"))),
                );
                for uid in &self.cameras {
                    stale.extend(CAMERA_LEAVES.map(|leaf| old.camera(*uid, leaf)));
                }
            }
            self.announced_topics(&old, &mut stale);
        } else if self.announced && !announce {
            self.announced_topics(topics, &mut stale);
        }
        let (base, prefix) = topics.tree();
        *self = Self {
            base: base.to_owned(),
            prefix: prefix.to_owned(),
            gateway: topics.gateway().to_owned(),
            announced: announce,
            commands: std::mem::take(&mut self.commands),
            cameras: std::mem::take(&mut self.cameras),
        };
        stale
    }

    /// Declares these commands from now on; returns those that were declared and are no more.
    pub fn declare(&mut self, commands: BTreeSet<String>) -> Vec<String> {
        let gone = self.commands.difference(&commands).cloned().collect();
        self.commands = commands;
        gone
    }

    fn announced_topics(&self, topics: &Topics, stale: &mut Vec<String>) {
        if !self.announced {
            return;
        }
        let cameras = self.cameras.iter().map(|uid| Subject::Camera(*uid));
        let subjects = cameras.chain([Subject::Gateway]);
        stale.extend(subjects.map(|subject| topics.discovery(subject)));
    }

    /// Cameras whose messages are there although they are gone.
    pub fn without(&self, known: &[Uuid]) -> Vec<Uuid> {
        let known: BTreeSet<_> = known.iter().collect();
        let gone = self.cameras.iter().filter(|uid| !known.contains(uid));
        gone.copied().collect()
    }

    pub fn holds(&self, uid: Uuid) -> bool {
        self.cameras.contains(&uid)
    }

    pub fn add(&mut self, cameras: impl IntoIterator<Item = Uuid>) {
        self.cameras.extend(cameras);
    }

    pub fn remove(&mut self, uid: Uuid) {
        self.cameras.remove(&uid);
    }
}

/// The retained topics of a camera that is gone.
pub fn topics_of_camera(topics: &Topics, uid: Uuid, announced: bool) -> Vec<String> {
    let document = announced.then(|| topics.discovery(Subject::Camera(uid)));
    // The document first: entities go before what they read.
    let leaves = CAMERA_LEAVES.map(|leaf| topics.camera(uid, leaf));
    document.into_iter().chain(leaves).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: Uuid = Uuid::from_u128(7);

    #[test]
    fn a_new_tree_empties_the_old_one() {
        let mut published = Published::default();
        let first = Topics::new("ohmvision", "homeassistant", "gw-1");
        assert!(published.move_to(&first, true).is_empty());
        published.add([UID]);
        assert!(published.move_to(&first, true).is_empty());

        let other = Topics::new("site", "homeassistant", "gw-1");
        let stale = published.move_to(&other, true);
        assert!(stale.contains(&first.status()));
        assert!(stale.contains(&first.camera(UID, "state")));
        // The same place, but its document names the old topics.
        assert!(stale.contains(&first.discovery(Subject::Camera(UID))));
        assert_eq!(stale.len(), 4 + CAMERA_LEAVES.len() + 2);
        assert!(published.holds(UID));
    }

    #[test]
    fn announcements_go_when_they_are_switched_off() {
        let topics = Topics::new("ohmvision", "homeassistant", "gw-1");
        let mut published = Published::default();
        published.move_to(&topics, true);
        published.add([UID]);
        let stale = published.move_to(&topics, false);
        assert_eq!(
            stale,
            [Subject::Camera(UID), Subject::Gateway].map(|s| topics.discovery(s))
        );
        assert!(published.move_to(&topics, false).is_empty());
    }

    #[test]
    fn gone_cameras_are_found() {
        let mut published = Published::default();
        published.add([UID, Uuid::from_u128(8)]);
        assert_eq!(published.without(&[UID]), [Uuid::from_u128(8)]);
        let topics = Topics::new("ohmvision", "homeassistant", "gw-1");
        assert_eq!(
            topics_of_camera(&topics, UID, true).len(),
            1 + CAMERA_LEAVES.len()
        );
    }
}
