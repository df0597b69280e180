//! The scan as server-sent events.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::site::devices;
use super::harness::{Daemon, Site, wait_for};

/// One event: its name, id and data.
type Event = (String, String, Value);

fn events(body: &str) -> Vec<Event> {
    // The answer is chunked: sizes stand on lines of their own between the events.
    let field = |block: &[&str], name: &str| {
        let line = block.iter().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().to_owned()
    };
    let lines: Vec<&str> = body.lines().map(str::trim_end).collect();
    lines
        .split(|line| line.is_empty())
        .filter(|block| block.iter().any(|line| line.starts_with("data: ")))
        .map(|block| {
            let data = serde_json::from_str(&field(block, "data: ")).unwrap();
            (field(block, "event: "), field(block, "id: "), data)
        })
        .collect()
}

#[test]
fn a_scan_is_told_while_it_runs() {
    let Some(site) = Site::up("se", "") else {
        return;
    };
    let daemon = Daemon::start(Some(&site), "");
    const PATH: &str = "/api/discovery/scan/events";
    let idle = daemon.get(PATH);
    assert!(
        idle.head.to_lowercase().contains("text/event-stream"),
        "{}",
        idle.head
    );
    assert_eq!(events(&idle.body)[0].2["status"], "idle");

    daemon
        .ask("POST", "/api/discovery/scan/start", None)
        .expect(202);
    // Ends with the scan.
    let told = events(&daemon.get(PATH).body);
    let (last, rest) = told.split_last().unwrap();
    assert_eq!(
        (last.0.as_str(), &last.2["status"]),
        ("done", &json!("completed"))
    );
    assert_eq!(last.2["progress"], 100, "{last:?}");
    let progress = rest.iter().filter(|(name, ..)| name == "progress");
    let shares: Vec<u64> = progress
        .map(|(.., data)| data["progress"].as_u64().unwrap())
        .collect();
    assert!(!shares.is_empty() && shares.is_sorted(), "{shares:?}");
    let mut found: Vec<&str> = rest
        .iter()
        .filter(|(name, ..)| name == "device")
        .map(|(.., data)| data["ip"].as_str().unwrap())
        .collect();
    found.sort_unstable();
    let mut wanted: Vec<String> = devices().into_iter().map(|d| d.ip).collect();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "each device once");

    // Who comes back after a break hears the rest, who heard the end is sent away.
    let resume = |id: &str| daemon.ask_with("GET", PATH, None, &[("Last-Event-ID", id)]);
    let second = &rest
        .iter()
        .filter(|(n, ..)| n == "device")
        .nth(1)
        .unwrap()
        .1;
    let rest = events(&resume(second).body);
    assert_eq!(rest.len(), found.len() - 2 + 1, "{rest:?}");
    assert_eq!(resume(&last.1).status, 204);

    let wide = json!({"networks": ["10.77.0.0/22"]});
    daemon.post("/api/discovery/scan/start", wide).expect(202);
    let ended = std::thread::scope(|scope| {
        let follower = scope.spawn(|| (events(&daemon.get(PATH).body), Instant::now()));
        wait_for("the scan runs", Duration::from_secs(5), || {
            let status = daemon.get("/api/discovery/scan/status").expect(200);
            (status["scanned_ips"].as_u64() > Some(0)).then_some(())
        });
        let asked = Instant::now();
        let stop = daemon.ask("POST", "/api/discovery/scan/stop", None);
        stop.expect(200);
        let (told, ended) = follower.join().unwrap();
        println!(
            "stopped {} ms after the request",
            (ended - asked).as_millis()
        );
        told
    });
    assert_eq!(ended.last().unwrap().2["status"], "cancelled");
}
