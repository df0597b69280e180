//! Cameras that misbehave, on loopback: only for what no real server does.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Parameter sets of 1920x1080 at 25 fps.
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=fault\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAKNoB4AiflwEQAAADABAAAAMDIPGDKg==,aM4G4g==\r\na=control:track1\r\n";

/// In which way a camera misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    EndlessDescribe,
    EndlessHeader,
    EndlessSetup,
    /// Frames without end, none of them a key frame.
    EndlessPlay,
    /// Well on the first connection, endless on the next.
    SecondConnection,
    /// Plays and sends nothing.
    Silent,
    /// One byte now and then.
    SlowLoris,
    /// Refuses each login, with a fresh nonce each time.
    WrongDigest,
    /// Takes the login `admin` / `right` only; locks everybody out after five wrong ones.
    Locks,
    GarbageSdp,
    RedirectLoop,
}

/// A camera on a port of its own.
pub struct Fake {
    pub address: SocketAddr,
    /// Requests that carried a login.
    pub logins: Arc<AtomicU32>,
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap(),
            logins: Arc::default(),
            requests: Arc::default(),
        };
        let (logins, requests) = (fake.logins.clone(), fake.requests.clone());
        std::thread::spawn(move || {
            for (n, stream) in listener.incoming().flatten().enumerate() {
                let fault = match fault {
                    Fault::SecondConnection if n == 0 => Fault::None,
                    Fault::SecondConnection => Fault::EndlessDescribe,
                    other => other,
                };
                let (logins, requests) = (logins.clone(), requests.clone());
                std::thread::spawn(move || {
                    let _ = talk(stream, fault, &logins, &requests);
                });
            }
        });
        fake
    }

    pub fn url(&self) -> String {
        format!("rtsp://{}/live", self.address)
    }

    pub fn logins(&self) -> u32 {
        self.logins.load(Ordering::SeqCst)
    }
}

fn flood(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    loop {
        stream.write_all(bytes)?;
    }
}

fn talk(
    mut stream: TcpStream,
    fault: Fault,
    logins: &AtomicU32,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut pending = String::new();
    let mut buffer = [0; 2048];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        pending.push_str(&String::from_utf8_lossy(&buffer[..length]));
        while let Some(end) = pending.find("\r\n\r\n") {
            let request: String = pending.drain(..end + 4).collect();
            log.lock()
                .unwrap()
                .push(request.lines().next().unwrap_or_default().to_owned());
            answer(&mut stream, fault, &request, logins)?;
        }
    }
}

fn answer(
    stream: &mut TcpStream,
    fault: Fault,
    request: &str,
    logins: &AtomicU32,
) -> std::io::Result<()> {
    let cseq = request
        .lines()
        .find_map(|l| l.strip_prefix("CSeq:"))
        .unwrap_or("0")
        .trim()
        .to_owned();
    let method = request.split(' ').next().unwrap_or_default().to_owned();
    let head =
        |status: &str, more: &str| format!("RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{more}\r\n");
    let has_login = request.lines().any(|l| l.starts_with("Authorization:"));
    let tried = if has_login {
        logins.fetch_add(1, Ordering::SeqCst) + 1
    } else {
        logins.load(Ordering::SeqCst)
    };
    if matches!(fault, Fault::WrongDigest | Fault::Locks) {
        let is_right = fault == Fault::Locks && request.contains("YWRtaW46cmlnaHQ=") && tried <= 5;
        if !is_right {
            let ask = match fault {
                Fault::Locks => "WWW-Authenticate: Basic realm=\"lock\"\r\n".to_owned(),
                _ => format!(
                    "WWW-Authenticate: Digest realm=\"IP Camera(12345)\", nonce=\"{tried:08x}\"\r\n"
                ),
            };
            return stream.write_all(head("401 Unauthorized", &ask).as_bytes());
        }
    }
    match (fault, method.as_str()) {
        (Fault::EndlessHeader, "DESCRIBE") => {
            stream.write_all(format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n").as_bytes())?;
            flood(
                stream,
                "X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
                    .repeat(500)
                    .as_bytes(),
            )
        }
        (Fault::EndlessDescribe, "DESCRIBE") => {
            let more = "Content-Type: application/sdp\r\nContent-Length: 4000000000\r\n";
            stream.write_all(head("200 OK", more).as_bytes())?;
            flood(stream, &[b'a'; 65_536])
        }
        (Fault::EndlessSetup, "SETUP") => {
            stream.write_all(
                head("200 OK", "Session: 1\r\nContent-Length: 4000000000\r\n").as_bytes(),
            )?;
            flood(stream, &[b'a'; 65_536])
        }
        (Fault::SlowLoris, _) => {
            for byte in head("200 OK", "").bytes().cycle().take(400) {
                stream.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        }
        (Fault::RedirectLoop, _) => {
            let local = stream.local_addr()?;
            let more = format!("Location: rtsp://{local}/again\r\n");
            stream.write_all(head("302 Moved", &more).as_bytes())
        }
        (Fault::GarbageSdp, "DESCRIBE") => {
            let body = "\u{0}\u{1}{\"not\":\"sdp\"}<xml>";
            let more = format!(
                "Content-Type: application/sdp\r\nContent-Length: {}\r\n",
                body.len()
            );
            stream.write_all(format!("{}{body}", head("200 OK", &more)).as_bytes())
        }
        (_, "DESCRIBE") => {
            let more = format!(
                "Content-Type: application/sdp\r\nContent-Length: {}\r\n",
                SDP.len()
            );
            stream.write_all(format!("{}{SDP}", head("200 OK", &more)).as_bytes())
        }
        (_, "SETUP") => {
            let more = "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
            stream.write_all(head("200 OK", more).as_bytes())
        }
        (Fault::EndlessPlay, "PLAY") => {
            stream.write_all(head("200 OK", "Session: 1\r\n").as_bytes())?;
            flood(stream, &frame(0x41).repeat(100))
        }
        (Fault::Silent, "PLAY") => stream.write_all(head("200 OK", "Session: 1\r\n").as_bytes()),
        (_, "PLAY") => {
            stream.write_all(head("200 OK", "Session: 1\r\n").as_bytes())?;
            stream.write_all(&frame(0x65))
        }
        _ => stream.write_all(head("200 OK", "Session: 1\r\n").as_bytes()),
    }
}

/// An interleaved RTP packet with one whole NAL unit of this kind.
fn frame(nal: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0xe0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, nal];
    packet.extend([0x88; 600]);
    let mut framed = vec![b'$', 0, (packet.len() >> 8) as u8, packet.len() as u8];
    framed.extend(packet);
    framed
}
