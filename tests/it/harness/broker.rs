//! A real mosquitto on a port of its own, and who listens and speaks there.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::wait_for;

/// Who hears this is subscribed.
const READY: &str = "test/ready";

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub struct Broker {
    child: Option<Child>,
    pub port: u16,
    dir: tempfile::TempDir,
}

impl Broker {
    /// A broker without passwords.
    pub fn start() -> Self {
        Self::with("allow_anonymous true\n", |_| {})
    }

    /// A broker with these lines in its configuration; `DIR` stands for a folder that `prepare` may
    /// fill.
    pub fn with(lines: &str, prepare: impl Fn(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let port = free_port();
        let shown = dir.path().display().to_string();
        let config = format!(
            "listener {port} 127.0.0.1\nuser {}\nmax_queued_messages 100000\n{}",
            std::env::var("USER").unwrap_or("root".to_owned()),
            lines.replace("DIR", &shown)
        );
        std::fs::write(dir.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self {
            child: None,
            port,
            dir,
        };
        broker.begin();
        broker
    }

    /// Starts it again, empty, on the same port.
    pub fn begin(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(self.dir.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("mosquitto is installed");
        self.child = Some(child);
        let port = self.port;
        wait_for("the broker listens", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Listens to these filters with MQTT 5.
    pub fn listen(&self, filters: &[&str]) -> Listener {
        let mut command = self.client("mosquitto_sub");
        command.args(["-V", "5", "-q", "1", "-F", "%t\t%p"]);
        for filter in filters {
            command.args(["-t", filter]);
        }
        let mut child = command
            .args(["-t", READY])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto-clients is installed");
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let out = BufReader::new(child.stdout.take().unwrap());
        let into = heard.clone();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let mut heard = into.lock().unwrap();
                let Some((topic, body)) = line.split_once('\t') else {
                    continue;
                };
                if topic == READY {
                    heard.is_subscribed = true;
                    continue;
                }
                heard.messages.push(Published {
                    topic: topic.to_owned(),
                    body: body.to_owned(),
                });
            }
        });
        let listener = Listener { child, heard };
        wait_for("the subscription stands", Duration::from_secs(10), || {
            self.publish(READY, "", false);
            listener.heard.lock().unwrap().is_subscribed.then_some(())
        });
        listener
    }

    /// What is retained below these filters, read anew until it is as wanted.
    pub fn retained_as(
        &self,
        login: &[&str],
        filters: &[&str],
        is_wanted: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> BTreeMap<String, String> {
        wait_for("what is retained", Duration::from_secs(20), || {
            let mut command = self.client("mosquitto_sub");
            command
                .args(["-V", "5", "-W", "1", "-F", "%t\t%p"])
                .args(login);
            for filter in filters {
                command.args(["-t", filter]);
            }
            let out = command.output().expect("mosquitto-clients is installed");
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            let pair = |line: &str| {
                line.split_once('\t')
                    .map(|(t, b)| (t.to_owned(), b.to_owned()))
            };
            let all: BTreeMap<_, _> = text.lines().filter_map(pair).collect();
            is_wanted(&all).then_some(all)
        })
    }

    /// A client that connects with this id and stays.
    pub fn impostor(&self, id: &str) -> Impostor {
        let mut command = self.client("mosquitto_sub");
        command.args(["-V", "5", "-i", id, "-t", "nothing"]);
        Impostor(command.stdout(Stdio::null()).spawn().unwrap())
    }

    pub fn publish(&self, topic: &str, body: impl AsRef<[u8]>, retain: bool) {
        let body = body.as_ref();
        let mut command = self.client("mosquitto_pub");
        command.args(["-V", "5", "-q", "1", "-t", topic]);
        // An empty message can only be named, a long one only be piped.
        command.args(if body.is_empty() { ["-n"] } else { ["-s"] });
        if retain {
            command.arg("-r");
        }
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(body).unwrap();
        assert!(child.wait().unwrap().success(), "{topic}");
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Default)]
struct Heard {
    is_subscribed: bool,
    messages: Vec<Published>,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Published {
    pub topic: String,
    pub body: String,
}

impl Published {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Ends with this.
pub struct Impostor(Child);

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Collects what is published.
pub struct Listener {
    child: Child,
    heard: Arc<Mutex<Heard>>,
}

impl Listener {
    pub fn all(&self) -> Vec<Published> {
        self.heard.lock().unwrap().messages.clone()
    }

    /// The newest body of each topic; empty ones are left out, as the broker does.
    pub fn newest(&self) -> BTreeMap<String, String> {
        let mut newest = BTreeMap::new();
        for message in self.all() {
            match message.body.is_empty() {
                true => newest.remove(&message.topic),
                false => newest.insert(message.topic, message.body),
            };
        }
        newest
    }

    /// Waits for a topic whose newest body is as wanted.
    pub fn wait(&self, topic: &str, limit_s: u64, is_wanted: impl Fn(&str) -> bool) -> String {
        wait_for(topic, Duration::from_secs(limit_s), || {
            let heard = self.heard.lock().unwrap();
            let newest = heard.messages.iter().rev().find(|m| m.topic == topic)?;
            is_wanted(&newest.body).then(|| newest.body.clone())
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A way to a broker that breaks: each connection is cut after so many bytes towards the broker, with
/// whatever is in flight then.
pub struct Cutter {
    pub port: u16,
    pub cuts: Arc<std::sync::atomic::AtomicU32>,
}

impl Cutter {
    /// The first `cuts` connections are cut after `bytes`; the others stand.
    pub fn before(broker: u16, cuts: u32, bytes: usize) -> Self {
        use std::io::{Read as _, Write as _};
        use std::net::{Shutdown, TcpStream};
        use std::sync::atomic::{AtomicU32, Ordering};

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let done: Arc<AtomicU32> = Arc::default();
        let count = done.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", broker)) else {
                    continue;
                };
                let (mut back_in, mut back_out) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut back_in, &mut back_out);
                    let _ = back_out.shutdown(Shutdown::Both);
                });
                let limit = match count.load(Ordering::SeqCst) < cuts {
                    true => bytes,
                    false => usize::MAX,
                };
                let (mut client, mut server, count) = (client, server, count.clone());
                std::thread::spawn(move || {
                    let mut passed = 0;
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = client.read(&mut buffer) {
                        passed += length;
                        if passed > limit {
                            count.fetch_add(1, Ordering::SeqCst);
                            break;
                        }
                        if server.write_all(&buffer[..length]).is_err() {
                            break;
                        }
                    }
                    let _ = client.shutdown(Shutdown::Both);
                    let _ = server.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, cuts: done }
    }
}
