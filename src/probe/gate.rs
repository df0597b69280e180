//! Budgets of the whole gateway: dead cameras wait in a line of their own and never delay live ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Depth;

/// Connections that may be under way at the same time.
const CONNECTS: usize = 512;
/// Probes that wait for pictures at the same time.
const FRAMES: usize = 8;

/// Who may connect, and who may talk. One for the whole process.
#[derive(Debug)]
pub struct Gate {
    connects: Arc<Semaphore>,
    talks: Arc<Semaphore>,
    frames: Arc<Semaphore>,
}

/// A place in a line, given back when dropped.
pub type Slot = OwnedSemaphorePermit;

impl Gate {
    /// `talks_max`: conversations at the same time (`health.concurrent_max`), those that wait for
    /// pictures apart.
    pub fn new(talks_max: usize) -> Self {
        Self {
            connects: Arc::new(Semaphore::new(CONNECTS)),
            talks: Arc::new(Semaphore::new(talks_max.max(1))),
            frames: Arc::new(Semaphore::new(FRAMES)),
        }
    }

    /// Waits for leave to connect. `None` only when the gate is closed, which nothing does.
    pub async fn connect(&self) -> Option<Slot> {
        self.connects.clone().acquire_owned().await.ok()
    }

    /// Waits for leave to go on after the connection stands.
    pub async fn talk(&self, depth: Depth) -> Option<Slot> {
        let line = if depth >= Depth::Frame {
            &self.frames
        } else {
            &self.talks
        };
        line.clone().acquire_owned().await.ok()
    }
}
