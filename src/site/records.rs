//! From a draft to a stored record: names, duplicates, what a change means for the checks.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::entry::Entry;
use super::types::{CameraDraft, SiteError};
use crate::model::{Camera, CameraId, CameraSecrets, ConnectionType, StreamUrl, Timestamp};

/// A record from a draft.
pub fn new_record(id: CameraId, draft: CameraDraft, now: Timestamp) -> (Camera, CameraSecrets) {
    let secrets = CameraSecrets {
        password: draft.password.clone().apply(None),
        onvif_password: draft.onvif_password.clone().apply(None),
    };
    let mut camera = Camera {
        id,
        uid: Uuid::now_v7(),
        name: String::new(),
        tags: Vec::new(),
        enabled: true,
        manufacturer: None,
        model: None,
        firmware_version: None,
        serial_number: None,
        mac_address: None,
        connection_type: None,
        primary_stream_url: None,
        secondary_stream_url: None,
        snapshot_url: None,
        ip_address: None,
        moved_from: None,
        port: None,
        username: None,
        onvif_username: None,
        nvr_id: None,
        channel: None,
        connection_config: Default::default(),
        cloud_config: Default::default(),
        tls_pin: None,
        webhook_sha256: None,
        revision: 1,
        created_at: now,
        updated_at: now,
    };
    write(&mut camera, draft);
    (camera, secrets)
}

/// The record after a draft replaced its writable fields.
pub fn replaced(before: &Entry, draft: CameraDraft, now: Timestamp) -> (Camera, CameraSecrets) {
    let secrets = CameraSecrets {
        password: draft
            .password
            .clone()
            .apply(before.secrets.password.clone()),
        onvif_password: draft
            .onvif_password
            .clone()
            .apply(before.secrets.onvif_password.clone()),
    };
    let mut camera = before.camera.clone();
    write(&mut camera, draft);
    camera.revision += 1;
    camera.updated_at = now;
    if camera.ip_address != before.camera.ip_address {
        camera.moved_from = None;
    }
    if is_other_connection(before, &camera, &secrets) {
        // Another address or login: the certificate seen first says nothing about it.
        camera.tls_pin = None;
    }
    (camera, secrets)
}

fn write(camera: &mut Camera, draft: CameraDraft) {
    camera.tags = draft.tags;
    camera.enabled = draft.enabled;
    camera.manufacturer = draft.manufacturer;
    camera.model = draft.model;
    camera.firmware_version = draft.firmware_version;
    camera.serial_number = draft.serial_number;
    camera.mac_address = draft.mac_address;
    camera.connection_type = draft.connection_type;
    camera.primary_stream_url = draft.primary_stream_url;
    camera.secondary_stream_url = draft.secondary_stream_url;
    camera.snapshot_url = draft.snapshot_url;
    camera.ip_address = draft.ip_address;
    camera.port = draft.port;
    camera.username = draft.username;
    camera.onvif_username = draft.onvif_username;
    camera.nvr_id = draft.nvr_id;
    camera.channel = draft.channel;
    camera.connection_config = draft.connection_config;
    camera.cloud_config = draft.cloud_config;
    camera.name = if draft.name.is_empty() {
        default_name(camera)
    } else {
        draft.name
    };
}

/// The address, until a detection knows maker and model.
pub fn default_name(camera: &Camera) -> String {
    let host = camera
        .primary_stream_url
        .as_ref()
        .map(|url| url.host.clone());
    let address = camera
        .ip_address
        .clone()
        .or(host)
        .filter(|host| !host.is_empty());
    address.unwrap_or_else(|| format!("camera {}", camera.id))
}

/// True if checks of the new record say nothing about the old one.
pub fn is_other_connection(before: &Entry, camera: &Camera, secrets: &CameraSecrets) -> bool {
    let old = &before.camera;
    old.primary_stream_url != camera.primary_stream_url
        || old.connection_type != camera.connection_type
        || old.username != camera.username
        || before.secrets.password != secrets.password
        || old.connection_config.tls_verify != camera.connection_config.tls_verify
}

/// Same type and same URL without user info is the same camera; the same address alone is not (a
/// recorder has many). A record without a URL is compared by address and port.
///
/// # Errors
/// [`SiteError::Duplicate`] with the other's id.
pub fn refuse_duplicate(
    cameras: &BTreeMap<CameraId, Entry>,
    draft: &CameraDraft,
    own: Option<CameraId>,
) -> Result<(), SiteError> {
    let twin = cameras.values().map(|e| &e.camera).find(|other| {
        Some(other.id) != own
            && match (&draft.primary_stream_url, &other.primary_stream_url) {
                (Some(new), Some(old)) => {
                    kind(draft.connection_type, new) == kind(other.connection_type, old)
                        && new == old
                }
                (None, None) => {
                    draft.ip_address.is_some()
                        && draft.ip_address == other.ip_address
                        && draft.port == other.port
                }
                _ => false,
            }
    });
    twin.map_or(Ok(()), |other| Err(SiteError::Duplicate(other.id)))
}

fn kind(given: Option<ConnectionType>, url: &StreamUrl) -> ConnectionType {
    given.unwrap_or_else(|| url.connection_type())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::PasswordChange;

    fn draft(url: &str) -> CameraDraft {
        let url = StreamUrl::parse(url).unwrap().url;
        CameraDraft {
            enabled: true,
            ip_address: Some(url.host.clone()),
            connection_type: Some(url.connection_type()),
            primary_stream_url: Some(url),
            ..CameraDraft::default()
        }
    }

    fn entry(id: u32, draft: CameraDraft) -> Entry {
        let (camera, secrets) = new_record(CameraId(id), draft, Timestamp(0));
        Entry::new(camera, secrets)
    }

    #[test]
    fn the_channels_of_a_recorder_are_no_duplicates() {
        let first = entry(1, draft("rtsp://10.0.0.9/Streaming/Channels/101"));
        let cameras = BTreeMap::from([(CameraId(1), first)]);
        assert!(
            refuse_duplicate(
                &cameras,
                &draft("rtsp://10.0.0.9/Streaming/Channels/201"),
                None
            )
            .is_ok()
        );
        let twin = refuse_duplicate(
            &cameras,
            &draft("rtsp://10.0.0.9:554/Streaming/Channels/101"),
            None,
        );
        assert!(matches!(twin, Err(SiteError::Duplicate(CameraId(1)))));
        let itself = draft("rtsp://10.0.0.9:554/Streaming/Channels/101");
        assert!(refuse_duplicate(&cameras, &itself, Some(CameraId(1))).is_ok());
    }

    #[test]
    fn a_name_is_made_where_none_is_given() {
        let mut d = draft("rtsp://10.0.0.9/x");
        assert_eq!(entry(1, d.clone()).camera.name, "10.0.0.9");
        d.name = "Entrée".into();
        assert_eq!(entry(1, d).camera.name, "Entrée");
    }

    #[test]
    fn only_a_change_of_the_connection_drops_the_pin() {
        let mut before = entry(1, draft("rtsps://10.0.0.9/x"));
        before.camera.tls_pin = Some("ab".into());
        let mut renamed = draft("rtsps://10.0.0.9/x");
        renamed.name = "Hall".into();
        let (camera, _) = replaced(&before, renamed, Timestamp(9));
        assert_eq!(
            (camera.tls_pin.as_deref(), camera.revision),
            (Some("ab"), 2)
        );
        let mut login = draft("rtsps://10.0.0.9/x");
        login.password = PasswordChange::Set(crate::model::Secret::new("new"));
        assert_eq!(replaced(&before, login, Timestamp(9)).0.tls_pin, None);
    }
}
