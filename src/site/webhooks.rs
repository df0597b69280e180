//! Keys by which cameras push events, and whose message one is that carries none.

use std::net::IpAddr;

use super::cameras::about;
use super::entry::Entry;
use super::{Site, SiteError, lock};
use crate::brake::now;
use crate::model::{Camera, CameraId, ConnectionType, EventKind, Mac, Secret};
use crate::sys::token;
use crate::wire::events::Sender;

/// Longest text that is looked up as a key, bytes.
const KEY_BYTES_MAX: usize = 128;

impl Site {
    /// Makes a camera's key, in place of one that it may have. The secret is in the answer and nowhere
    /// else.
    ///
    /// # Errors
    /// An unknown camera, or the store's.
    pub async fn make_webhook_key(&self, id: CameraId) -> Result<Secret, SiteError> {
        let failed = |e: std::io::Error| SiteError::Store {
            full: false,
            message: e.to_string(),
        };
        let (secret, sha256) = token::make().map_err(failed)?;
        self.set_webhook_key(id, Some(hex(&sha256))).await?;
        Ok(secret)
    }

    /// Takes a camera's key out of force at once.
    ///
    /// # Errors
    /// An unknown camera, or the store's.
    pub async fn drop_webhook_key(&self, id: CameraId) -> Result<(), SiteError> {
        self.set_webhook_key(id, None).await
    }

    async fn set_webhook_key(&self, id: CameraId, sha256: Option<String>) -> Result<(), SiteError> {
        let (mut camera, secrets) = {
            let cameras = lock(&self.cameras);
            let entry = cameras.get(&id).ok_or(SiteError::UnknownCamera(id))?;
            (entry.camera.clone(), entry.secrets.clone())
        };
        if camera.webhook_sha256 == sha256 {
            return Ok(());
        }
        let verb = if sha256.is_some() { "made" } else { "revoked" };
        camera.webhook_sha256 = sha256;
        camera.revision += 1;
        camera.updated_at = now();
        self.store.put_camera(&camera, &secrets).await?;
        let name = camera.name.clone();
        let event = about(
            &camera,
            EventKind::ConfigChanged,
            format!("the webhook key of {name} was {verb}"),
        );
        if let Some(entry) = lock(&self.cameras).get_mut(&id) {
            entry.camera.webhook_sha256 = camera.webhook_sha256;
            entry.camera.revision = entry.camera.revision.max(camera.revision);
            entry.camera.updated_at = camera.updated_at;
        }
        tracing::info!(camera = id.0, name, "the webhook key was {verb}");
        self.tell(event);
        Ok(())
    }

    /// The enabled camera of a key. Only hashes are compared: what the time of that tells is of no use.
    pub fn camera_of_key(&self, key: &str) -> Option<CameraId> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return None;
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        let sha256 = hex(digest.as_ref());
        let cameras = lock(&self.cameras);
        let mut all = cameras.values().filter(|e| e.camera.enabled);
        let found = all.find(|e| e.camera.webhook_sha256.as_ref() == Some(&sha256));
        found.map(|e| e.camera.id)
    }

    /// The enabled camera that a message without a key is from: by its MAC address or serial number,
    /// else by the address that it came from.
    pub fn camera_of_sender(&self, sender: &Sender, from: IpAddr) -> Option<CameraId> {
        let mac = sender.mac.map(|mac| mac.to_string());
        let from = from.to_canonical().to_string();
        let cameras = lock(&self.cameras);
        let by = |is_it: &dyn Fn(&Camera) -> bool| device(cameras.values(), is_it);
        let has_mac = |c: &Camera| mac.is_some() && c.mac_address == mac;
        let has_serial = |c: &Camera| sender.serial.is_some() && c.serial_number == sender.serial;
        let has_address = |c: &Camera| c.ip_address.as_ref() == Some(&from);
        by(&has_mac)
            .or_else(|| by(&has_serial))
            .or_else(|| by(&has_address))
    }

    /// The enabled camera with this MAC address.
    pub(super) fn camera_of_mac(&self, mac: Mac) -> Option<CameraId> {
        let mac = Some(mac.to_string());
        device(lock(&self.cameras).values(), &|c| c.mac_address == mac)
    }
}

/// The camera; of a recorder's many the recorder itself, else the first.
fn device<'e>(
    all: impl Iterator<Item = &'e Entry>,
    is_it: &dyn Fn(&Camera) -> bool,
) -> Option<CameraId> {
    let found = all.map(|e| &e.camera).filter(|c| c.enabled && is_it(c));
    let rank = |c: &&Camera| {
        let is_recorder = c.connection_type == Some(ConnectionType::Nvr);
        (!is_recorder, c.nvr_id.is_some(), c.id)
    };
    found.min_by_key(rank).map(|c| c.id)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
