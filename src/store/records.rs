//! Rows that are plain records: cameras, tokens, the host brake, settings.

use redb::{Database, ReadableDatabase as _, ReadableTable as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::Fault;
use super::outside::{self, Outside};
use super::tables::{self, BRAKE, CAMERAS, META, SECRETS, STATES, TOKENS, meta};
use super::vault::Vault;
use crate::model::{Camera, CameraId, CameraSecrets, Timestamp};

/// What the host brake remembers of one host and realm. The store does not look inside; it must
/// hold no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrakeRow {
    /// Host and account realm.
    pub key: String,
    pub json: Vec<u8>,
}

/// An API token; the token itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    pub id: String,
    pub name: String,
    /// `read`, `operate` or `admin`.
    pub scope: String,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    pub created_at: Timestamp,
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    pub last_used_at: Option<Timestamp>,
}

/// Everything that the daemon keeps in memory, as it was stored. History and events stay on disk.
#[derive(Debug)]
pub struct Loaded {
    /// `gw-` and 12 hexadecimal digits, made at the first start.
    pub gateway_id: String,
    /// The store was made just now.
    pub first_start: bool,
    /// By id.
    pub cameras: Vec<(Camera, CameraSecrets)>,
    pub next_camera_id: CameraId,
    /// JSON of each camera's lifecycle.
    pub states: Vec<(CameraId, Vec<u8>)>,
    pub brake: Vec<BrakeRow>,
    pub tokens: Vec<TokenRow>,
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Up to which event the broker has taken them, if reporting was on.
    pub reported: Option<u64>,
    pub outside: Outside,
    /// Rows that could not be read, each as one sentence. They are kept on disk and were logged.
    pub unreadable: Vec<String>,
}

/// Reads all records. A row that cannot be read is named and skipped, never deleted.
pub(super) fn load(db: &Database, vault: &Vault, first_start: bool) -> Result<Loaded, Fault> {
    let txn = db.begin_read()?;
    let meta_table = txn.open_table(META)?;
    let mut unreadable = Vec::new();
    let next =
        tables::meta_number(&meta_table, meta::NEXT_CAMERA_ID)?.map_or(1, u32::from_le_bytes);
    let gateway_id = match meta_table.get(meta::GATEWAY_ID)? {
        Some(id) => String::from_utf8_lossy(id.value()).into_owned(),
        None => return Err(Fault::Corrupt("it names no gateway".to_owned())),
    };
    let reported = tables::meta_number(&meta_table, meta::REPORTED)?.map(u64::from_le_bytes);
    let settings = match meta_table.get(meta::SETTINGS)? {
        Some(json) => serde_json::from_slice(json.value()).unwrap_or_else(|e| {
            unreadable.push(format!("the stored settings cannot be read: {e}"));
            Default::default()
        }),
        None => Default::default(),
    };

    let secrets = txn.open_table(SECRETS)?;
    let mut cameras = Vec::new();
    let mut next_camera_id = CameraId(next.max(1));
    for row in txn.open_table(CAMERAS)?.iter()? {
        let (id, json) = row?;
        let id = id.value();
        next_camera_id = next_camera_id.max(CameraId(id.saturating_add(1)));
        let camera: Camera = match serde_json::from_slice(json.value()) {
            Ok(camera) => camera,
            Err(e) => {
                unreadable.push(format!("camera {id} cannot be read and is left out: {e}"));
                continue;
            }
        };
        let opened = match secrets.get(camera.uid.as_bytes().as_slice())? {
            Some(row) => vault.open(camera.uid, row.value()).unwrap_or_else(|_| {
                unreadable.push(format!(
                    "the passwords of camera {id} are damaged: set them again"
                ));
                CameraSecrets::default()
            }),
            None => CameraSecrets::default(),
        };
        cameras.push((camera, opened));
    }

    let mut tokens = Vec::new();
    for row in txn.open_table(TOKENS)?.iter()? {
        let (id, json) = row?;
        match serde_json::from_slice(json.value()) {
            Ok(token) => tokens.push(token),
            Err(e) => unreadable.push(format!(
                "token {} cannot be read and is not valid: {e}",
                String::from_utf8_lossy(id.value())
            )),
        }
    }
    let mut states = Vec::new();
    for row in txn.open_table(STATES)?.iter()? {
        let (id, json) = row?;
        states.push((CameraId(id.value()), json.value().to_vec()));
    }
    let mut brake = Vec::new();
    for row in txn.open_table(BRAKE)?.iter()? {
        let (key, json) = row?;
        brake.push(BrakeRow {
            key: String::from_utf8_lossy(key.value()).into_owned(),
            json: json.value().to_vec(),
        });
    }
    for sentence in &unreadable {
        tracing::error!("{sentence}");
    }
    Ok(Loaded {
        gateway_id,
        first_start,
        cameras,
        next_camera_id,
        states,
        brake,
        tokens,
        settings,
        reported,
        outside: outside::load(&txn, vault)?,
        unreadable,
    })
}

/// `sealed` is `None` when the camera has no secret.
pub(super) fn put_camera(
    txn: &WriteTransaction,
    (id, uid): (CameraId, uuid::Uuid),
    json: &[u8],
    sealed: Option<&[u8]>,
) -> Result<(), Fault> {
    txn.open_table(CAMERAS)?.insert(id.0, json)?;
    let mut secrets = txn.open_table(SECRETS)?;
    let uid = uid.as_bytes().as_slice();
    match sealed {
        Some(row) => secrets.insert(uid, row)?,
        None => secrets.remove(uid)?,
    };
    let next = id.0.saturating_add(1);
    let mut meta_table = txn.open_table(META)?;
    let known =
        tables::meta_number(&meta_table, meta::NEXT_CAMERA_ID)?.map_or(1, u32::from_le_bytes);
    if known < next {
        meta_table.insert(meta::NEXT_CAMERA_ID, next.to_le_bytes().as_slice())?;
    }
    Ok(())
}

/// Deletes the camera with its secrets and state, and stores what changes with it; its history expires by
/// itself.
pub(super) fn delete_camera(
    txn: &WriteTransaction,
    id: CameraId,
    uid: uuid::Uuid,
    others: &[(CameraId, Vec<u8>)],
) -> Result<(), Fault> {
    let mut cameras = txn.open_table(CAMERAS)?;
    cameras.remove(id.0)?;
    for (other, json) in others {
        cameras.insert(other.0, json.as_slice())?;
    }
    txn.open_table(STATES)?.remove(id.0)?;
    txn.open_table(SECRETS)?.remove(uid.as_bytes().as_slice())?;
    Ok(())
}

pub(super) fn put_brake(
    txn: &WriteTransaction,
    put: &[BrakeRow],
    delete: &[String],
) -> Result<(), Fault> {
    let mut table = txn.open_table(BRAKE)?;
    for key in delete {
        table.remove(key.as_bytes())?;
    }
    for row in put {
        table.insert(row.key.as_bytes(), row.json.as_slice())?;
    }
    Ok(())
}

/// Notes up to which event the broker has taken them. An unchanged number writes nothing.
pub(super) fn put_reported(txn: &WriteTransaction, reported: Option<u64>) -> Result<(), Fault> {
    let mut table = txn.open_table(META)?;
    let before = tables::meta_number(&table, meta::REPORTED)?.map(u64::from_le_bytes);
    match reported {
        _ if before == reported => {}
        Some(sequence) => {
            table.insert(meta::REPORTED, sequence.to_le_bytes().as_slice())?;
        }
        None => {
            table.remove(meta::REPORTED)?;
        }
    }
    Ok(())
}

pub(super) fn put_token(txn: &WriteTransaction, token: &TokenRow) -> Result<(), Fault> {
    let json = serde_json::to_vec(token).map_err(|e| Fault::Other(e.to_string()))?;
    txn.open_table(TOKENS)?
        .insert(token.id.as_bytes(), json.as_slice())?;
    Ok(())
}

pub(super) fn delete_token(txn: &WriteTransaction, id: &str) -> Result<(), Fault> {
    txn.open_table(TOKENS)?.remove(id.as_bytes())?;
    Ok(())
}

/// Notes when tokens were last used; unknown ones (revoked meanwhile) are passed over.
pub(super) fn touch_tokens(
    txn: &WriteTransaction,
    used: &[(String, Timestamp)],
) -> Result<(), Fault> {
    if used.is_empty() {
        return Ok(());
    }
    let table = txn.open_table(TOKENS)?;
    let mut touched: Vec<TokenRow> = Vec::with_capacity(used.len());
    for (id, at) in used {
        let Some(row) = table.get(id.as_bytes())? else {
            continue;
        };
        if let Ok(mut token) = serde_json::from_slice::<TokenRow>(row.value()) {
            token.last_used_at = Some(*at);
            touched.push(token);
        }
    }
    drop(table);
    touched.iter().try_for_each(|token| put_token(txn, token))
}
