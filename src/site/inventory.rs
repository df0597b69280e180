//! The living inventory: every device that any scan saw, with its first and last sighting.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use uuid::Uuid;

use super::{Site, lock};
use crate::brake::now;
use crate::discover::scan::Device;
use crate::model::{Event, EventKind, Timestamp};

/// Devices that are remembered; those that are gone longest make room.
const DEVICES_MAX: usize = 4096;
/// Scans of its network in a row that did not see a device, until it counts as gone.
const MISSES_TO_GONE: u8 = 3;

/// A device as it was seen last.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeenDevice {
    #[serde(flatten)]
    pub device: Device,
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
    /// False once three scans of its network did not see it, or another device has its address.
    pub is_present: bool,
    #[serde(skip)]
    missed: u8,
}

/// What changed, worth an event.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceChange {
    Found(Box<Device>),
    Gone(Box<Device>),
}

/// A device is its MAC; one whose MAC cannot be seen is its address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Mac(String),
    Ip(IpAddr),
}

fn key(device: &Device) -> Key {
    match &device.mac {
        Some(mac) => Key::Mac(mac.clone()),
        None => Key::Ip(device.ip),
    }
}

#[derive(Debug, Default)]
pub(super) struct Inventory {
    rows: BTreeMap<Key, SeenDevice>,
    /// A whole scan was seen: what is new now is news.
    is_seeded: bool,
}

impl Inventory {
    /// Takes what a scan saw. `covers` tells which addresses it looked at; `None` where it was cut
    /// short, so that what it did not see says nothing.
    pub fn take(
        &mut self,
        devices: &[Device],
        covers: Option<&dyn Fn(IpAddr) -> bool>,
        at: Timestamp,
    ) -> Vec<DeviceChange> {
        let mut changes = Vec::new();
        for device in devices {
            if self.see(device, at) && self.is_seeded && device.is_camera {
                changes.push(DeviceChange::Found(Box::new(device.clone())));
            }
        }
        if let Some(covers) = covers {
            changes.extend(self.miss(covers, at));
            self.is_seeded = true;
        }
        self.make_room();
        changes
    }

    /// True if the device was not here before, or was gone.
    fn see(&mut self, device: &Device, at: Timestamp) -> bool {
        let key = key(device);
        // Now its MAC is known, or another device has the address.
        let by_ip = self.rows.remove(&Key::Ip(device.ip));
        for (other, row) in &mut self.rows {
            if row.device.ip == device.ip && *other != key {
                row.is_present = false;
            }
        }
        let before = self.rows.remove(&key).or(by_ip);
        let is_news = before.as_ref().is_none_or(|row| !row.is_present);
        let first_seen_at = before.as_ref().map_or(at, |row| row.first_seen_at);
        let row = SeenDevice {
            device: merged(before.map(|row| row.device), device),
            first_seen_at,
            last_seen_at: at,
            is_present: true,
            missed: 0,
        };
        self.rows.insert(key, row);
        is_news
    }

    fn miss(&mut self, covers: &dyn Fn(IpAddr) -> bool, at: Timestamp) -> Vec<DeviceChange> {
        let is_missed = |row: &&mut SeenDevice| {
            row.is_present && row.last_seen_at < at && covers(row.device.ip)
        };
        let mut gone = Vec::new();
        for row in self.rows.values_mut().filter(is_missed) {
            row.missed += 1;
            if row.missed < MISSES_TO_GONE {
                continue;
            }
            row.is_present = false;
            if row.device.is_camera {
                gone.push(DeviceChange::Gone(Box::new(row.device.clone())));
            }
        }
        gone
    }

    fn make_room(&mut self) {
        while DEVICES_MAX < self.rows.len() {
            let oldest = self
                .rows
                .iter()
                .min_by_key(|(_, row)| (row.is_present, row.last_seen_at))
                .map(|(key, _)| key.clone());
            let Some(key) = oldest else { return };
            self.rows.remove(&key);
        }
    }
}

/// What is known stays known where the new look was a shorter one.
fn merged(before: Option<Device>, new: &Device) -> Device {
    let mut device = new.clone();
    let Some(before) = before else { return device };
    let keep = |slot: &mut Option<String>, old: Option<String>| {
        if slot.is_none() {
            *slot = old;
        }
    };
    keep(&mut device.vendor, before.vendor);
    if device.manufacturer.is_none() {
        device.manufacturer = before.manufacturer;
        device.manufacturer_id = before.manufacturer_id;
    }
    keep(&mut device.model, before.model);
    keep(&mut device.firmware_version, before.firmware_version);
    keep(&mut device.serial_number, before.serial_number);
    keep(&mut device.hostname, before.hostname);
    if device.confidence < before.confidence {
        device.confidence = before.confidence;
        device.evidence = before.evidence;
    }
    if device.open_ports.is_empty() {
        device.open_ports = before.open_ports;
        device.needs_credentials |= before.needs_credentials;
    }
    if device.ip == before.ip {
        keep(&mut device.rtsp_url, before.rtsp_url);
        keep(&mut device.onvif_url, before.onvif_url);
    }
    device.is_camera |= before.is_camera;
    device.is_onvif |= before.is_onvif;
    let missing = before
        .found_by
        .into_iter()
        .filter(|by| !new.found_by.contains(by));
    device.found_by.extend(missing);
    device
}

impl Site {
    /// The device that was seen at this address last.
    pub(super) fn seen_at(&self, ip: IpAddr) -> Option<Device> {
        let inventory = lock(&self.inventory);
        let is_there = |row: &&SeenDevice| row.is_present && row.device.ip == ip;
        inventory
            .rows
            .values()
            .find(is_there)
            .map(|row| row.device.clone())
    }

    /// Every device that was seen, by address.
    pub fn seen_devices(&self) -> Vec<SeenDevice> {
        let stored = self.addresses();
        let mut devices: Vec<SeenDevice> = lock(&self.inventory).rows.values().cloned().collect();
        for row in &mut devices {
            let camera = stored.get(&row.device.ip.to_string()).copied();
            row.device.camera_id = camera.filter(|_| row.is_present);
        }
        devices.sort_by_key(|row| row.device.ip);
        devices
    }

    /// Takes what a scan saw into the inventory; see [`Inventory::take`].
    pub(super) fn take_into_inventory(
        &self,
        devices: &[Device],
        covers: Option<&dyn Fn(IpAddr) -> bool>,
    ) {
        let at = now();
        let changes = lock(&self.inventory).take(devices, covers, at);
        let stored = self.addresses();
        let event = |change: DeviceChange| {
            let (kind, device, what) = match change {
                DeviceChange::Found(device) => (EventKind::DeviceFound, device, "was found at"),
                DeviceChange::Gone(device) => (EventKind::DeviceGone, device, "is gone from"),
            };
            // A stored camera has its own online and offline.
            let ip = device.ip.to_string();
            let is_told = stored.contains_key(&ip);
            let maker = device.manufacturer.as_deref().unwrap_or("a camera");
            let model = device
                .model
                .as_deref()
                .map(|m| format!(" {m}"))
                .unwrap_or_default();
            (!is_told).then(|| Event {
                id: Uuid::now_v7(),
                time: at,
                kind,
                camera_id: None,
                camera_name: None,
                cause: None,
                duration_s: None,
                message: format!("{maker}{model} {what} {ip}"),
                detail: None,
            })
        };
        let events: Vec<Event> = changes.into_iter().filter_map(event).collect();
        events.iter().for_each(|e| tracing::info!("{}", e.message));
        if !events.is_empty() {
            self.remember(events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(last: u8, mac: Option<u8>) -> Device {
        Device {
            ip: IpAddr::from([10, 0, 0, last]),
            mac: mac.map(|m| format!("44:19:b6:00:00:{m:02x}")),
            is_camera: true,
            ..Device::at(IpAddr::from([10, 0, 0, last]))
        }
    }

    fn kinds(changes: &[DeviceChange]) -> Vec<(char, String)> {
        changes
            .iter()
            .map(|change| match change {
                DeviceChange::Found(d) => ('+', d.ip.to_string()),
                DeviceChange::Gone(d) => ('-', d.ip.to_string()),
            })
            .collect()
    }

    const ALL: Option<&dyn Fn(IpAddr) -> bool> = Some(&|_| true);

    #[test]
    fn what_the_first_scan_sees_is_no_news() {
        let mut inventory = Inventory::default();
        assert!(
            inventory
                .take(&[device(1, Some(1))], ALL, Timestamp(1))
                .is_empty()
        );
        let found = inventory.take(&[device(1, Some(1)), device(2, Some(2))], ALL, Timestamp(2));
        assert_eq!(kinds(&found), [('+', "10.0.0.2".to_owned())]);
        let row = &inventory.rows[&key(&device(1, Some(1)))];
        assert_eq!(
            (row.first_seen_at, row.last_seen_at),
            (Timestamp(1), Timestamp(2))
        );
    }

    #[test]
    fn three_misses_in_its_own_network_and_it_is_gone() {
        let mut inventory = Inventory::default();
        inventory.take(&[device(1, Some(1))], ALL, Timestamp(1));
        let elsewhere: Option<&dyn Fn(IpAddr) -> bool> = Some(&|_| false);
        for at in 2..9 {
            assert!(inventory.take(&[], elsewhere, Timestamp(at)).is_empty());
            assert!(inventory.take(&[], None, Timestamp(at)).is_empty());
        }
        assert!(inventory.take(&[], ALL, Timestamp(10)).is_empty());
        assert!(inventory.take(&[], ALL, Timestamp(11)).is_empty());
        let gone = inventory.take(&[], ALL, Timestamp(12));
        assert_eq!(kinds(&gone), [('-', "10.0.0.1".to_owned())]);
        assert!(
            inventory.take(&[], ALL, Timestamp(13)).is_empty(),
            "said once"
        );
        let back = inventory.take(&[device(7, Some(1))], ALL, Timestamp(14));
        assert_eq!(
            kinds(&back),
            [('+', "10.0.0.7".to_owned())],
            "with another address"
        );
        assert_eq!(inventory.rows.len(), 1);
    }

    #[test]
    fn a_device_is_its_mac() {
        let mut inventory = Inventory::default();
        inventory.take(&[device(1, None)], ALL, Timestamp(1));
        inventory.take(&[device(1, Some(1))], ALL, Timestamp(2));
        assert_eq!(inventory.rows.len(), 1, "its MAC became known");
        inventory.take(&[device(1, Some(2))], ALL, Timestamp(3));
        let present: Vec<bool> = inventory.rows.values().map(|row| row.is_present).collect();
        assert_eq!(present, [false, true], "another one has the address");
    }

    #[test]
    fn a_short_look_forgets_nothing() {
        let known = Device {
            model: Some("P1375".to_owned()),
            confidence: 0.9,
            evidence: vec!["banner".to_owned()],
            open_ports: vec![554],
            found_by: vec!["tcp"],
            ..device(1, Some(1))
        };
        let short = Device {
            is_camera: false,
            found_by: vec!["arp"],
            ..device(1, Some(1))
        };
        let both = merged(Some(known.clone()), &short);
        assert_eq!(both.model, known.model);
        assert_eq!(
            (both.confidence, both.evidence, both.open_ports),
            (0.9, known.evidence, vec![554])
        );
        assert!(both.is_camera);
        assert_eq!(both.found_by, ["arp", "tcp"]);
    }

    #[test]
    fn the_number_of_devices_is_bounded() {
        let mut inventory = Inventory::default();
        for n in 0..DEVICES_MAX + 10 {
            let ip = IpAddr::from([10, 1, (n / 250) as u8, (n % 250) as u8]);
            let at = Timestamp(n as i64);
            inventory.take(
                &[Device {
                    ip,
                    ..device(0, None)
                }],
                None,
                at,
            );
        }
        assert_eq!(inventory.rows.len(), DEVICES_MAX);
        let first = Key::Ip(IpAddr::from([10, 1, 0, 0]));
        assert!(!inventory.rows.contains_key(&first), "the oldest made room");
    }
}
