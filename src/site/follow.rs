//! Cameras are followed by what they are, not by where they were: one that has a new address is
//! found again and keeps its id and history; a stranger on its address gets no login.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::cameras::about;
use super::checks::Begun;
use super::entry::{Displaced, Entry};
use super::{ScanRequest, Site, lock};
use crate::brake::now;
use crate::discover::scan::Device;
use crate::model::{Camera, CameraId, CameraSecrets, EventKind, Grade, Mac, ProbeError, StreamUrl};
use crate::policy::follow::{Finding, Known, Sighting, judge};
use crate::policy::lifecycle::Confirmed;
use crate::sys::neighbours;
use crate::vendor::parse_mac;

/// A host on the link answers within this, were it only to refuse.
const TOUCH_LIMIT: Duration = Duration::from_millis(1500);

/// Who is where, without asking what they are.
const LOOK_BY: [&str; 2] = ["arp", "ws_discovery"];

impl Site {
    /// Looks for cameras that answer no more, in the networks where they were. Does nothing when none
    /// is missing, or while a scan runs, whose results serve as well.
    pub async fn look_for_missing(self: &Arc<Self>) {
        let missing = self.missing();
        if missing.is_empty() || self.is_scanning() {
            return;
        }
        let request = ScanRequest {
            identify: false,
            methods: LOOK_BY.map(str::to_owned).to_vec(),
            ..ScanRequest::default()
        };
        match self.find_devices(&request).await {
            Ok(devices) => self.devices_seen(&devices).await,
            Err(error) => {
                tracing::warn!(
                    missing = missing.len(),
                    "missing cameras cannot be looked for: {error}"
                );
            }
        }
    }

    /// Reads the kernel's table of neighbours; nothing is sent. Finds cameras that swapped addresses
    /// and strangers, and learns the MAC of cameras that have none yet.
    pub async fn look_at_neighbours(&self) {
        let seen: Vec<Sighting> = neighbours::hosts()
            .into_iter()
            .map(|(ip, mac)| Sighting {
                ip,
                mac: Some(mac),
                serial: None,
            })
            .collect();
        self.learn_macs(&seen);
        // The table remembers where a camera was, too: only who is elsewhere for certain has moved.
        let known: Vec<Known<CameraId>> = self
            .known_cameras()
            .into_iter()
            .map(|camera| Known {
                is_well: true,
                ..camera
            })
            .collect();
        self.act_on(judge(&known, &seen), "neighbour").await;
    }

    /// Takes what a scan found.
    pub async fn devices_seen(&self, devices: &[Device]) {
        let sighting = |device: &Device| Sighting {
            ip: device.ip,
            mac: device.mac.as_deref().and_then(parse_mac).map(Mac),
            serial: device.serial_number.clone(),
        };
        // A guest from another subnet cannot be reached where it is.
        let reachable = devices.iter().filter(|device| !device.off_subnet);
        let seen: Vec<Sighting> = reachable.map(sighting).collect();
        self.act_on(judge(&self.known_cameras(), &seen), "scan")
            .await;
    }

    /// Before a camera that was away gets its login: is it the camera that answers there?
    pub(super) async fn is_itself(&self, id: CameraId, begun: &Begun) -> Result<(), ProbeError> {
        let (camera, error) = {
            let cameras = lock(&self.cameras);
            let Some(entry) = cameras.get(&id) else {
                return Ok(());
            };
            (known(entry), entry.displaced_error())
        };
        if let Some(error) = error {
            return Err(error);
        }
        let Some(camera) = camera.filter(|c| begun.is_return && c.mac.is_some()) else {
            return Ok(());
        };
        let target = (camera.ip, begun.target.url.port).into();
        if self.settings().networks.allows(target) {
            // Whatever comes of it, the kernel asks who has the address.
            let _ = tokio::time::timeout(TOUCH_LIMIT, tokio::net::TcpStream::connect(target)).await;
        }
        let seen = neighbours::hosts()
            .into_iter()
            .find(|(ip, _)| *ip == camera.ip);
        let Some((ip, mac)) = seen.filter(|(_, mac)| Some(*mac) != camera.mac) else {
            return Ok(());
        };
        tracing::warn!(camera = id.0, %ip, %mac, "another device has the camera's address");
        let mut cameras = lock(&self.cameras);
        let Some(entry) = cameras.get_mut(&id) else {
            return Ok(());
        };
        entry.displaced = Some(Displaced { by: Some(mac) });
        entry.displaced_error().map_or(Ok(()), Err)
    }

    async fn act_on(&self, findings: Vec<Finding<CameraId>>, seen_by: &'static str) {
        for finding in findings {
            match finding {
                Finding::Moved { id, to } => self.move_camera(id, to, seen_by).await,
                Finding::Displaced { id, by } => self.displace(id, by),
                Finding::Back { id } => self.take_back(id),
            }
        }
    }

    /// The camera is at another address now.
    async fn move_camera(&self, id: CameraId, to: IpAddr, seen_by: &'static str) {
        if !self.allowed(to) || is_link_local(to) {
            return; // a zone would be needed, which a sighting does not tell
        }
        let Some((camera, secrets, from)) = self.rewrite(id, to) else {
            return;
        };
        tracing::info!(camera = id.0, name = camera.name, %from, %to, seen_by, "camera has another address");
        if let Err(error) = self.store.put_camera(&camera, &secrets).await {
            tracing::error!(
                camera = id.0,
                "the camera's new address could not be stored: {error}"
            );
        }
        let message = format!("{} moved from {from} to {to}", camera.name);
        self.remember(vec![about(&camera, EventKind::IpChanged, message)]);
        self.replan(id);
    }

    /// Writes the new address into the record and every URL that held the old one.
    fn rewrite(&self, id: CameraId, to: IpAddr) -> Option<(Camera, CameraSecrets, String)> {
        let mut cameras = lock(&self.cameras);
        let entry = cameras.get_mut(&id)?;
        let from = entry.camera.ip_address.replace(to.to_string())?;
        let camera = &mut entry.camera;
        camera.moved_from.get_or_insert_with(|| from.clone());
        for url in [
            &mut camera.primary_stream_url,
            &mut camera.secondary_stream_url,
            &mut camera.snapshot_url,
        ] {
            url.iter_mut()
                .filter(|url| url.host == from)
                .for_each(|url: &mut StreamUrl| url.host = to.to_string());
        }
        camera.revision += 1;
        camera.updated_at = now();
        entry.displaced = None;
        entry.credit(now());
        // A refused login stays refused, wherever the camera is.
        let login_refused = entry.watch.login_refused;
        entry.watch.settings_changed();
        entry.watch.login_refused = login_refused;
        Some((entry.camera.clone(), entry.secrets.clone(), from))
    }

    fn displace(&self, id: CameraId, by: Option<Mac>) {
        let mut cameras = lock(&self.cameras);
        let Some(entry) = cameras.get_mut(&id) else {
            return;
        };
        entry.displaced = Some(Displaced { by });
        entry.watch.look_at_once();
        let (name, ip) = (&entry.camera.name, entry.camera.ip_address.as_deref());
        tracing::warn!(
            camera = id.0,
            name,
            ip,
            by = by.map(tracing::field::display),
            "another device has the camera's address"
        );
        drop(cameras);
        self.replan(id);
    }

    fn take_back(&self, id: CameraId) {
        let mut cameras = lock(&self.cameras);
        let Some(entry) = cameras.get_mut(&id) else {
            return;
        };
        entry.displaced = None;
        entry.watch.look_at_once();
        tracing::info!(
            camera = id.0,
            name = entry.camera.name,
            "the camera has its address back"
        );
        drop(cameras);
        self.replan(id);
    }

    /// Trust on first use: a camera that is well and has no MAC gets the one at its address.
    fn learn_macs(&self, seen: &[Sighting]) {
        let mut learnt = Vec::new();
        for (id, entry) in lock(&self.cameras).iter_mut() {
            if entry.camera.mac_address.is_some() || entry.watch.confirmed != Confirmed::Up {
                continue;
            }
            let ip = address(&entry.camera);
            let mac = seen.iter().find(|s| Some(s.ip) == ip).and_then(|s| s.mac);
            if let Some(mac) = mac {
                entry.camera.mac_address = Some(mac.to_string());
                learnt.push(*id);
            }
        }
        learnt.into_iter().for_each(|id| self.save_later(id));
    }

    /// Cameras that can be told by their hardware.
    fn known_cameras(&self) -> Vec<Known<CameraId>> {
        lock(&self.cameras).values().filter_map(known).collect()
    }

    /// Those of them that answer no more.
    fn missing(&self) -> Vec<CameraId> {
        let cameras = lock(&self.cameras);
        let is_missing = |entry: &&Entry| {
            let is_away = entry.watch.shown_grade() == Some(Grade::Offline);
            entry.is_watched() && (is_away || entry.displaced.is_some()) && known(entry).is_some()
        };
        cameras
            .values()
            .filter(is_missing)
            .map(|e| e.camera.id)
            .collect()
    }
}

fn address(camera: &Camera) -> Option<IpAddr> {
    camera.ip_address.as_deref()?.parse().ok()
}

fn known(entry: &Entry) -> Option<Known<CameraId>> {
    let camera = &entry.camera;
    let mac = camera.mac_address.as_deref().and_then(parse_mac).map(Mac);
    let serial = camera.serial_number.clone();
    let is_identified = camera.enabled && (mac.is_some() || serial.is_some());
    is_identified.then_some(())?;
    Some(Known {
        id: camera.id,
        ip: address(camera)?,
        mac,
        serial,
        is_well: entry.watch.confirmed == Confirmed::Up,
        is_displaced: entry.displaced.is_some(),
    })
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
