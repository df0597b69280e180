//! Hourly roll-ups and raw samples.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use redb::{ReadTransaction, ReadableTable, Table, WriteTransaction};

use super::error::Fault;
use super::pack;
use super::records;
use super::tables::{ROLLUPS, SAMPLES, STATES};
use crate::model::{CameraId, HOUR_S, HourRollup, RawSample, Timestamp};
use crate::policy::uptime::Totals;

/// What one beat (10 minutes) writes, in one commit.
#[derive(Debug, Default)]
pub struct Beat {
    pub at: Timestamp,
    /// Whole roll-ups, not differences: (unix hour, camera, roll-up). A later one replaces an earlier.
    pub rollups: Vec<(u32, CameraId, HourRollup)>,
    /// The checks since the beat before.
    pub raw: Vec<(CameraId, Vec<RawSample>)>,
    /// Lifecycles that changed without a transition.
    pub states: Vec<(CameraId, Vec<u8>)>,
    /// Token id and when it was last used.
    pub tokens_used: Vec<(String, Timestamp)>,
    /// Up to which event the broker has taken them; `None`: nobody reports.
    pub reported: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    pub raw_h: u32,
    pub history_h: u32,
}

/// Expired hours that one beat deletes at most: a clock that is wrong for a moment must not wipe
/// the history.
const EXPIRED_HOURS_MAX: u32 = 2;

pub(super) fn write_beat(
    txn: &WriteTransaction,
    beat: &Beat,
    retention: Retention,
) -> Result<(), Fault> {
    let at_s = u32::try_from(beat.at.unix_s()).unwrap_or(0);
    write_rollups(txn, &beat.rollups)?;
    write_samples(txn, at_s, &beat.raw)?;
    let mut states = txn.open_table(STATES)?;
    for (camera, json) in &beat.states {
        states.insert(camera.0, json.as_slice())?;
    }
    records::touch_tokens(txn, &beat.tokens_used)?;
    records::put_reported(txn, beat.reported)?;

    let oldest_hour = (at_s / HOUR_S).saturating_sub(retention.history_h);
    expire(
        &mut txn.open_table(ROLLUPS)?,
        oldest_hour,
        EXPIRED_HOURS_MAX,
    )?;
    let oldest_s = at_s.saturating_sub(retention.raw_h.saturating_mul(HOUR_S));
    let span_s = EXPIRED_HOURS_MAX * HOUR_S;
    expire(&mut txn.open_table(SAMPLES)?, oldest_s, span_s)
}

fn write_rollups(
    txn: &WriteTransaction,
    rollups: &[(u32, CameraId, HourRollup)],
) -> Result<(), Fault> {
    let mut groups: BTreeMap<u64, BTreeMap<u8, HourRollup>> = BTreeMap::new();
    for (hour, camera, rollup) in rollups {
        let (group, slot) = pack::place(*camera);
        let group = groups.entry(pack::key(*hour, group)).or_default();
        group.insert(slot, *rollup);
    }
    let mut table = txn.open_table(ROLLUPS)?;
    for (key, fresh) in groups {
        let mut all: BTreeMap<u8, HourRollup> = match table.get(key)? {
            Some(row) => pack::unpack_rollups(row.value()).collect(),
            None => BTreeMap::new(),
        };
        all.extend(fresh);
        let rows: Vec<_> = all.into_iter().collect();
        table.insert(key, pack::pack_rollups(&rows).as_slice())?;
    }
    Ok(())
}

fn write_samples(
    txn: &WriteTransaction,
    at_s: u32,
    raw: &[(CameraId, Vec<RawSample>)],
) -> Result<(), Fault> {
    let mut table = txn.open_table(SAMPLES)?;
    // Never over an earlier beat, also after the clock went back.
    let mut beat_s = at_s;
    while has_beat(&table, beat_s)? {
        beat_s = beat_s.saturating_add(1);
    }
    let mut groups: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (camera, samples) in raw.iter().filter(|(_, samples)| !samples.is_empty()) {
        let (group, slot) = pack::place(*camera);
        pack::pack_samples(groups.entry(group).or_default(), slot, beat_s, samples);
    }
    for (group, row) in groups {
        table.insert(pack::key(beat_s, group), row.as_slice())?;
    }
    Ok(())
}

fn has_beat(table: &Table<'_, u64, &'static [u8]>, beat_s: u32) -> Result<bool, Fault> {
    let mut rows = table.range(pack::key(beat_s, 0)..=pack::key(beat_s, u32::MAX))?;
    Ok(beat_s != u32::MAX && rows.next().transpose()?.is_some())
}

/// Deletes rows before `oldest`, but at most `span` from the first one on.
fn expire(table: &mut Table<'_, u64, &'static [u8]>, oldest: u32, span: u32) -> Result<(), Fault> {
    let Some(first) = table.first()?.map(|(key, _)| pack::unkey(key.value()).0) else {
        return Ok(());
    };
    if first < oldest {
        let end = oldest.min(first.saturating_add(span));
        table.retain_in(..pack::key(end, 0), |_, _| false)?;
    }
    Ok(())
}

/// One camera's roll-ups, oldest first; hours without one are left out.
pub(super) fn rollups(
    txn: &ReadTransaction,
    camera: CameraId,
    hours: Range<u32>,
) -> Result<Vec<(u32, HourRollup)>, Fault> {
    let (group, slot) = pack::place(camera);
    let table = txn.open_table(ROLLUPS)?;
    let mut found = Vec::new();
    each_row_of_group(&table, group, hours, |hour, row| {
        let rollup = pack::unpack_rollups(row).find(|(s, _)| *s == slot);
        found.extend(rollup.map(|(_, rollup)| (hour, rollup)));
    })?;
    Ok(found)
}

/// One camera's samples with a time in `times`, in the order they were written.
pub(super) fn samples(
    txn: &ReadTransaction,
    camera: CameraId,
    times: Range<u32>,
) -> Result<Vec<RawSample>, Fault> {
    let (group, slot) = pack::place(camera);
    let table = txn.open_table(SAMPLES)?;
    let mut found = Vec::new();
    // A beat holds what was before it, so there is no upper bound; retention keeps the table short.
    each_row_of_group(&table, group, times.start..u32::MAX, |beat_s, row| {
        let own = pack::unpack_samples(beat_s, row).filter(|(s, _)| *s == slot);
        let wanted = own.map(|(_, sample)| sample);
        found.extend(wanted.filter(|sample| times.contains(&sample.at_unix_s)));
    })?;
    Ok(found)
}

/// Goes from one row of the group to the next with one look-up each, over the rows of the others.
fn each_row_of_group(
    table: &impl ReadableTable<u64, &'static [u8]>,
    group: u32,
    times: Range<u32>,
    mut visit: impl FnMut(u32, &[u8]),
) -> Result<(), Fault> {
    let end = pack::key(times.end, 0);
    let mut from = pack::key(times.start, group);
    while from < end {
        let Some(row) = table.range(from..end)?.next() else {
            return Ok(());
        };
        let (key, value) = row?;
        let (time, found) = pack::unkey(key.value());
        if found == group {
            visit(time, value.value());
        }
        let time = if found < group {
            time
        } else {
            time.saturating_add(1)
        };
        from = pack::key(time, group);
    }
    Ok(())
}

/// Sums per camera over `hours`, in one scan; cameras without a row are left out.
pub(super) fn sums(
    txn: &ReadTransaction,
    hours: Range<u32>,
) -> Result<HashMap<CameraId, Totals>, Fault> {
    let table = txn.open_table(ROLLUPS)?;
    let mut sums: HashMap<CameraId, Totals> = HashMap::new();
    for row in table.range(pack::key(hours.start, 0)..pack::key(hours.end, 0))? {
        let (key, value) = row?;
        let (_, group) = pack::unkey(key.value());
        for (slot, rollup) in pack::unpack_rollups(value.value()) {
            let camera = pack::camera_at(group, slot);
            sums.entry(camera).or_default().add(&rollup);
        }
    }
    Ok(sums)
}

/// Every camera's roll-up of one hour.
pub(super) fn hour(txn: &ReadTransaction, hour: u32) -> Result<Vec<(CameraId, HourRollup)>, Fault> {
    let table = txn.open_table(ROLLUPS)?;
    let mut found = Vec::new();
    for row in table.range(pack::key(hour, 0)..pack::key(hour.saturating_add(1), 0))? {
        let (key, value) = row?;
        let (_, group) = pack::unkey(key.value());
        let rollups = pack::unpack_rollups(value.value());
        found.extend(rollups.map(|(slot, rollup)| (pack::camera_at(group, slot), rollup)));
    }
    Ok(found)
}
