use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use uuid::Uuid;

use super::*;
use crate::model::{ConnectionConfig, EventKind, Secret, Timestamp};

const NOW_S: u32 = 1_800_000_000;
const HOUR: u32 = NOW_S / HOUR_S;

pub(super) fn camera(id: u32) -> Camera {
    Camera {
        id: CameraId(id),
        uid: Uuid::from_u128(0x1000 + u128::from(id)),
        name: format!("Gate {id}"),
        tags: vec!["north".to_owned()],
        enabled: true,
        manufacturer: Some("hikvision".to_owned()),
        model: None,
        firmware_version: None,
        serial_number: None,
        mac_address: None,
        connection_type: None,
        primary_stream_url: None,
        secondary_stream_url: None,
        snapshot_url: None,
        ip_address: Some("192.0.2.7".to_owned()),
        moved_from: None,
        port: Some(554),
        username: Some("admin".to_owned()),
        onvif_username: None,
        nvr_id: None,
        channel: None,
        connection_config: ConnectionConfig::default(),
        cloud_config: serde_json::Map::new(),
        tls_pin: None,
        webhook_sha256: None,
        revision: 1,
        created_at: Timestamp(1),
        updated_at: Timestamp(2),
    }
}

pub(super) fn secrets(id: u32) -> CameraSecrets {
    CameraSecrets {
        password: Some(Secret::new(format!("canary-{id}"))),
        onvif_password: None,
    }
}

pub(super) fn event(id: u32, camera: Option<u32>, kind: EventKind) -> Event {
    Event {
        id: Uuid::from_u128(id.into()),
        time: Timestamp::from_unix_s(i64::from(NOW_S + id)),
        kind,
        camera_id: camera.map(CameraId),
        camera_name: None,
        cause: None,
        duration_s: None,
        message: format!("event {id}"),
        detail: None,
    }
}

fn rollup(up_s: u16) -> HourRollup {
    HourRollup {
        up_s,
        down_s: 3600 - up_s,
        ..Default::default()
    }
}

fn sample(at_unix_s: u32) -> RawSample {
    RawSample {
        at_unix_s,
        response_ms: Some((at_unix_s % 300) as u16),
        cause: 0,
        grade: 4,
    }
}

pub(super) fn open(dir: &Path) -> (Store, Loaded) {
    Store::open(OpenOptions::new(dir)).unwrap()
}

fn open_error(options: OpenOptions) -> StoreError {
    match Store::open(options) {
        Ok(_) => panic!("the store opened"),
        Err(error) => error,
    }
}

/// The thread closes by itself some time after the last handle is dropped.
async fn dropped(store: Store) {
    let gone = store.gone();
    drop(store);
    gone.await;
}

#[tokio::test]
async fn records_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (store, first) = open(&state);
    assert!(first.first_start && first.gateway_id.len() == 15);
    assert_eq!(first.next_camera_id, CameraId(1));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);

    store.put_camera(&camera(1), &secrets(1)).await.unwrap();
    store.put_camera(&camera(2), &secrets(2)).await.unwrap();
    store.put_camera(&camera(3), &secrets(3)).await.unwrap();
    let state_of = |id| vec![(CameraId(id), b"{\"a\":1}".to_vec())];
    store.commit_transition(state_of(2), vec![]).await.unwrap();
    store.commit_transition(state_of(3), vec![]).await.unwrap();
    store
        .delete_camera(CameraId(3), camera(3).uid, Vec::new())
        .await
        .unwrap();
    let mut renamed = camera(2);
    renamed.name = "Yard".to_owned();
    let without = CameraSecrets::default();
    store.put_camera(&renamed, &without).await.unwrap();
    let token = TokenRow {
        id: "t1".to_owned(),
        name: "installer".to_owned(),
        scope: "admin".to_owned(),
        sha256: [7; 32],
        created_at: Timestamp(3),
        expires_at: None,
        last_used_at: None,
    };
    store.put_token(token.clone()).await.unwrap();
    let revoked = TokenRow {
        id: "t2".to_owned(),
        ..token.clone()
    };
    store.put_token(revoked).await.unwrap();
    store.delete_token("t2").await.unwrap();
    let brake = |key: &str| BrakeRow {
        key: key.to_owned(),
        json: b"{}".to_vec(),
    };
    let rows = vec![brake("192.0.2.7 device"), brake("old")];
    store.put_brake(rows, vec![]).await.unwrap();
    store
        .put_brake(vec![], vec!["old".to_owned()])
        .await
        .unwrap();
    let mut settings = serde_json::Map::new();
    settings.insert("log.filter".to_owned(), "debug".into());
    store.put_settings(&settings).await.unwrap();
    let beat = Beat {
        at: Timestamp::from_unix_s(NOW_S.into()),
        tokens_used: vec![
            ("t1".to_owned(), Timestamp(9)),
            ("gone".to_owned(), Timestamp(9)),
        ],
        ..Default::default()
    };
    store.checkpoint(beat).await.unwrap();
    dropped(store).await;

    let (_store, again) = open(&state);
    assert!(!again.first_start);
    assert_eq!(again.gateway_id, first.gateway_id);
    assert_eq!(again.cameras, [(camera(1), secrets(1)), (renamed, without)]);
    assert_eq!(
        again.next_camera_id,
        CameraId(4),
        "an id is never used again"
    );
    assert_eq!(again.states, state_of(2));
    assert_eq!(again.brake, [brake("192.0.2.7 device")]);
    assert_eq!(again.tokens[0].last_used_at, Some(Timestamp(9)));
    assert_eq!(again.tokens.len(), 1);
    assert_eq!(again.settings, settings);
    assert_eq!(again.unreadable, [""; 0]);
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(7).any(|w| w == b"canary-");
        assert!(!found, "a password in {}", path.display());
    }
}

#[tokio::test]
async fn history_comes_back_and_expires() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(OpenOptions {
        raw_retention_h: 2,
        history_retention_d: 1,
        ..OpenOptions::new(dir.path())
    })
    .unwrap();
    for hour in 0..30u32 {
        let at_s = NOW_S + hour * HOUR_S;
        let rows = [1, 63, 64, 1000].map(|id| (HOUR + hour, CameraId(id), rollup(hour as u16)));
        let raw = [1, 64].map(|id| (CameraId(id), vec![sample(at_s - 60), sample(at_s)]));
        let beat = Beat {
            at: Timestamp::from_unix_s(at_s.into()),
            rollups: rows.to_vec(),
            raw: raw.to_vec(),
            ..Default::default()
        };
        store.checkpoint(beat).await.unwrap();
    }
    // A part of an hour that was written before is replaced, the rest of it stays.
    let last = HOUR + 29;
    let beat = Beat {
        at: Timestamp::from_unix_s(i64::from(NOW_S + 29 * HOUR_S)),
        rollups: vec![(last, CameraId(63), rollup(777))],
        raw: vec![(CameraId(1), vec![sample(NOW_S + 29 * HOUR_S + 1)])],
        ..Default::default()
    };
    store.checkpoint(beat).await.unwrap();

    let kept = store.rollups(CameraId(64), 0..u32::MAX).await.unwrap();
    let hours: Vec<u32> = kept.iter().map(|(hour, _)| *hour).collect();
    assert_eq!(hours, (HOUR + 5..=last).collect::<Vec<_>>());
    assert_eq!(kept[0].1, rollup(5));
    let two = store
        .rollups(CameraId(63), last - 1..last + 1)
        .await
        .unwrap();
    assert_eq!(two, [(last - 1, rollup(28)), (last, rollup(777))]);
    assert_eq!(store.rollups(CameraId(2), 0..u32::MAX).await.unwrap(), []);

    let sums = store.all_rollups_sum(last - 1..last + 1).await.unwrap();
    assert_eq!(sums.len(), 4);
    assert_eq!(sums[&CameraId(63)].up_s, 28 + 777);
    assert_eq!(sums[&CameraId(1000)].down_s, 2 * 3600 - 28 - 29);

    let raw = store.raw(CameraId(1), 0..u32::MAX).await.unwrap();
    let times: Vec<u32> = raw.iter().map(|s| (s.at_unix_s - NOW_S) / 60).collect();
    assert_eq!(
        times,
        [
            27 * 60 - 1,
            27 * 60,
            28 * 60 - 1,
            28 * 60,
            29 * 60 - 1,
            29 * 60,
            29 * 60
        ]
    );
    let end = NOW_S + 29 * HOUR_S;
    let one = store.raw(CameraId(1), end..end + 1).await.unwrap();
    assert_eq!(one, [sample(end)]);
}

#[tokio::test]
async fn a_clock_that_jumps_does_not_wipe_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let beat = |at_s: u32| Beat {
        at: Timestamp::from_unix_s(at_s.into()),
        rollups: vec![(at_s / HOUR_S, CameraId(1), rollup(1))],
        raw: vec![(CameraId(1), vec![sample(at_s)])],
        ..Default::default()
    };
    for hour in 0..10 {
        store.checkpoint(beat(NOW_S + hour * HOUR_S)).await.unwrap();
    }
    store.checkpoint(beat(600)).await.unwrap();
    store.checkpoint(beat(u32::MAX - HOUR_S)).await.unwrap();
    let rollups = store.rollups(CameraId(1), 100..u32::MAX).await.unwrap();
    assert!(rollups.len() >= 9, "{}", rollups.len());
    let raw = store.raw(CameraId(1), 10_000..u32::MAX).await.unwrap();
    assert!(raw.len() >= 9, "{}", raw.len());
}

#[tokio::test]
async fn events_page_in_both_directions_through_table_and_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(OpenOptions {
        events_max: 8,
        ..OpenOptions::new(dir.path())
    })
    .unwrap();
    let put = |range: std::ops::Range<u32>| {
        let kind = |i| match i % 2 {
            0 => EventKind::Offline,
            _ => EventKind::Online,
        };
        let events = range.map(|i| event(i, Some(i % 2 + 1), kind(i))).collect();
        store.commit_transition(vec![], events)
    };
    put(0..10).await.unwrap();
    // Takes the journal in and cuts the ring.
    let beat = Beat {
        at: Timestamp::from_unix_s(NOW_S.into()),
        ..Default::default()
    };
    store.checkpoint(beat).await.unwrap();
    put(10..13).await.unwrap();

    for newest_first in [false, true] {
        let mut filter = EventFilter {
            limit: 4,
            newest_first,
            ..Default::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = store.events(filter.clone()).await.unwrap();
            assert!(page.events.len() <= 4);
            seen.extend(page.events.iter().map(|e| e.id.as_u128()));
            filter.cursor = page.next_cursor;
            if page.next_cursor.is_none() {
                break;
            }
        }
        let mut want: Vec<u128> = (2..13).collect();
        if newest_first {
            want.reverse();
        }
        assert_eq!(seen, want);
    }
    let filter = EventFilter {
        since: Some(Timestamp::from_unix_s(i64::from(NOW_S) + 5)),
        camera: Some(CameraId(2)),
        kinds: vec![EventKind::Online],
        limit: 100,
        ..Default::default()
    };
    let page = store.events(filter).await.unwrap();
    let ids: Vec<u128> = page.events.iter().map(|e| e.id.as_u128()).collect();
    assert_eq!((ids, page.next_cursor), (vec![5, 7, 9, 11], None));
}

#[tokio::test]
async fn a_burst_larger_than_the_journal_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let json = vec![b'x'; 200];
    store
        .commit_transition(vec![(CameraId(1), b"old".to_vec())], vec![])
        .await
        .unwrap();
    let states = (1..=1000).map(|id| (CameraId(id), json.clone())).collect();
    let events = (0..1000)
        .map(|i| event(i, None, EventKind::Offline))
        .collect();
    store.commit_transition(states, events).await.unwrap();
    store
        .commit_transition(vec![(CameraId(7), b"new".to_vec())], vec![])
        .await
        .unwrap();
    dropped(store).await;
    let (store, loaded) = open(dir.path());
    assert_eq!(loaded.states.len(), 1000);
    assert_eq!(loaded.states[0].1, json);
    assert_eq!(loaded.states[6].1, b"new");
    let filter = EventFilter {
        limit: 1000,
        ..Default::default()
    };
    assert_eq!(store.events(filter).await.unwrap().events.len(), 1000);
}

#[tokio::test]
async fn a_second_store_on_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let error = open_error(OpenOptions::new(dir.path()));
    let pid = Some(std::process::id());
    assert!(
        matches!(&error, StoreError::InUse { pid: p, .. } if *p == pid),
        "{error}"
    );
    store.close().await.unwrap();
    assert_eq!(
        store.put_camera(&camera(1), &secrets(1)).await,
        Err(StoreError::Gone)
    );
    store.gone().await;
    open(dir.path());
}

#[tokio::test]
async fn damage_is_named_and_sets_nothing_free() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for id in 1..200 {
        store.put_camera(&camera(id), &secrets(id)).await.unwrap();
    }
    store.checkpoint(Beat::default()).await.unwrap();
    store.close().await.unwrap();
    store.gone().await;
    let file = dir.path().join("ohmvision.redb");
    let good = fs::read(&file).unwrap();
    let damages: [(&str, Vec<u8>); 4] = [
        ("empty", vec![]),
        ("garbage", vec![0x5a; 5000]),
        ("cut", good[..good.len() / 2].to_vec()),
        ("overwritten", {
            let mut bytes = good.clone();
            bytes[4096..].fill(0xa5);
            bytes
        }),
    ];
    for (what, bytes) in damages {
        fs::write(&file, &bytes).unwrap();
        let error = open_error(OpenOptions::new(dir.path()));
        let StoreError::Corrupt { newest_backup, .. } = &error else {
            panic!("{what}: {error}");
        };
        assert!(newest_backup.is_some(), "{what}");
        let text = error.to_string();
        assert!(
            text.contains("ohmvision.redb.backup-") && text.contains("--new-store"),
            "{text}"
        );
        assert_eq!(fs::read(&file).unwrap().len(), bytes.len(), "{what}");
    }

    let (store, loaded) = Store::open(OpenOptions {
        new_store: true,
        ..OpenOptions::new(dir.path())
    })
    .unwrap();
    assert!(loaded.first_start && loaded.cameras.is_empty());
    dropped(store).await;
    let is_aside = |name: &str| name.starts_with("ohmvision.redb.aside-");
    let mut names = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(names.any(|name| is_aside(&name)));
}

#[tokio::test]
async fn a_backup_opens_in_the_place_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put_camera(&camera(1), &secrets(1)).await.unwrap();
    let backup = || StateDir(dir.path().to_owned()).newest_backup();
    assert_eq!(backup(), None, "an empty store is worth no backup");
    let beat = Beat {
        at: Timestamp::from_unix_s(NOW_S.into()),
        ..Default::default()
    };
    store.checkpoint(beat).await.unwrap();
    store.close().await.unwrap();
    store.gone().await;
    fs::copy(backup().unwrap(), dir.path().join("ohmvision.redb")).unwrap();
    let (_store, loaded) = open(dir.path());
    assert_eq!(loaded.cameras, [(camera(1), secrets(1))]);
}

#[tokio::test]
async fn one_bad_row_does_not_take_the_rest_down() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for id in 1..=3 {
        store.put_camera(&camera(id), &secrets(id)).await.unwrap();
    }
    let break_rows = |txn: &WriteTransaction| {
        txn.open_table(tables::CAMERAS)?
            .insert(2, b"{broken".as_slice())?;
        let uid = camera(3).uid;
        txn.open_table(tables::SECRETS)?
            .insert(uid.as_bytes().as_slice(), b"\x01\x01".as_slice())?;
        Ok(())
    };
    store.write(TakeIn::Leave, break_rows).await.unwrap();
    dropped(store).await;
    let (_store, loaded) = open(dir.path());
    let want = [
        (camera(1), secrets(1)),
        (camera(3), CameraSecrets::default()),
    ];
    assert_eq!(loaded.cameras, want);
    assert_eq!(loaded.next_camera_id, CameraId(4));
    assert_eq!(loaded.unreadable.len(), 2, "{:?}", loaded.unreadable);
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let newer =
        |txn: &WriteTransaction| tables::put_meta(txn, tables::meta::SCHEMA, &9u32.to_le_bytes());
    store.write(TakeIn::Leave, newer).await.unwrap();
    dropped(store).await;
    let error = open_error(OpenOptions::new(dir.path()));
    assert!(
        matches!(
            error,
            StoreError::Newer {
                found: 9,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn another_key_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.put_camera(&camera(1), &secrets(1)).await.unwrap();
    dropped(store).await;
    let key = dir.path().join("vault.key");
    let right = fs::read(&key).unwrap();
    fs::write(&key, [1; 32]).unwrap();
    let error = open_error(OpenOptions::new(dir.path()));
    assert!(
        matches!(&error, StoreError::VaultKey { file, .. } if *file == key),
        "{error}"
    );
    fs::remove_file(&key).unwrap();
    let error = open_error(OpenOptions::new(dir.path()));
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(!key.exists());
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, right).unwrap();
    let (_store, loaded) = Store::open(OpenOptions {
        vault_key_file: Some(elsewhere),
        ..OpenOptions::new(dir.path())
    })
    .unwrap();
    assert_eq!(loaded.cameras, [(camera(1), secrets(1))]);
}

#[tokio::test]
async fn a_panic_in_the_thread_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let gone = store.gone();
    let done = store
        .write(TakeIn::Leave, |_| panic!("a test breaks the thread"))
        .await;
    assert_eq!(done, Err(StoreError::Gone));
    gone.await;
    assert_eq!(
        store.rollups(CameraId(1), 0..1).await,
        Err(StoreError::Gone)
    );
}

#[tokio::test]
async fn progress_stands_still_only_while_something_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (entered, inside) = oneshot::channel();
    let slow = store.clone();
    let task = tokio::spawn(async move {
        slow.write(TakeIn::Leave, move |_| {
            let _ = entered.send(());
            let _ = held.recv();
            Ok(())
        })
        .await
    });
    inside.await.unwrap();
    let mark = store.last_progress();
    assert_eq!(store.last_progress(), mark);
    release.send(()).unwrap();
    task.await.unwrap().unwrap();
    assert!(store.last_progress() > mark);
}
