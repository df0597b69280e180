//! Cameras on this machine, on a stand-in by umockdev: which there are, what they can do, who takes their
//! pictures, and what becomes of a stored one that is unplugged. It has no pictures: those are proven
//! on a real driver, by `tests/vm`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::daemon::run_to_end;
use super::harness::{Daemon, is_skipped, wait_for};

const BY_ID: &str = "usb-046d_HD_Pro_Webcam_C920_2D3C6A1F-video-index0";
/// The daemon looks every 5 s where no event of the kernel comes, and one check follows.
const LOOK_LIMIT: Duration = Duration::from_secs(12);

/// The stand-in; gone when dropped.
struct Webcam {
    child: Child,
    answers: BufReader<ChildStdout>,
    dir: String,
}

impl Webcam {
    /// `None` where the peer is left out.
    fn plugged_in() -> Option<Self> {
        if is_skipped("umockdev") {
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/usb_camera.py");
        let mut child = Command::new("umockdev-wrapper")
            .args(["/usr/bin/python3", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("umockdev is installed (make test does it)");
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut webcam = Self {
            child,
            answers,
            dir: String::new(),
        };
        webcam.dir = webcam.line();
        webcam.say("plug");
        Some(webcam)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the stand-in ended");
        line.trim().to_owned()
    }

    fn say(&mut self, command: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{command}").unwrap();
        assert_eq!(self.line(), "ok");
    }

    /// What makes a program see it.
    fn env(&self) -> [(&str, &str); 2] {
        [
            ("UMOCKDEV_DIR", &self.dir),
            ("LD_PRELOAD", "libumockdev-preload.so.0"),
        ]
    }

    /// Exit code and output of the program.
    fn run(&self, args: &[&str]) -> (i32, String) {
        run_to_end(args, &self.env())
    }

    fn probe(&self, args: &[&str]) -> Value {
        let (_, said) = self.run(&[&["probe", "--json"], args].concat());
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
    }
}

impl Drop for Webcam {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_webcam_is_listed_with_all_that_it_can_do() {
    let Some(webcam) = Webcam::plugged_in() else {
        return;
    };
    let (code, table) = webcam.run(&["usb"]);
    assert_eq!(code, 0, "{table}");
    assert!(
        table.contains("MJPG 1280x720 30 fps") && table.contains(BY_ID),
        "{table}"
    );
    let (_, list) = webcam.run(&["usb", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    // Its second node is metadata.
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    let camera = &list[0];
    assert_eq!(camera["name"], "HD Pro Webcam C920");
    assert_eq!(camera["url"], format!("usb:{BY_ID}"));
    assert_eq!(camera["device"], "/dev/video0");
    assert_eq!(
        (
            &camera["vendor_id"],
            &camera["product_id"],
            &camera["serial_number"]
        ),
        (&json!("046d"), &json!("082d"), &json!("2D3C6A1F"))
    );
    let size = |resolution: &str| json!({"resolution": resolution, "resolution_min": null, "fps": [30.0, 15.0], "fps_min": null});
    assert_eq!(
        camera["formats"][0],
        json!({"format": "MJPG", "codec": "mjpeg", "description": "Motion-JPEG", "is_emulated": false,
            "sizes": [size("640x480"), size("1280x720"), size("1920x1080")]})
    );
    assert_eq!(camera["formats"][1]["codec"], "yuyv");
}

#[test]
fn a_probe_tells_what_is_set_and_who_is_in_its_way() {
    let Some(mut webcam) = Webcam::plugged_in() else {
        return;
    };
    let url = format!("usb:{BY_ID}");
    let seen = webcam.probe(&[&url]);
    assert_eq!(seen["success"], true, "{seen}");
    assert_eq!(
        (
            &seen["codec"],
            &seen["resolution"],
            &seen["fps"],
            &seen["transport"],
            &seen["evidence"]
        ),
        (
            &json!("mjpeg"),
            &json!("1280x720"),
            &json!(30.0),
            &json!("usb"),
            &json!("description")
        )
    );
    let error = |seen: Value| {
        let of = |name: &str| seen["error"][name].as_str().unwrap_or_default().to_owned();
        (of("code"), of("stage"), of("message"))
    };
    // A bad cable.
    let (code, stage, _) = error(webcam.probe(&[&url, "--frames"]));
    assert_eq!((code.as_str(), stage.as_str()), ("reset", "start"));
    webcam.say("take");
    let (code, _, message) = error(webcam.probe(&[&url, "--frames"]));
    assert_eq!(code, "busy");
    assert!(message.contains("another program"), "{message}");
    assert_eq!(
        webcam.probe(&[&url])["success"],
        true,
        "looking disturbs nobody"
    );
    webcam.say("free");
    let (code, ..) = error(webcam.probe(&["usb:video1"]));
    assert_eq!(code, "unsupported_codec", "a metadata node");
    let (code, _, message) = error(webcam.probe(&["usb:usb-other-video-index0"]));
    assert_eq!(code, "not_found");
    assert!(message.ends_with(&format!("there is {BY_ID}")), "{message}");
    webcam.say("unplug");
    let (code, stage, _) = error(webcam.probe(&[&url]));
    assert_eq!((code.as_str(), stage.as_str()), ("not_found", "connect"));
    assert_eq!(webcam.run(&["usb"]).0, 1);
}

#[test]
fn a_stored_webcam_goes_and_comes_back_under_another_number() {
    let Some(mut webcam) = Webcam::plugged_in() else {
        return;
    };
    let daemon = Daemon::start_in_env(None, "", &webcam.env());
    let seen = daemon.get("/api/discovery/usb").expect(200);
    assert_eq!(
        (&seen["count"], &seen["cameras"][0]["camera_id"]),
        (&json!(1), &Value::Null)
    );
    let camera = json!({
        "name": "Desk", "primary_stream_url": seen["cameras"][0]["url"],
        "connection_config": {"verify_frames": false}
    });
    let stored = daemon.post("/api/cameras", camera.clone()).expect(201);
    assert_eq!(stored["connection_type"], "usb");
    daemon.post("/api/cameras", camera).expect(409);
    let seen = daemon.get("/api/discovery/usb").expect(200);
    assert_eq!(seen["cameras"][0]["camera_id"], 1);

    let health = |daemon: &Daemon| daemon.get("/api/health/cameras/1").expect(200);
    let until = |what: &str, is_it: &dyn Fn(&Value) -> bool| {
        wait_for(what, LOOK_LIMIT, || Some(health(&daemon)).filter(is_it))
    };
    let online = |health: &Value| health["connection_health"] == "excellent";
    let well = until("it is online", &online);
    assert_eq!(
        (&well["codec"], &well["resolution"]),
        (&json!("mjpeg"), &json!("1280x720"))
    );

    webcam.say("unplug");
    let gone = until("it is offline", &|h| h["connection_health"] == "offline");
    // The system itself says so: no second look.
    assert_eq!(
        (&gone["cause"], &gone["failed_connection_attempts"]),
        (&json!("not_found"), &json!(1))
    );
    webcam.say("plug");
    until("it is online again", &online);
    let seen = daemon.get("/api/discovery/usb").expect(200);
    assert_eq!(
        (
            &seen["cameras"][0]["device"],
            &seen["cameras"][0]["camera_id"]
        ),
        (&json!("/dev/video2"), &json!(1))
    );
}
