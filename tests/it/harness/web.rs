//! Web services of cameras and recorders, as the makers' documents describe them. They want `admin` / `s3cret`
//! by digest.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use md5::{Digest as _, Md5};

/// One request that came with the right login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub body: String,
}

/// What it answers: type and body, or 404.
pub type Page = Option<(&'static str, Vec<u8>)>;

type Script = Arc<dyn Fn(&Asked) -> Page + Send + Sync>;

pub struct Web {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Web {
    /// On loopback.
    pub fn start(script: impl Fn(&Asked) -> Page + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::start_at(listener, "s3cret", script)
    }

    pub fn start_at(
        listener: TcpListener,
        password: &'static str,
        script: impl Fn(&Asked) -> Page + Send + Sync + 'static,
    ) -> Self {
        let web = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
        };
        let (asked, script): (_, Script) = (web.asked.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, script) = (asked.clone(), script.clone());
                std::thread::spawn(move || talk(stream, password, &asked, &script));
            }
        });
        web
    }

    /// Requests with the right login, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often this was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|a| a.path == path).count()
    }
}

/// `None` at the end of the connection.
fn talk(
    mut stream: TcpStream,
    password: &str,
    asked: &Mutex<Vec<Asked>>,
    script: &Script,
) -> Option<()> {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).ok()?;
        let mut line = head.split(' ');
        let one = Asked {
            method: line.next()?.to_owned(),
            path: line.next()?.to_owned(),
            body: String::from_utf8(body).ok()?,
        };
        let answer = match is_right(&head, password, &one) {
            false => "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\"\r\nContent-Length: 0\r\n\r\n".as_bytes().to_vec(),
            true => {
                asked.lock().unwrap().push(one.clone());
                let (status, kind, body) = match script(&one) {
                    Some((kind, body)) => ("200 OK", kind, body),
                    None => ("404 Not Found", "text/plain", Vec::new()),
                };
                let mut out = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
                out.extend(body);
                out
            }
        };
        stream.write_all(&answer).ok()?;
    }
}

/// RFC 2069.
fn is_right(head: &str, password: &str, asked: &Asked) -> bool {
    let hex = |text: String| -> String {
        let digest = Md5::digest(text.as_bytes());
        digest.iter().map(|b| format!("{b:02x}")).collect()
    };
    let ha1 = hex(format!("admin:cam:{password}"));
    let ha2 = hex(format!("{}:{}", asked.method, asked.path));
    head.contains(&format!("response=\"{}\"", hex(format!("{ha1}:n1:{ha2}"))))
}
