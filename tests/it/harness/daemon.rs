//! A daemon of its own: state directory, port from the kernel, token; and what is asked of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Site, wait_for};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ohmvision");

pub struct Daemon {
    child: Child,
    pub state: PathBuf,
    pub address: String,
    pub token: String,
    netns: Option<String>,
    _dir: Option<tempfile::TempDir>,
}

/// One answer of the API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The JSON of an answer that must have this status.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }
}

impl Daemon {
    /// Starts a daemon with this configuration, in a site's gateway or on loopback, and waits until it
    /// is ready.
    pub fn start(site: Option<&Site>, config: &str) -> Self {
        Self::start_in_env(site, config, &[])
    }

    /// The same with these variables.
    pub fn start_in_env(site: Option<&Site>, config: &str, env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ohmvision.toml");
        std::fs::write(&file, config).unwrap();
        let mut daemon = Self::launch(site, &dir.path().join("state"), Some(&file), env);
        daemon._dir = Some(dir);
        daemon
    }

    /// The same on a state directory that is there already.
    pub fn start_on(site: Option<&Site>, state: &Path, config: Option<&Path>) -> Self {
        Self::launch(site, state, config, &[])
    }

    fn launch(
        site: Option<&Site>,
        state: &Path,
        config: Option<&Path>,
        env: &[(&str, &str)],
    ) -> Self {
        let _ = std::fs::remove_file(state.join("api.addr"));
        let mut command = match site {
            Some(site) => site.command(PROGRAM),
            None => Command::new(PROGRAM),
        };
        command
            .args(["run", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(state);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        std::fs::create_dir_all(state).unwrap();
        let log = std::fs::File::create(state.with_extension("log")).unwrap();
        let mut child = command
            .env_remove("OHMVISION_PASSWORD")
            .envs(env.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let log_path = state.with_extension("log");
        let address = wait_for("the daemon listens", Duration::from_secs(20), || {
            if let Some(ended) = child.try_wait().unwrap() {
                panic!(
                    "the daemon ended, {ended}: {}",
                    std::fs::read_to_string(&log_path).unwrap()
                );
            }
            std::fs::read_to_string(state.join("api.addr"))
                .ok()
                .filter(|a| !a.is_empty())
        });
        let mut daemon = Self {
            child,
            state: state.to_owned(),
            address,
            token: String::new(),
            netns: site.map(|s| format!("/run/netns/{}-gw", s.prefix)),
            _dir: None,
        };
        wait_for("the daemon is ready", Duration::from_secs(20), || {
            (daemon.try_ask("GET", "/readyz", None, &[])?.status == 200).then_some(())
        });
        let token = std::fs::read_to_string(state.join("admin.token")).unwrap();
        daemon.token = token.trim().to_owned();
        daemon
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(body.to_string()))
    }

    /// A request with the admin token.
    pub fn ask(&self, method: &str, path: &str, body: Option<String>) -> Answer {
        self.ask_with(method, path, body, &[])
    }

    pub fn ask_with(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend(headers);
        self.try_ask(method, path, body.as_deref(), &all)
            .expect("the daemon answers")
    }

    /// `None` when the connection fails or breaks.
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Option<Answer> {
        let mut stream = self.connect()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(90)))
            .ok()?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            if !headers.iter().any(|(name, _)| *name == "Content-Type") {
                head.push_str("Content-Type: application/json\r\n");
            }
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        head.push_str(body.unwrap_or_default());
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// A socket keeps the namespace in which it was made.
    fn connect(&self) -> Option<TcpStream> {
        let (address, netns) = (self.address.clone(), self.netns.clone());
        let open = move || {
            if let Some(netns) = netns {
                let prefix = netns
                    .trim_start_matches("/run/netns/")
                    .trim_end_matches("-gw")
                    .to_owned();
                let site = std::mem::ManuallyDrop::new(Site { prefix });
                site.enter();
            }
            TcpStream::connect(address).ok()
        };
        std::thread::spawn(open).join().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that was ever resident, kB.
    pub fn peak_rss_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.state.with_extension("log")).unwrap()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; how it ended and how long that took.
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        self.signal(Signal::SIGTERM);
        (self.child.wait().unwrap(), started.elapsed())
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            println!("log of the daemon:\n{}", self.log());
        }
    }
}

/// The exit code of a run that must end by itself, and what it said.
pub fn run_to_end(args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let out = Command::new(PROGRAM)
        .args(args)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let code = out
        .status
        .code()
        .unwrap_or_else(|| -out.status.signal().unwrap_or(1));
    (code, said)
}
