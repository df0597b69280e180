//! Flash wear: how much the store writes in a day of 1,000 cameras checked every 60 s, with a beat
//! every 10 minutes and 500 transitions a day, and how large its file gets.
//!
//! `store_wear DIR [DAYS] [CAMERAS]`: DIR is made new on a real disk (a tmpfs counts nothing) and
//! removed at the end. Exit code 1 when the goal is missed (20 MiB a day, 40 MiB of file).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ohmvision::model::{
    CameraId, ErrorCode, Event, EventKind, HOUR_S, HourRollup, RawSample, Timestamp,
};
use ohmvision::store::{Beat, OpenOptions, Store, StoreError};

const BEAT_S: u32 = 600;
const BEATS_A_DAY: u32 = 24 * HOUR_S / BEAT_S;
const TRANSITIONS_A_DAY: u32 = 500;
const START_S: u32 = 1_795_996_800;
const MIB: f64 = 1024.0 * 1024.0;
const WRITTEN_MIB_MAX: f64 = 20.0;
const FILE_MIB_MAX: f64 = 40.0;

/// A site of cameras: response times that wander, and some cameras that are down.
struct Site {
    random: u64,
    response_ms: Vec<f64>,
    up: Vec<bool>,
    rollups: Vec<HourRollup>,
}

impl Site {
    fn new(cameras: u32) -> Self {
        let mut site = Self {
            random: 0x9e37_79b9_7f4a_7c15,
            response_ms: Vec::new(),
            up: vec![true; cameras as usize],
            rollups: vec![HourRollup::default(); cameras as usize],
        };
        for _ in 0..cameras {
            let base = 20.0 + 400.0 * site.chance().powi(2);
            site.response_ms.push(base);
        }
        site
    }

    /// Uniform in 0..1 (xorshift).
    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One check, at its stable offset with up to a second of jitter.
    fn check(&mut self, camera: usize, minute_s: u32) -> RawSample {
        let jitter = u32::from(self.chance() < 0.1);
        let at_unix_s = minute_s + (camera as u32 * 37) % 59 + jitter;
        let base = self.response_ms[camera];
        let spike = if self.chance() < 0.02 { 5.0 } else { 1.0 };
        let ms = base * spike * (0.85 + 0.3 * self.chance());
        let up = self.up[camera];
        self.rollups[camera].count_check(up.then_some(ms as u32));
        match up {
            true => self.rollups[camera].up_s += 60,
            false => self.rollups[camera].down_s += 60,
        }
        RawSample {
            at_unix_s,
            response_ms: up.then_some(ms as u16),
            cause: if up { 0 } else { ErrorCode::Timeout.number() },
            grade: match ms {
                _ if !up => 0,
                ..500.0 => 4,
                ..1500.0 => 3,
                _ => 2,
            },
        }
    }

    fn beat(&mut self, at_s: u32) -> Beat {
        let cameras = self.up.len();
        let minutes = (at_s - BEAT_S..at_s).step_by(60);
        let raw = (0..cameras)
            .map(|camera| {
                let samples = minutes.clone().map(|m| self.check(camera, m)).collect();
                (CameraId(camera as u32 + 1), samples)
            })
            .collect();
        let hour = (at_s - 1) / HOUR_S;
        let rollups = (1..)
            .zip(&self.rollups)
            .map(|(id, r)| (hour, CameraId(id), *r))
            .collect();
        if at_s.is_multiple_of(HOUR_S) {
            self.rollups.fill(HourRollup::default());
        }
        Beat {
            at: Timestamp::from_unix_s(at_s.into()),
            rollups,
            raw,
            ..Default::default()
        }
    }

    /// A camera goes or comes back: its state, and the event.
    fn transition(&mut self, at_s: u32) -> (Vec<(CameraId, Vec<u8>)>, Vec<Event>) {
        let camera = (self.chance() * self.up.len() as f64) as usize;
        self.up[camera] = !self.up[camera];
        let id = CameraId(camera as u32 + 1);
        let kind = match self.up[camera] {
            true => EventKind::Online,
            false => EventKind::Offline,
        };
        let state = serde_json::json!({
            "state": if self.up[camera] { "connected" } else { "waiting" },
            "since": Timestamp::from_unix_s(at_s.into()),
            "attempt": 0, "next_attempt_at": null, "cause": "timeout", "disconnections": 12,
            "last_error": "no answer from 192.168.1.17:554 within 5000 ms"
        });
        let event = Event {
            id: uuid::Uuid::from_u128(u128::from(self.random)),
            time: Timestamp::from_unix_s(at_s.into()),
            kind,
            camera_id: Some(id),
            camera_name: Some(format!("Camera {camera}, gate north")),
            cause: Some(ErrorCode::Timeout),
            duration_s: Some(180),
            message: "no answer from 192.168.1.17:554 within 5000 ms, two checks in a row"
                .to_owned(),
            detail: None,
        };
        (vec![(id, state.to_string().into_bytes())], vec![event])
    }
}

/// Bytes that this process caused to be sent to the disk.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|l| l.strip_prefix("write_bytes: "));
    line.and_then(|n| n.parse().ok()).unwrap_or(0)
}

async fn run(dir: PathBuf, days: u32, cameras: u32) -> Result<bool, StoreError> {
    let (store, _) = Store::open(OpenOptions::new(&dir))?;
    let mut site = Site::new(cameras);
    let mut written = written_bytes();
    let mut most_mib: f64 = 0.0;
    let mut transitions = 0;
    let (mut beats_took, mut records_took) = (Duration::ZERO, Duration::ZERO);
    for beat in 1..=days * BEATS_A_DAY {
        let at_s = START_S + beat * BEAT_S;
        while transitions * BEATS_A_DAY < beat * TRANSITIONS_A_DAY {
            let (states, events) = site.transition(at_s - 1);
            let started = Instant::now();
            store.commit_transition(states, events).await?;
            records_took += started.elapsed();
            transitions += 1;
        }
        let beat_now = site.beat(at_s);
        let started = Instant::now();
        store.checkpoint(beat_now).await?;
        beats_took += started.elapsed();
        if beat.is_multiple_of(BEATS_A_DAY) {
            let mib = (written_bytes() - written) as f64 / MIB;
            written = written_bytes();
            most_mib = most_mib.max(mib);
            let day = beat / BEATS_A_DAY;
            if day <= 2 || day == days {
                eprintln!("day {day}: {mib:.1} MiB written");
            }
        }
    }
    eprintln!(
        "a beat took {:.1} ms, a transition {:.1} ms on average",
        beats_took.as_secs_f64() * 1e3 / f64::from(days * BEATS_A_DAY),
        records_took.as_secs_f64() * 1e3 / f64::from(transitions),
    );
    let now_h = (START_S + days * BEATS_A_DAY * BEAT_S) / HOUR_S;
    let started = Instant::now();
    let sums = store.all_rollups_sum(now_h - 720..now_h).await?.len();
    let scan_ms = started.elapsed().as_secs_f64() * 1e3;
    let started = Instant::now();
    let one = store
        .rollups(CameraId(cameras / 2), now_h - 720..now_h)
        .await?
        .len();
    let one_ms = started.elapsed().as_secs_f64() * 1e3;
    eprintln!("sums of {sums} cameras in {scan_ms:.0} ms, {one} hours of one in {one_ms:.1} ms");
    drop(store.close().await);
    let started = Instant::now();
    let (store, _) = Store::open(OpenOptions::new(&dir))?;
    eprintln!(
        "opened and verified in {:.0} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    store.close().await?;
    let file = dir.join("ohmvision.redb");
    let file_mib = std::fs::metadata(file).map_or(0.0, |m| m.len() as f64 / MIB);
    eprintln!(
        "most in a day {most_mib:.1} MiB (goal {WRITTEN_MIB_MAX}), file {file_mib:.1} MiB (goal {FILE_MIB_MAX})"
    );
    Ok(most_mib > 0.0 && most_mib <= WRITTEN_MIB_MAX && file_mib <= FILE_MIB_MAX)
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(dir) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: store_wear DIR [DAYS] [CAMERAS]");
        return ExitCode::from(2);
    };
    let mut number = |default| {
        arguments
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(default)
    };
    let (days, cameras) = (number(1), number(1000));
    if std::fs::create_dir(&dir).is_err() {
        eprintln!("{} exists already or cannot be made", dir.display());
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let met = match runtime.map(|runtime| runtime.block_on(run(dir.clone(), days, cameras))) {
        Ok(Ok(met)) => met,
        Ok(Err(error)) => {
            eprintln!("{error}");
            false
        }
        Err(error) => {
            eprintln!("{error}");
            false
        }
    };
    let _ = std::fs::remove_dir_all(&dir);
    ExitCode::from(u8::from(!met))
}
