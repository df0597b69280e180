//! A site of real cameras: `tests/lan/lan` with a prefix of its own, taken down at the end.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

pub struct Site {
    pub prefix: String,
}

/// The sites of this process.
static UP: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn lan() -> Command {
    Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/lan/lan"))
}

impl Site {
    /// Brings a site up; `None` where the peer `lan` is skipped.
    pub fn up(name: &str, devices: &str) -> Option<Self> {
        if super::is_skipped("lan") {
            return None;
        }
        let prefix = format!("{name}{}", std::process::id() % 10_000);
        let is_new = UP.lock().unwrap().insert(prefix.clone());
        assert!(is_new, "two sites at the same time are called `{name}`");
        let site = Self { prefix };
        let out = lan()
            .args([
                "up",
                "--quiet",
                "--prefix",
                &site.prefix,
                "--devices",
                devices,
            ])
            .output()
            .expect("tests/lan/lan runs");
        assert!(
            out.status.success(),
            "the site does not come up (peers are installed by `tests/lan/lan install`): {}",
            String::from_utf8_lossy(&out.stderr)
        );
        Some(site)
    }

    /// `stop`, `start`, `unplug` or `plug` a device.
    pub fn lan(&self, verb: &str, device: &str) {
        let out = lan()
            .args([verb, "--prefix", &self.prefix, device])
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{verb} {device}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    /// A command inside the gateway's namespace; it becomes the process itself.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.gateway(), program]);
        command
    }

    pub fn run(&self, program: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(program)
            .args(args)
            .envs(env.iter().copied())
            .output()
            .unwrap()
    }

    /// A command inside a device's namespace.
    pub fn in_device(&self, device: &str, program: &str, args: &[&str]) -> Output {
        let namespace = format!("{}-{device}", self.prefix);
        Command::new("ip")
            .args(["netns", "exec", &namespace, program])
            .args(args)
            .output()
            .unwrap()
    }

    /// The logins that a faulty ONVIF device was sent, one on each line.
    pub fn logins(&self, device: &str) -> String {
        let dir = std::env::var_os("OHMVISION_LAN_DIR").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/lan"),
            PathBuf::from,
        );
        let file = dir.join(&self.prefix).join(format!("{device}.logins"));
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// A bare host on the LAN with this address and more of them, such as `10.77.0.9/24`.
    pub fn host(&self, name: &str, ip: &str, more: &[String]) {
        let args = ["host", "--prefix", &self.prefix, "--ip", ip, name];
        let out = lan().args(args).output().unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        for address in more {
            self.address(name, address);
        }
    }

    /// Gives a host one more address.
    pub fn address(&self, name: &str, address: &str) {
        let namespace = format!("{}-{name}", self.prefix);
        let added = Command::new("ip")
            .args(["-n", &namespace, "addr", "add", address, "dev", "eth0"])
            .status()
            .unwrap();
        assert!(added.success(), "{address} on {name}");
    }

    /// Waits until the kernel is sure that nobody else has the host's IPv6 address (RFC 4862, 5.4).
    pub fn settled(&self, name: &str) {
        let namespace = format!("{}-{name}", self.prefix);
        super::wait_for("IPv6 settles", Duration::from_secs(10), || {
            let list = |more: &[&str]| {
                let mut ip = Command::new("ip");
                ip.args([
                    "-n", &namespace, "-6", "addr", "show", "dev", "eth0", "scope", "link",
                ]);
                ip.args(more).output().unwrap().stdout
            };
            (!list(&[]).is_empty() && list(&["tentative"]).is_empty()).then_some(())
        });
    }

    /// Starts `tests/lan/searched.py` on a host and waits until it listens.
    pub fn searched(&self, name: &str, args: &[&str]) -> Searched {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/lan/searched.py");
        let mut child = Command::new("ip")
            .args(["netns", "exec", &format!("{}-{name}", self.prefix)])
            .args(["/usr/bin/python3", "-B"])
            .arg(script)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = out.lines().map(Result::unwrap);
        let before = lines.take_while(|line| line != "ready").collect();
        Searched { child, before }
    }

    fn gateway(&self) -> String {
        format!("{}-gw", self.prefix)
    }

    /// Moves the calling thread into the gateway's namespace for good: sockets that it opens are there.
    pub fn enter(&self) {
        enter(&self.gateway());
    }

    /// What a thread in a device's namespace comes to: sockets that it opens stay there.
    pub fn inside<T: Send>(&self, device: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = format!("{}-{device}", self.prefix);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(&namespace);
                work()
            });
            thread.join().unwrap()
        })
    }
}

fn enter(namespace: &str) {
    let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
    // SAFETY: a system call on a descriptor that is open; it changes this thread alone.
    let moved = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(moved, 0, "setns: {}", std::io::Error::last_os_error());
}

/// Cameras that answer searches; they end with this.
pub struct Searched {
    child: Child,
    /// What they printed before they listened.
    pub before: Vec<String>,
}

impl Drop for Searched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = lan().args(["down", "--prefix", &self.prefix]).output();
        UP.lock().unwrap().remove(&self.prefix);
    }
}

/// A device of `tests/lan/site.json`.
#[derive(Debug, Clone)]
pub struct Device {
    pub name: String,
    pub ip: String,
    pub manufacturer: Option<String>,
    pub username: String,
    pub password: String,
    /// The stream that a detection must recommend.
    pub url: String,
    pub codec: String,
    pub width: u64,
    pub height: u64,
    pub fps: f64,
}

/// `tests/lan/site.json`, device by device.
pub fn entries() -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/lan/site.json");
    let site: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    site["devices"].as_array().unwrap().clone()
}

/// Every device that is a camera, the ONVIF ones too.
pub fn cameras() -> Vec<Device> {
    listed(|device| device["streams"][0].is_object())
}

/// Those without ONVIF: what a site has by default.
pub fn devices() -> Vec<Device> {
    listed(|device| device["onvif"].is_null())
}

fn listed(is_wanted: impl Fn(&Value) -> bool) -> Vec<Device> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let device = |d: &Value| {
        let stream = &d["streams"][0];
        let expected = &stream["expected"];
        Device {
            name: text(&d["name"]),
            ip: text(&d["ip"]),
            manufacturer: d["manufacturer"].as_str().map(str::to_owned),
            username: text(&d["login"]["username"]),
            password: text(&d["login"]["password"]),
            url: text(&stream["url"]),
            codec: text(&expected["codec"]),
            width: expected["width"].as_u64().unwrap(),
            height: expected["height"].as_u64().unwrap(),
            fps: expected["fps"].as_f64().unwrap(),
        }
    };
    let wanted = entries().into_iter().filter(is_wanted);
    wanted.map(|d| device(&d)).collect()
}
