//! Values that are fetched on demand: callers at the same time share one fetch, and what it brought is
//! given again while it is fresh.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;
use crate::model::{CameraId, ProbeError};

/// One value for each camera, for a short time.
#[derive(Debug)]
pub struct Fresh<T> {
    age_max: Duration,
    /// Of all values together.
    bytes_max: usize,
    /// Size of a value.
    bytes: fn(&T) -> usize,
    slots: Mutex<HashMap<CameraId, Slot<T>>>,
}

type Slot<T> = Arc<tokio::sync::Mutex<Option<Fetched<T>>>>;

#[derive(Debug)]
struct Fetched<T> {
    at: Instant,
    result: Result<T, ProbeError>,
}

impl<T: Clone> Fresh<T> {
    pub fn new(age_max: Duration, bytes_max: usize, bytes: fn(&T) -> usize) -> Self {
        Self {
            age_max,
            bytes_max,
            bytes,
            slots: Mutex::default(),
        }
    }

    pub fn age_max(&self) -> Duration {
        self.age_max
    }

    /// The value that is fresh, or what `fetch` brings. Whoever asks while a fetch runs gets what it
    /// brings, an error too.
    ///
    /// # Errors
    /// Those of `fetch`.
    pub async fn get(
        &self,
        id: CameraId,
        fetch: impl Future<Output = Result<T, ProbeError>>,
    ) -> Result<T, ProbeError> {
        let asked_at = Instant::now();
        let slot = lock(&self.slots).entry(id).or_default().clone();
        let mut held = slot.lock().await;
        if let Some(known) = held.as_ref() {
            let is_shared = known.at >= asked_at;
            let is_fresh = known.result.is_ok() && known.at.elapsed() < self.age_max;
            if is_shared || is_fresh {
                return known.result.clone();
            }
        }
        let result = fetch.await;
        *held = Some(Fetched {
            at: Instant::now(),
            result: result.clone(),
        });
        drop(held);
        self.trim(id);
        result
    }

    /// Forgets what is too old, and the oldest values where all together are too large.
    pub fn evict(&self) {
        let mut slots = lock(&self.slots);
        slots.retain(|_, slot| match slot.try_lock() {
            Ok(held) => held.as_ref().is_some_and(|f| f.at.elapsed() < self.age_max),
            Err(_) => true, // a fetch runs
        });
    }

    pub fn forget(&self, id: CameraId) {
        lock(&self.slots).remove(&id);
    }

    /// Keeps all values together within their limit; the newest, `keep`, stays in any case.
    fn trim(&self, keep: CameraId) {
        self.evict();
        let mut slots = lock(&self.slots);
        loop {
            let mut total = 0;
            let mut oldest: Option<(Instant, CameraId)> = None;
            for (id, slot) in slots.iter() {
                let Ok(held) = slot.try_lock() else { continue };
                let Some(Fetched {
                    at,
                    result: Ok(value),
                }) = held.as_ref()
                else {
                    continue;
                };
                total += (self.bytes)(value);
                if *id != keep && oldest.is_none_or(|(known, _)| *at < known) {
                    oldest = Some((*at, *id));
                }
            }
            match oldest {
                Some((_, id)) if total > self.bytes_max => slots.remove(&id),
                _ => return,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::model::{ErrorCode, Stage};

    fn pictures(age_ms: u64, bytes_max: usize) -> Fresh<Vec<u8>> {
        Fresh::new(Duration::from_millis(age_ms), bytes_max, Vec::len)
    }

    const ONE: CameraId = CameraId(1);

    #[tokio::test]
    async fn callers_at_the_same_time_share_one_fetch() {
        let fresh = pictures(60_000, 1000);
        let fetches = AtomicU32::new(0);
        let fetch = || async {
            fetches.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(vec![1])
        };
        let (a, b, c) = tokio::join!(
            fresh.get(ONE, fetch()),
            fresh.get(ONE, fetch()),
            fresh.get(CameraId(2), fetch())
        );
        assert_eq!((a, b, c), (Ok(vec![1]), Ok(vec![1]), Ok(vec![1])));
        assert_eq!(fetches.load(Ordering::SeqCst), 2, "one for each camera");
        fresh.get(ONE, fetch()).await.unwrap();
        assert_eq!(fetches.load(Ordering::SeqCst), 2, "it is fresh");
        fresh.forget(ONE);
        fresh.get(ONE, fetch()).await.unwrap();
        assert_eq!(fetches.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_failure_is_shared_by_those_who_waited_for_it_only() {
        let fresh = pictures(60_000, 1000);
        let fetches = AtomicU32::new(0);
        let fetch = || async {
            fetches.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Err(ProbeError::new(ErrorCode::Timeout, Stage::Connect, "late"))
        };
        let (a, b) = tokio::join!(fresh.get(ONE, fetch()), fresh.get(ONE, fetch()));
        assert!(a.is_err() && b.is_err());
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert!(fresh.get(ONE, fetch()).await.is_err());
        assert_eq!(fetches.load(Ordering::SeqCst), 2, "a later caller tries");
    }

    #[tokio::test]
    async fn old_and_surplus_values_are_dropped() {
        let fresh = pictures(60_000, 10);
        for id in 1..=3 {
            fresh
                .get(CameraId(id), async { Ok(vec![0; 4]) })
                .await
                .unwrap();
        }
        let mut kept: Vec<u32> = lock(&fresh.slots).keys().map(|id| id.0).collect();
        kept.sort_unstable();
        assert_eq!(kept, [2, 3], "the oldest went");
        fresh.get(ONE, async { Ok(vec![0; 99]) }).await.unwrap();
        assert_eq!(lock(&fresh.slots).len(), 1, "the newest stays");

        let stale = pictures(0, 10);
        stale.get(ONE, async { Ok(vec![0; 4]) }).await.unwrap();
        stale.evict();
        assert!(lock(&stale.slots).is_empty());
    }
}
