//! What the daemon costs while it watches cameras: Pss and private dirty memory, threads, CPU per hour.
//!
//! usage: footprint PATH-OF-OHMVISION [CAMERAS] [SECONDS]
//!
//! The cameras are a small server in this program that speaks just enough RTSP on loopback: what is
//! measured is the daemon, in a process of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for developers"
)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "process.rs"]
mod process;

use process::{cpu_s, field, wait_for};

fn main() {
    let mut args = std::env::args().skip(1);
    let program = args
        .next()
        .expect("usage: footprint PATH-OF-OHMVISION [CAMERAS] [SECONDS]");
    let cameras: u32 = args.next().map_or(25, |n| n.parse().unwrap());
    let seconds: u64 = args.next().map_or(60, |n| n.parse().unwrap());
    let port = serve();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ohmvision.toml");
    std::fs::write(
        &config,
        "[security]\nallowed_networks = [\"loopback\"]\n[log]\nfilter = \"warn\"\n",
    )
    .unwrap();
    let state = dir.path().join("state");
    let mut daemon = Command::new(&program)
        .args(["run", "--listen", "127.0.0.1:0"])
        .arg("--config")
        .arg(&config)
        .arg("--state-dir")
        .arg(&state)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let address = wait_for(|| std::fs::read_to_string(state.join("api.addr")).ok());
    wait_for(|| (http(&address, "GET", "/readyz", "", "").0 == 200).then_some(()));
    let start_ms = started.elapsed().as_millis();
    let token = std::fs::read_to_string(state.join("admin.token")).unwrap();
    for n in 0..cameras {
        let body = format!(
            r#"{{"name":"camera {n}","primary_stream_url":"rtsp://127.0.0.1:{port}/{n}"}}"#
        );
        let (status, answer) = http(&address, "POST", "/api/cameras", token.trim(), &body);
        assert_eq!(status, 201, "{answer}");
    }
    let wanted = format!(r#""online_cameras":{cameras}"#);
    wait_for(|| {
        let (_, body) = http(&address, "GET", "/api/health/status", token.trim(), "");
        body.replace(' ', "").contains(&wanted).then_some(())
    });
    let before = cpu_s(daemon.id());
    std::thread::sleep(Duration::from_secs(seconds));
    let cpu_s_per_hour = (cpu_s(daemon.id()) - before) * 3600.0 / seconds as f64;
    let memory = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", daemon.id())).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    println!("{cameras} cameras at 60 s, watched for {seconds} s");
    println!(
        "  binary         {:>8} kB",
        Path::new(&program).metadata().unwrap().len() / 1024
    );
    println!("  start to ready {start_ms:>8} ms");
    println!("  Pss            {:>8} kB", field(&memory, "Pss:"));
    let goal_kb = if cameras <= 25 { 3 * 1024 } else { 10 * 1024 };
    println!(
        "  private dirty  {:>8} kB (goal: < {goal_kb})",
        field(&memory, "Private_Dirty:")
    );
    println!(
        "  RSS            {:>8} kB (goal with 1,000 cameras: < 15360)",
        field(&status, "VmRSS:")
    );
    println!("  threads        {:>8}", field(&status, "Threads:"));
    println!("  CPU            {cpu_s_per_hour:>8.2} s per hour");
    stop(&mut daemon);
}

fn http(address: &str, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return (0, String::new());
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    (
        status,
        answer
            .split_once("\r\n\r\n")
            .map_or(String::new(), |(_, body)| body.to_owned()),
    )
}

fn stop(daemon: &mut Child) {
    let pid = nix::unistd::Pid::from_raw(daemon.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    daemon.wait().unwrap();
}

/// Every path of this server is a camera: an SDP with parameter sets, and one key frame at PLAY.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = camera(stream);
            });
        }
    });
    port
}

fn camera(mut stream: TcpStream) -> std::io::Result<()> {
    const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=bench\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAKNoB4AiflwEQAAADABAAAAMDIPGDKg==,aM4G4g==\r\na=control:track1\r\n";
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
            let cseq = request
                .lines()
                .find_map(|l| l.strip_prefix("CSeq:"))
                .unwrap_or("0")
                .trim()
                .to_owned();
            let method = request.split(' ').next().unwrap_or_default();
            let (headers, body) = match method {
                "DESCRIBE" => (
                    format!(
                        "Content-Type: application/sdp\r\nContent-Length: {}\r\n",
                        SDP.len()
                    ),
                    SDP,
                ),
                "SETUP" => (
                    "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n".to_owned(),
                    "",
                ),
                _ => ("Session: 1\r\n".to_owned(), ""),
            };
            write!(
                stream,
                "RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n{headers}\r\n{body}"
            )?;
            if method == "PLAY" {
                // RTP: version 2, marker and payload type 96, sequence, time, source; then an IDR slice.
                let mut packet = vec![0x80, 0xe0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x65];
                packet.extend([0x88; 500]);
                let mut frame = vec![b'$', 0, (packet.len() >> 8) as u8, packet.len() as u8];
                frame.extend(packet);
                stream.write_all(&frame)?;
            }
        }
    }
}
