//! How history is packed. Flash wears by pages written, so an hour of 64 cameras is one row of a
//! few hundred bytes, and a regular sample costs one byte.

use crate::model::{CameraId, HourRollup, RawSample};

/// Cameras that share a row: ids with the same quotient by this number.
pub(super) const GROUP: u32 = 64;

/// The group of a camera and its slot in it.
pub(super) fn place(camera: CameraId) -> (u32, u8) {
    (camera.0 / GROUP, (camera.0 % GROUP) as u8)
}

pub(super) fn camera_at(group: u32, slot: u8) -> CameraId {
    CameraId(group.wrapping_mul(GROUP).wrapping_add(u32::from(slot)))
}

/// Key of a group's row: time-first, so that rows are appended and expire in order.
pub(super) fn key(time: u32, group: u32) -> u64 {
    u64::from(time) << 32 | u64::from(group)
}

pub(super) fn unkey(key: u64) -> (u32, u32) {
    ((key >> 32) as u32, key as u32)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(input)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take_byte(input: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = input.split_first()?;
    *input = rest;
    Some(*byte)
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The numbers of a roll-up, in the order of its bitmap.
fn numbers(hour: &HourRollup) -> [u32; 15] {
    let h = hour.histogram.map(u32::from);
    [
        hour.up_s.into(),
        hour.down_s.into(),
        hour.checks_ok.into(),
        hour.checks_failed.into(),
        hour.response_sum_ms,
        hour.disconnections.into(),
        hour.reconnect_attempts.into(),
        h[0],
        h[1],
        h[2],
        h[3],
        h[4],
        h[5],
        h[6],
        h[7],
    ]
}

fn from_numbers(n: [u32; 15]) -> HourRollup {
    let small = |i: usize| u16::try_from(n[i]).unwrap_or(u16::MAX);
    HourRollup {
        up_s: small(0),
        down_s: small(1),
        checks_ok: small(2),
        checks_failed: small(3),
        response_sum_ms: n[4],
        disconnections: small(5),
        reconnect_attempts: small(6),
        histogram: std::array::from_fn(|i| small(7 + i)),
    }
}

/// Roll-ups of one group and hour: slot, bitmap of the numbers that are not zero, those as varints.
/// Later entries of a slot win.
pub(super) fn pack_rollups<'a>(rows: impl IntoIterator<Item = &'a (u8, HourRollup)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (slot, hour) in rows {
        let numbers = numbers(hour);
        let present = |i: &usize| numbers[*i] != 0;
        let bitmap = (0..15).filter(present).fold(0u16, |map, i| map | 1 << i);
        out.push(*slot);
        out.extend(bitmap.to_le_bytes());
        for i in (0..15).filter(present) {
            put_varint(&mut out, numbers[i].into());
        }
    }
    out
}

/// The opposite; stops at the first damaged entry.
pub(super) fn unpack_rollups(mut row: &[u8]) -> impl Iterator<Item = (u8, HourRollup)> {
    std::iter::from_fn(move || {
        let slot = take_byte(&mut row)?;
        let bitmap = u16::from_le_bytes([take_byte(&mut row)?, take_byte(&mut row)?]);
        let mut numbers = [0; 15];
        for (i, number) in numbers.iter_mut().enumerate() {
            if bitmap & 1 << i != 0 {
                *number = u32::try_from(take_varint(&mut row)?).ok()?;
            }
        }
        Some((slot, from_numbers(numbers)))
    })
}

/// A whole sample follows; the smaller forms differ from the one before by little.
const WHOLE: u8 = 0xc0;

/// Appends one camera's samples of a beat: slot, count, usual distance in seconds, then each
/// sample. One byte `0ddddddd` when it came at the usual distance with the same grade and cause (d:
/// zigzag difference of the response time); two, `10jjdddd dddddddd`, when it was a second early or
/// up to two late (j - 1); else [`WHOLE`] with everything.
pub(super) fn pack_samples(out: &mut Vec<u8>, slot: u8, beat_s: u32, samples: &[RawSample]) {
    let distance = match samples {
        [first, second, ..] => second.at_unix_s.saturating_sub(first.at_unix_s),
        _ => 0,
    };
    out.push(slot);
    put_varint(out, samples.len() as u64);
    put_varint(out, distance.into());
    let mut before = None;
    for sample in samples {
        let small = before.and_then(|before| small_form(before, sample, distance));
        match small {
            Some((1, jitter)) if jitter < 0x80 => out.push(jitter as u8),
            Some((jitter, change)) => {
                out.extend([
                    0x80 | (jitter << 4) as u8 | (change >> 8) as u8,
                    change as u8,
                ]);
            }
            None => {
                let base = before.map_or(beat_s, |b: &RawSample| b.at_unix_s);
                out.push(WHOLE);
                put_varint(out, zigzag(i64::from(sample.at_unix_s) - i64::from(base)));
                out.extend(sample.response_ms.unwrap_or(u16::MAX).to_le_bytes());
                out.extend([sample.cause, sample.grade]);
            }
        }
        before = Some(sample);
    }
}

/// Jitter plus one (0 to 3) and the zigzag change of the response time (12 bits).
fn small_form(before: &RawSample, sample: &RawSample, distance: u32) -> Option<(u16, u16)> {
    if (before.cause, before.grade) != (sample.cause, sample.grade) {
        return None;
    }
    let change = match (before.response_ms, sample.response_ms) {
        (None, None) => 0,
        (Some(was), Some(is)) => zigzag(i64::from(is) - i64::from(was)),
        _ => return None,
    };
    let usual = i64::from(before.at_unix_s) + i64::from(distance);
    let jitter = i64::from(sample.at_unix_s) - usual + 1;
    let jitter = u16::try_from(jitter).ok().filter(|j| *j < 4)?;
    let change = u16::try_from(change).ok().filter(|c| *c < 0x1000)?;
    Some((jitter, change))
}

/// Every sample of a group's row, with the slot of its camera; stops at the first damaged entry.
pub(super) fn unpack_samples(beat_s: u32, mut row: &[u8]) -> impl Iterator<Item = (u8, RawSample)> {
    let mut left = 0;
    let (mut slot, mut distance) = (0, 0);
    let mut before: Option<RawSample> = None;
    std::iter::from_fn(move || {
        while left == 0 {
            slot = take_byte(&mut row)?;
            left = take_varint(&mut row)?;
            distance = u32::try_from(take_varint(&mut row)?).ok()?;
            before = None;
        }
        left -= 1;
        let sample = take_sample(&mut row, before, distance, beat_s)?;
        before = Some(sample);
        Some((slot, sample))
    })
}

fn take_sample(
    row: &mut &[u8],
    before: Option<RawSample>,
    distance: u32,
    beat_s: u32,
) -> Option<RawSample> {
    let tag = take_byte(row)?;
    if tag == WHOLE {
        let base = before.map_or(beat_s, |b| b.at_unix_s);
        let at = i64::from(base).checked_add(unzigzag(take_varint(row)?))?;
        let response = u16::from_le_bytes([take_byte(row)?, take_byte(row)?]);
        return Some(RawSample {
            at_unix_s: u32::try_from(at).ok()?,
            response_ms: (response != u16::MAX).then_some(response),
            cause: take_byte(row)?,
            grade: take_byte(row)?,
        });
    }
    let before = before?;
    let (jitter, change) = match tag {
        0..0x80 => (1, u16::from(tag)),
        0x80..0xc0 => (
            u32::from(tag >> 4 & 3),
            u16::from(tag & 15) << 8 | u16::from(take_byte(row)?),
        ),
        _ => return None,
    };
    let response_ms = match before.response_ms {
        None => None,
        Some(was) => Some(u16::try_from(i64::from(was) + unzigzag(change.into())).ok()?),
    };
    Some(RawSample {
        at_unix_s: (before
            .at_unix_s
            .checked_add(distance)?
            .checked_add(jitter)?)
        .checked_sub(1)?,
        response_ms,
        ..before
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> impl Strategy<Value = RawSample> {
        (
            prop_oneof![1_800_000_000u32..1_800_000_010, any::<u32>()],
            proptest::option::of(prop_oneof![0u16..200, 0..u16::MAX]),
            0u8..3,
            0u8..5,
        )
            .prop_map(|(at_unix_s, response_ms, cause, grade)| RawSample {
                at_unix_s,
                response_ms,
                cause,
                grade,
            })
    }

    #[test]
    fn a_regular_sample_costs_one_byte() {
        let samples: Vec<_> = (0..10u16)
            .map(|i| RawSample {
                at_unix_s: 1_800_000_000 + 60 * u32::from(i),
                response_ms: Some(240 + i % 3),
                cause: 0,
                grade: 4,
            })
            .collect();
        let mut row = Vec::new();
        pack_samples(&mut row, 5, 1_800_000_600, &samples);
        assert_eq!(row.len(), 3 + 7 + 9);
        let read = unpack_samples(1_800_000_600, &row);
        assert!(read.eq(samples.into_iter().map(|s| (5, s))));
    }

    proptest! {
        #[test]
        fn samples_survive(a in prop::collection::vec(sample(), 0..12), b in prop::collection::vec(sample(), 0..12), beat: u32) {
            let mut row = Vec::new();
            pack_samples(&mut row, 3, beat, &a);
            pack_samples(&mut row, 63, beat, &b);
            let read: Vec<_> = unpack_samples(beat, &row).collect();
            let want: Vec<_> = a.into_iter().map(|s| (3, s)).chain(b.into_iter().map(|s| (63, s))).collect();
            prop_assert_eq!(read, want);
        }

        #[test]
        fn rollups_survive(n in prop::collection::vec((0u8..64, prop::array::uniform15(prop_oneof![Just(0u32), 0..=65535u32])), 0..8)) {
            let rows: Vec<_> = n.into_iter().map(|(slot, n)| (slot, from_numbers(n))).collect();
            let read: Vec<_> = unpack_rollups(&pack_rollups(&rows)).collect();
            prop_assert_eq!(read, rows);
        }

        #[test]
        fn damaged_rows_end_and_never_panic(row in prop::collection::vec(any::<u8>(), 0..64), beat: u32) {
            prop_assert!(unpack_samples(beat, &row).count() <= row.len());
            prop_assert!(unpack_rollups(&row).count() <= row.len());
        }
    }
}
