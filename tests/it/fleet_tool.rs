//! The operator's tool against real gateways on a real broker.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::broker::{Broker, free_port};
use crate::harness::daemon::{PROGRAM, run_to_end};
use crate::harness::{Daemon, is_skipped, wait_for};

const GATEWAYS: usize = 20;
const CANARY: &str = "c4n4ry-pa55w0rd";

/// The tool, at a broker.
struct Tool<'a> {
    broker: &'a Broker,
    home: &'a Path,
}

impl Tool<'_> {
    fn run(&self, args: &[&str]) -> (i32, String) {
        let url = self.broker.url();
        let mut all = vec!["fleet"];
        all.extend(args);
        all.extend(["--broker", &url]);
        let home = self.home.to_str().unwrap();
        run_to_end(&all, &[("XDG_STATE_HOME", home), ("GATE_PASSWORD", CANARY)])
    }

    /// With `--json`: its lines, the last one is the summary.
    fn lines(&self, args: &[&str]) -> (i32, Vec<Value>) {
        let mut all = args.to_vec();
        all.push("--json");
        let (code, text) = self.run(&all);
        let line =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {text}"));
        (
            code,
            text.lines()
                .filter(|l| l.starts_with('{'))
                .map(line)
                .collect(),
        )
    }

    fn list(&self) -> Vec<Value> {
        let (_, text) = self.run(&["list", "--json"]);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// Until every gateway is online.
    fn all_online(&self) -> Vec<Value> {
        wait_for("all are online", Duration::from_secs(60), || {
            let list = self.list();
            let online = list.iter().filter(|g| g["online"] == true).count();
            (online == GATEWAYS).then_some(list)
        })
    }
}

fn config(broker: &Broker, n: usize) -> String {
    let site = ["north", "south"][n % 2];
    format!(
        "[mqtt]\nurl = \"{}\"\ndesired_check_s = 1\nallowed_commands = [\"camera_add\", \"camera_update\", \"camera_remove\", \"config_patch\", \"config_get\"]\n\
         [security]\nallowed_networks = [\"loopback\"]\n[gateway]\nname = \"box {n}\"\nsite = \"{site}\"\nlabels = {{ role = \"nvr\" }}\nrevert_after_s = 10\n",
        broker.url()
    )
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn cameras(daemon: &Daemon) -> Vec<String> {
    let list = daemon.get("/api/cameras").expect(200);
    let name = |camera: &Value| camera["name"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = list["items"].as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn twenty_gateways_are_seen_and_changed_from_files() {
    if is_skipped("mosquitto") {
        return;
    }
    let broker = Broker::start();
    let listener = broker.listen(&["#"]);
    let mut daemons: Vec<Daemon> = (0..GATEWAYS)
        .map(|n| Daemon::start(None, &config(&broker, n)))
        .collect();
    let home = tempfile::tempdir().unwrap();
    let tool = Tool {
        broker: &broker,
        home: home.path(),
    };
    let list = tool.all_online();
    let id_of = |n: usize| {
        let gateway = list.iter().find(|g| g["name"] == format!("box {n}"));
        gateway.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (code, table) = tool.run(&["list", "--select", "site=north"]);
    assert_eq!(
        (code, table.lines().count()),
        (0, 1 + GATEWAYS / 2),
        "{table}"
    );

    let files = tempfile::tempdir().unwrap();
    let dir = files.path().to_str().unwrap();
    write(
        files.path(),
        "all.toml",
        "[settings.health]\ninterval_s = 42\n[[camera]]\nname = \"Gate\"\nprimary_stream_url = \"rtsp://127.0.0.1:1/gate\"\nenabled = false\nusername = \"admin\"\npassword = { env = \"GATE_PASSWORD\" }\n",
    );
    write(
        files.path(),
        "group/site=north.toml",
        "[[camera]]\nname = \"North\"\nprimary_stream_url = \"rtsp://127.0.0.1:1/north\"\nenabled = false\n",
    );
    write(
        files.path(),
        &format!("gw/{}.toml", id_of(3)),
        "[settings.health]\ninterval_s = 43\n",
    );
    let has_desired = || {
        listener
            .newest()
            .keys()
            .any(|topic| topic.ends_with("/desired"))
    };

    // Nothing is sent by a look, nor when a file is wrong.
    let (code, shown) = tool.run(&["apply", dir, "--dry-run"]);
    assert_eq!(code, 0, "{shown}");
    assert!(
        shown.contains("+ camera Gate: password = ***") && !shown.contains(CANARY),
        "{shown}"
    );
    assert!(
        shown.contains("20 gateways would get a new document"),
        "{shown}"
    );
    write(
        files.path(),
        "group/role=nvr.toml",
        "[settings.health]\nintervall_s = 1\n",
    );
    let (code, wrong) = tool.run(&["apply", dir]);
    assert!(
        code != 0 && wrong.contains("line 2") && wrong.contains("health.interval_s"),
        "{wrong}"
    );
    std::fs::remove_file(files.path().join("group/role=nvr.toml")).unwrap();
    assert!(!has_desired());

    // One is away; three go first; the one that comes back catches up.
    daemons[5].stop();
    let (code, lines) = tool.lines(&["apply", dir, "--canary", "3"]);
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(
        (code, &summary["applied"], &summary["away"]),
        (0, &json!(19), &json!(1)),
        "{lines:?}"
    );
    let interval = |daemon: &Daemon| {
        daemon.get("/api/config").expect(200)["config"]["health"]["interval_s"].clone()
    };
    assert_eq!(cameras(&daemons[0]), ["Gate", "North"]);
    assert_eq!(cameras(&daemons[1]), ["Gate"]);
    assert_eq!(
        (interval(&daemons[1]), interval(&daemons[3])),
        (json!(42), json!(43))
    );
    let state = daemons[5].state.clone();
    // The first one owns the directory.
    let _before = std::mem::replace(
        &mut daemons[5],
        Daemon::start_on(None, &state, Some(&state.with_file_name("ohmvision.toml"))),
    );
    wait_for("it catches up", Duration::from_secs(20), || {
        (cameras(&daemons[5]) == ["Gate"]).then_some(())
    });
    tool.all_online();
    let (code, status) = tool.run(&["status"]);
    assert_eq!(code, 0, "{status}");
    let (code, again) = tool.run(&["apply", dir]);
    assert_eq!(code, 0);
    assert!(
        again.contains("every gateway has what the files say"),
        "{again}"
    );

    // By hand: told and mended.
    let path = format!(
        "/api/cameras/{}",
        daemons[2].get("/api/cameras").expect(200)["items"][0]["id"]
    );
    daemons[2].ask("DELETE", &path, None).expect(204);
    let topic = format!("ohmvision/{}/reported", id_of(2));
    wait_for("the drift is told", Duration::from_secs(10), || {
        let all = listener.all().into_iter();
        let mut told = all.filter(|m| m.topic == topic).map(|m| m.json());
        told.find(|r| r["state"] == "drift" && r["drift"][0]["missing"] == true)
    });
    wait_for("the camera is there again", Duration::from_secs(10), || {
        (cameras(&daemons[2]) == ["Gate", "North"]).then_some(())
    });

    // A command, on those that are chosen.
    for more in [
        &["--select", "site=north"][..],
        &["--select", "site=north", "--broadcast"],
    ] {
        let (code, lines) = tool.lines(&[&["run", "config_get"], more].concat());
        assert_eq!(code, 0, "{lines:?}");
        assert_eq!(
            lines.last().unwrap()["summary"]["successful"],
            10,
            "{lines:?}"
        );
    }
    let (code, lines) = tool.lines(&["run", "restart", "--gateway", &id_of(1)]);
    assert_eq!(
        (code, &lines[0]["code"]),
        (1, &json!("not_allowed")),
        "{lines:?}"
    );
    let left = listener
        .newest()
        .keys()
        .filter(|topic| {
            topic.starts_with("ohmvision/gw-")
                && topic.contains("/cmd/")
                && topic.contains("fleet-")
        })
        .count();
    assert_eq!(left, 0, "commands are cleared");

    // A broker that is none: the canary fails, the rest is not touched, nobody is lost.
    let nowhere = format!(
        "[settings.mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n",
        free_port()
    );
    write(files.path(), "group/site=south.toml", &nowhere);
    let (code, lines) = tool.lines(&["apply", dir, "--canary", "2", "--max-failures", "5"]);
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(
        (code, &summary["failed"], &summary["stopped"]),
        (1, &json!(2), &json!(true)),
        "{lines:?}"
    );
    assert_eq!(
        summary["untouched"].as_array().unwrap().len(),
        8,
        "{lines:?}"
    );
    assert!(
        lines[0]["reason"].as_str().unwrap().contains("reverted"),
        "{lines:?}"
    );
    tool.all_online();
    std::fs::remove_file(files.path().join("group/site=south.toml")).unwrap();
    let (code, lines) = tool.lines(&["apply", dir]);
    assert_eq!(
        (code, &lines.last().unwrap()["summary"]["applied"]),
        (0, &json!(2)),
        "{lines:?}"
    );
    let (code, status) = tool.run(&["status"]);
    assert_eq!(code, 0, "{status}");

    // What is refused is no success, not the second time either.
    let strict = config(&broker, GATEWAYS)
        .replace("\"camera_add\", ", "")
        .replace("\"north\"", "\"west\"");
    let strict = Daemon::start(None, &strict);
    let id = wait_for("it is there too", Duration::from_secs(20), || {
        let list = tool.list().into_iter();
        let mut here = list.filter(|g| g["site"] == "west" && g["online"] == true);
        Some(here.next()?["id"].as_str()?.to_owned())
    });
    for time in 1..3 {
        let (code, lines) = tool.lines(&["apply", dir, "--gateway", &id]);
        let reason = lines[0]["reason"].as_str().unwrap_or_default();
        assert!(
            code == 1 && reason.contains("camera_add") && lines[0]["revision"] == time,
            "{code} {lines:?}"
        );
    }
    assert_eq!(cameras(&strict), [""; 0]);

    // Ctrl-C clears what was asked, and still tells.
    let ghost =
        json!({"name": "g\u{1b}host", "sealing_key": "AAAA", "capabilities": ["config_get"]});
    broker.publish("ohmvision/gw-ghost/status", "online", true);
    broker.publish("ohmvision/gw-ghost/info", ghost.to_string(), true);
    let (url, mut ask) = (broker.url(), Command::new(PROGRAM));
    ask.args([
        "fleet",
        "run",
        "config_get",
        "--gateway",
        "gw-ghost",
        "--broker",
        &url,
    ]);
    let ask = ask
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let commands = || {
        let newest = listener.newest().into_iter();
        newest
            .filter(|(topic, body)| {
                topic.starts_with("ohmvision/gw-ghost/cmd/") && !body.is_empty()
            })
            .count()
    };
    wait_for("the command lies there", Duration::from_secs(20), || {
        (commands() == 1).then_some(())
    });
    kill(Pid::from_raw(ask.id() as i32), Signal::SIGINT).unwrap();
    let ended = ask.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("ghost  no answer") && !said.contains('\u{1b}'),
        "{said:?}"
    );
    wait_for("it is cleared", Duration::from_secs(5), || {
        (commands() == 0).then_some(())
    });

    for message in listener.all() {
        assert!(!message.body.contains(CANARY), "{}", message.topic);
    }
}
