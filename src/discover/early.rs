//! Looks at hosts as soon as their open ports are known, while answers to multicast are still awaited:
//! what they show is judged later, with all else that was heard.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::identify::{LOOK_LIMIT, dial_name};
use super::sweep::Host;
use crate::detect::{Asked, Detector, Identity};

/// Looks of one scan; dropped, all of them end.
#[derive(Debug)]
pub struct Early {
    detector: Arc<Detector>,
    slots: Arc<Semaphore>,
    running: Mutex<BTreeMap<IpAddr, AbortOnDropHandle<Asked>>>,
}

impl Early {
    /// `at_once`: hosts that are looked at at the same time.
    pub fn new(detector: Arc<Detector>, at_once: usize) -> Self {
        Self {
            detector,
            slots: Arc::new(Semaphore::new(at_once)),
            running: Mutex::default(),
        }
    }

    /// Begins to look at a host that has open ports and that a connection reaches.
    pub fn begin(&self, host: &Host) {
        if host.open.is_empty() || host.off_subnet {
            return;
        }
        let ip = host.address.ip();
        let name = dial_name(ip, host.interface.as_deref());
        let (mac, open) = (host.mac, host.open.clone());
        let (detector, slots) = (self.detector.clone(), self.slots.clone());
        let look = async move {
            let mut asked = Asked::default();
            let _slot = slots.acquire().await;
            let mut identity = Identity::new(None);
            if let Some(mac) = mac {
                identity.note("mac", String::new(), detector.catalogue.by_oui(mac.0));
                identity.mac = Some(mac.to_string());
            }
            let deadline = Instant::now() + LOOK_LIMIT;
            // Large, and not needed while it waits for its turn.
            Box::pin(identity.read(&detector, ip, &name, &open, deadline, &mut asked)).await;
            asked
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running
            .entry(ip)
            .or_insert_with(|| AbortOnDropHandle::new(tokio::spawn(look)));
    }

    /// What the host at this address showed; waits for a look that is under way.
    pub async fn shown(&self, ip: IpAddr) -> Asked {
        let look = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.remove(&ip)
        };
        match look {
            Some(look) => look.await.unwrap_or_default(),
            None => Asked::default(),
        }
    }
}
