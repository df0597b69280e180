//! `kill -9` of the daemon, many times, in the middle of writes.

use std::time::Duration;

use serde_json::json;

use super::harness::Daemon;

const LIVES: u32 = 50;
const CANARY: &str = "k1ll-canary-7f3a";

#[test]
fn no_stored_camera_is_lost_and_no_password_is_readable() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let mut stored: Vec<(u64, String)> = Vec::new();
    for life in 0..LIVES {
        let mut daemon = Daemon::start_on(None, &state, None);
        // Killed a little later each time: sometimes between writes, mostly within one.
        let writes = 1 + life % 4;
        for n in 0..writes {
            let name = format!("camera {life}-{n}");
            let body = json!({"name": name, "enabled": false, "username": "admin", "password": CANARY,
                              "primary_stream_url": format!("rtsp://10.255.{life}.{n}:554/x?pwd={CANARY}")});
            let made = daemon.post("/api/cameras", body).expect(201);
            stored.push((made["id"].as_u64().unwrap(), name));
        }
        let busy = json!({"name": "in flight", "enabled": false, "primary_stream_url": format!("rtsp://10.254.{life}.1:554/y")});
        let (address, token) = (
            std::fs::read_to_string(state.join("api.addr")).unwrap(),
            daemon.token.clone(),
        );
        let writer = std::thread::spawn(move || {
            use std::io::Write as _;
            let body = busy.to_string();
            if let Ok(mut stream) = std::net::TcpStream::connect(&address) {
                let _ = write!(
                    stream,
                    "POST /api/cameras HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = std::io::Read::read(&mut stream, &mut [0; 64]);
            }
        });
        std::thread::sleep(Duration::from_millis(u64::from(life % 7)));
        daemon.kill();
        writer.join().unwrap();
    }
    let daemon = Daemon::start_on(None, &state, None);
    let list = daemon.get("/api/cameras?limit=1000").expect(200);
    let found: std::collections::BTreeMap<u64, String> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            (
                c["id"].as_u64().unwrap(),
                c["name"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    for (id, name) in &stored {
        assert_eq!(
            found.get(id),
            Some(name),
            "camera {id} was answered with 201"
        );
    }
    let ids: std::collections::BTreeSet<_> = stored.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), stored.len(), "no id was given twice");
    println!("{} cameras stored over {LIVES} kills", stored.len());
    for entry in std::fs::read_dir(&state).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains(CANARY),
            "a password can be read in {}",
            entry.path().display()
        );
    }
    assert!(!daemon.get("/api/cameras?limit=1000").body.contains(CANARY));
}
