//! The store under `kill -9` and on a full disk. The test runs itself as a child process, which
//! writes, says what was acknowledged, and is killed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ohmvision::model::{
    Camera, CameraId, CameraSecrets, Event, EventKind, HOUR_S, HourRollup, RawSample, Secret,
    Timestamp,
};
use ohmvision::store::{Beat, EventFilter, Loaded, OpenOptions, Store, StoreError};
use uuid::Uuid;

const LIVES: u32 = 50;
/// More than a child writes: beats that were written and not acknowledged stay below the next life's.
const BEATS_A_LIFE: u32 = 1000;
const START_S: u32 = 1_800_000_000;
const CANARY: &str = "canary-password-";
/// The state directory of a child; not set in the test run itself.
const DIR: &str = "OHMVISION_TEST_STORE_DIR";
const NEXT_BEAT: &str = "OHMVISION_TEST_NEXT_BEAT";

fn options(dir: &Path) -> OpenOptions {
    OpenOptions {
        raw_retention_h: 100_000,
        history_retention_d: 10_000,
        events_max: 1_000_000,
        ..OpenOptions::new(dir)
    }
}

fn camera(id: u32) -> (Camera, CameraSecrets) {
    let camera = serde_json::json!({
        "id": id, "uid": Uuid::from_u128(u128::from(id) + 1), "name": format!("Camera {id}"),
        "enabled": true, "username": "admin", "revision": 1,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    let secrets = CameraSecrets {
        password: Some(Secret::new(format!("{CANARY}{id}"))),
        onvif_password: Some(Secret::new(format!("{CANARY}onvif-{id}"))),
    };
    (serde_json::from_value(camera).unwrap(), secrets)
}

/// State and event number `n` of the camera that was stored with it.
fn transition(n: u32) -> (Vec<(CameraId, Vec<u8>)>, Vec<Event>) {
    let event = Event {
        id: Uuid::from_u128(n.into()),
        time: Timestamp::from_unix_s(i64::from(START_S + n)),
        kind: EventKind::Online,
        camera_id: Some(CameraId(n)),
        camera_name: None,
        cause: None,
        duration_s: None,
        message: "a test".to_owned(),
        detail: None,
    };
    (vec![(CameraId(n), n.to_string().into_bytes())], vec![event])
}

fn beat_time(n: u32) -> u32 {
    START_S + n * 600
}

/// Beat `n`: one sample, and an hour that has counted `n` checks.
fn beat(n: u32) -> Beat {
    let at_s = beat_time(n);
    let rollup = HourRollup {
        checks_ok: n as u16,
        ..Default::default()
    };
    let sample = RawSample {
        at_unix_s: at_s,
        response_ms: Some(n as u16),
        cause: 0,
        grade: 4,
    };
    Beat {
        at: Timestamp::from_unix_s(at_s.into()),
        rollups: vec![(at_s / HOUR_S, CameraId(1), rollup)],
        raw: vec![(CameraId(1), vec![sample])],
        ..Default::default()
    }
}

fn say(what: &str, n: u32) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{what} {n}")
        .and_then(|()| out.flush())
        .unwrap();
}

/// The child: writes until it is killed. Does nothing in the test run itself.
#[tokio::test]
async fn child_writes_until_killed() {
    let (Some(dir), Ok(next)) = (std::env::var_os(DIR), std::env::var(NEXT_BEAT)) else {
        return;
    };
    let (store, loaded) = Store::open(options(Path::new(&dir))).unwrap();
    say("opened", 0);
    let first = loaded.next_camera_id.0;
    for (id, n) in (first..).zip(next.parse::<u32>().unwrap()..) {
        let (camera, secrets) = camera(id);
        store.put_camera(&camera, &secrets).await.unwrap();
        say("camera", id);
        let (states, events) = transition(id);
        store.commit_transition(states, events).await.unwrap();
        say("event", id);
        store.checkpoint(beat(n)).await.unwrap();
        say("beat", n);
    }
}

#[derive(Default)]
struct Acknowledged {
    opened: u32,
    cameras: BTreeSet<u32>,
    events: BTreeSet<u32>,
    beats: BTreeSet<u32>,
}

impl Acknowledged {
    fn read(&mut self, line: &str) {
        let Some((what, n)) = line.split_once(' ') else {
            return;
        };
        let Ok(n) = n.parse() else { return };
        match what {
            "opened" => self.opened += 1,
            "camera" => drop(self.cameras.insert(n)),
            "event" => drop(self.events.insert(n)),
            "beat" => drop(self.beats.insert(n)),
            _ => {}
        }
    }

    async fn check(&self, dir: &Path) {
        let (store, loaded) = Store::open(options(dir)).unwrap();
        assert_eq!(loaded.unreadable, [""; 0]);
        for id in &self.cameras {
            let found = loaded.cameras.iter().find(|(c, _)| c.id == CameraId(*id));
            assert_eq!(found, Some(&camera(*id)), "camera {id} was acknowledged");
        }
        let filter = EventFilter {
            limit: EventFilter::LIMIT_MAX,
            ..Default::default()
        };
        let found: BTreeSet<u32> = all_events(&store, filter).await;
        let lost: Vec<_> = self.events.difference(&found).collect();
        assert_eq!(lost, [&0; 0], "events were acknowledged");
        for id in &self.events {
            let state = (CameraId(*id), id.to_string().into_bytes());
            assert!(loaded.states.contains(&state), "the state of {id}");
        }

        let raw = store.raw(CameraId(1), 0..u32::MAX).await.unwrap();
        assert!(raw.is_sorted_by(|a, b| a.at_unix_s < b.at_unix_s));
        let times: BTreeSet<u32> = raw.iter().map(|s| s.at_unix_s).collect();
        let hours = store.rollups(CameraId(1), 0..u32::MAX).await.unwrap();
        assert!(hours.is_sorted_by(|a, b| a.0 < b.0 && a.1.checks_ok < b.1.checks_ok));
        for n in &self.beats {
            assert!(times.contains(&beat_time(*n)), "beat {n} was acknowledged");
            let hour = beat_time(*n) / HOUR_S;
            let counted = hours.iter().find(|(h, _)| *h == hour).unwrap().1.checks_ok;
            assert!(u32::from(counted) >= *n, "hour {hour} after beat {n}");
        }
        store.close().await.unwrap();
    }
}

async fn all_events(store: &Store, mut filter: EventFilter) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    loop {
        let page = store.events(filter.clone()).await.unwrap();
        found.extend(page.events.iter().map(|e| e.id.as_u128() as u32));
        filter.cursor = page.next_cursor;
        if page.next_cursor.is_none() {
            return found;
        }
    }
}

/// This test binary, running one test as a child.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(DIR, dir);
    command
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_killed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("state");
    let mut acknowledged = Acknowledged::default();
    let first_word = time_to_first_word(&root.path().join("measured"));
    for life in 0..LIVES {
        let mut process = child("store_crash::child_writes_until_killed", &dir)
            .env(NEXT_BEAT, (life * BEATS_A_LIFE + 1).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        // Spread over opening, first start included, and writing.
        let of_start = f64::from(life * 37 % 101) / 40.0 + 0.1;
        tokio::time::sleep(first_word.mul_f64(of_start)).await;
        assert_eq!(
            process.try_wait().unwrap(),
            None,
            "it must not end by itself"
        );
        process.kill().unwrap();
        process.wait().unwrap();
        for line in reader.join().unwrap() {
            acknowledged.read(&line);
        }
        if life % 7 == 6 || life + 1 == LIVES {
            acknowledged.check(&dir).await;
        }
    }
    let Acknowledged {
        opened, cameras, ..
    } = &acknowledged;
    assert!(
        *opened > LIVES / 4 && cameras.len() > LIVES as usize,
        "too few writes: {opened} lives"
    );
    assert_no_file_holds(&dir, CANARY);
}

/// How long a child takes on this machine until something is acknowledged.
fn time_to_first_word(dir: &Path) -> Duration {
    let began = Instant::now();
    let mut process = child("store_crash::child_writes_until_killed", dir)
        .env(NEXT_BEAT, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut seen = Acknowledged::default();
    while seen.opened == 0 {
        seen.read(&lines.next().unwrap().unwrap());
    }
    let took = began.elapsed();
    process.kill().unwrap();
    process.wait().unwrap();
    took
}

fn assert_no_file_holds(dir: &Path, secret: &str) {
    let mut files = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!found, "a password is readable in {}", path.display());
        files += 1;
    }
    assert!(files >= 4, "only {files} files");
}

/// The child on a file system of 1 MiB of its own.
#[tokio::test]
async fn child_fills_its_disk() {
    let Some(dir) = std::env::var_os(DIR).filter(|_| std::env::var_os(NEXT_BEAT).is_none()) else {
        return;
    };
    let dir = PathBuf::from(dir);
    let filler = dir.join("filler");
    std::fs::write(&filler, vec![1; 256 * 1024]).unwrap();
    let (store, _) = Store::open(options(&dir)).unwrap();
    let mut stored = 0;
    let full = loop {
        let (camera, secrets) = camera(stored + 1);
        match store.put_camera(&camera, &secrets).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 10_000);
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    // Whatever is asked for now fails in the same words or works, and reading works.
    for n in 0..20 {
        let (states, events) = transition(n + 1);
        for done in [
            store.commit_transition(states, events).await,
            store.checkpoint(beat(n + 1)).await,
            store.put_settings(&serde_json::Map::new()).await,
        ] {
            assert!(
                matches!(done, Ok(()) | Err(StoreError::Full { .. })),
                "{done:?}"
            );
        }
        store.events(EventFilter::default()).await.unwrap();
    }

    std::fs::remove_file(&filler).unwrap();
    let (more, secrets) = camera(stored + 1);
    store.put_camera(&more, &secrets).await.unwrap();
    let (states, events) = transition(stored + 1);
    store.commit_transition(states, events).await.unwrap();
    store.checkpoint(beat(1000)).await.unwrap();
    store.close().await.unwrap();
    store.gone().await;

    let (_store, Loaded { cameras, .. }) = Store::open(options(&dir)).unwrap();
    let want: Vec<_> = (1..=stored + 1).map(camera).collect();
    assert_eq!(cameras, want);
    say("survived with", stored);
}

#[test]
fn a_full_disk_loses_nothing_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let inner = child("store_crash::child_fills_its_disk", dir.path());
    // A mount name space of its own, so that the small file system ends with the child.
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs -o size=1m,mode=700 tmpfs \"$0\" && exec \"$@\"")
        .arg(dir.path())
        .arg(inner.get_program())
        .args(inner.get_args())
        .env(DIR, dir.path())
        .env_remove(NEXT_BEAT);
    let output = command.output().expect("unshare of util-linux runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("survived with"),
        "{text}\n{errors}"
    );
}
