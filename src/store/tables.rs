//! Tables and rows. Keys and values are fixed-width numbers and plain bytes, whose encoding redb
//! will not change.

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::error::Fault;
use crate::model::{CameraId, Event, Timestamp};

/// The layout that this program writes; see [`super::file::MIGRATIONS`].
pub(super) const SCHEMA: u32 = 1;

type Bytes = &'static [u8];

/// What the other tables mean, by the names in [`meta`].
pub(super) const META: TableDefinition<Bytes, Bytes> = TableDefinition::new("meta");
/// Camera id -> JSON.
pub(super) const CAMERAS: TableDefinition<u32, Bytes> = TableDefinition::new("cameras");
/// Camera uid -> sealed secrets.
pub(super) const SECRETS: TableDefinition<Bytes, Bytes> = TableDefinition::new("secrets");
/// Camera id -> JSON of its lifecycle.
pub(super) const STATES: TableDefinition<u32, Bytes> = TableDefinition::new("states");
/// Host and realm -> JSON.
pub(super) const BRAKE: TableDefinition<Bytes, Bytes> = TableDefinition::new("brake");
/// Token id -> JSON.
pub(super) const TOKENS: TableDefinition<Bytes, Bytes> = TableDefinition::new("tokens");
/// Sequence number -> [`event_row`].
pub(super) const EVENTS: TableDefinition<u64, Bytes> = TableDefinition::new("events");
/// The same for what cameras reported, with sequence numbers of the same row: they are many, and must
/// not push out the transitions that uptime is told from. Made by its first row.
pub(super) const OBSERVED: TableDefinition<u64, Bytes> = TableDefinition::new("observed");
/// `key(unix hour, group)` -> `pack_rollups`.
pub(super) const ROLLUPS: TableDefinition<u64, Bytes> = TableDefinition::new("rollups");
/// `key(beat in unix seconds, group)` -> `pack_samples` of each camera.
pub(super) const SAMPLES: TableDefinition<u64, Bytes> = TableDefinition::new("samples");

pub(super) mod meta {
    pub const SCHEMA: &[u8] = b"schema";
    pub const GATEWAY_ID: &[u8] = b"gateway_id";
    /// 16 random bytes: tells this store from another one in the same directory.
    pub const STORE_ID: &[u8] = b"store_id";
    pub const NEXT_CAMERA_ID: &[u8] = b"next_camera_id";
    /// Journal records of this generation are not in the tables yet.
    pub const GENERATION: &[u8] = b"generation";
    /// Next sequence number of an event, at least.
    pub const SEQUENCE: &[u8] = b"sequence";
    /// Sequence number of the last event that the broker has taken.
    pub const REPORTED: &[u8] = b"reported";
    /// JSON of what was published for good on a broker.
    pub const PUBLISHED: &[u8] = b"published";
    /// JSON of a change of the settings that is on trial.
    pub const TRIAL: &[u8] = b"trial";
    /// JSON of the last commands that were taken.
    pub const COMMANDS: &[u8] = b"commands";
    /// JSON of the operator's document and of what was taken of it.
    pub const DESIRED: &[u8] = b"desired";
    /// JSON object.
    pub const SETTINGS: &[u8] = b"settings";
    pub const VAULT_CHECK: &[u8] = b"vault_check";
}

/// Makes every table, so that reading never meets a missing one.
pub(super) fn create_all(txn: &WriteTransaction) -> Result<(), Fault> {
    for table in [META, SECRETS, BRAKE, TOKENS] {
        txn.open_table(table)?;
    }
    for table in [CAMERAS, STATES] {
        txn.open_table(table)?;
    }
    for table in [EVENTS, ROLLUPS, SAMPLES] {
        txn.open_table(table)?;
    }
    Ok(())
}

pub(super) fn put_meta(txn: &WriteTransaction, name: &[u8], value: &[u8]) -> Result<(), Fault> {
    txn.open_table(META)?.insert(name, value)?;
    Ok(())
}

/// A number of the meta table, little-endian; `None` when it is missing or has another width.
pub(super) fn meta_number<const N: usize>(
    table: &impl ReadableTable<Bytes, Bytes>,
    name: &[u8],
) -> Result<Option<[u8; N]>, Fault> {
    let value = table.get(name)?;
    Ok(value.and_then(|v| v.value().try_into().ok()))
}

/// Time (ms, i64) and camera (u32, 0 = none), both little-endian, before the JSON: a filter reads
/// these only.
pub(super) fn event_row(event: &Event) -> Vec<u8> {
    let mut row = Vec::with_capacity(256);
    row.extend(event.time.unix_ms().to_le_bytes());
    row.extend(event.camera_id.map_or(0, |c| c.0).to_le_bytes());
    // Plain data with string keys: serialising it cannot fail.
    let _ = serde_json::to_writer(&mut row, event);
    row
}

pub(super) struct EventRow<'a> {
    pub time: Timestamp,
    pub camera: Option<CameraId>,
    pub json: &'a [u8],
}

pub(super) fn read_event_row(row: &[u8]) -> Option<EventRow<'_>> {
    let (time, rest) = row.split_first_chunk::<8>()?;
    let (camera, json) = rest.split_first_chunk::<4>()?;
    let camera = u32::from_le_bytes(*camera);
    Some(EventRow {
        time: Timestamp(i64::from_le_bytes(*time)),
        camera: (camera != 0).then_some(CameraId(camera)),
        json,
    })
}
