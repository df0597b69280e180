//! What a probe costs, ours and the peers' in turn in one run: CPU per DESCRIBE check beside a bare
//! tokio DESCRIBE and ffprobe; CPU and wall per first frame beside retina and ffprobe.
//!
//! usage: probe_cost URL [ROUNDS]    (an RTSP stream on this machine that needs no login)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for developers"
)]

#[path = "probing.rs"]
mod probing;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use nix::sys::resource::{UsageWho, getrusage};
use ohmvision::model::StreamUrl;
use ohmvision::probe::{self, Depth};
use probing::{run_ffprobe, target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CHECKS: u32 = 300;
const FRAMES: u32 = 60;

#[derive(Default)]
struct Column {
    name: &'static str,
    cpu_us: Vec<f64>,
    wall_ms: Vec<f64>,
}

impl Column {
    fn add(&mut self, count: u32, cpu: Duration, wall: Duration) {
        self.cpu_us.push(cpu.as_secs_f64() * 1e6 / f64::from(count));
        self.wall_ms
            .push(wall.as_secs_f64() * 1e3 / f64::from(count));
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// CPU of this process so far, or of its ended children.
fn cpu(who: UsageWho) -> Duration {
    let usage = getrusage(who).unwrap();
    let time =
        |t: nix::sys::time::TimeVal| Duration::new(t.tv_sec() as u64, t.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}

async fn measured(column: &mut Column, count: u32, who: UsageWho, mut one: impl AsyncFnMut()) {
    let (before, start) = (cpu(who), Instant::now());
    for _ in 0..count {
        one().await;
    }
    column.add(count, cpu(who) - before, start.elapsed());
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let url = args.next().expect("usage: probe_cost URL [ROUNDS]");
    let rounds: u32 = args.next().map_or(5, |n| n.parse().unwrap());
    let parsed = StreamUrl::parse(&url).unwrap().url;
    let (answer, frame) = (target(&url, Depth::Answer), target(&url, Depth::Frame));
    let has_ffprobe = Command::new("ffprobe")
        .arg("-version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    let names = [
        "DESCRIBE, ours",
        "DESCRIBE, bare tokio",
        "first frame, ours",
        "first frame, retina",
        "ffprobe",
    ];
    let mut columns = names.map(|name| Column {
        name,
        ..Column::default()
    });
    for _ in 0..rounds {
        let [ours, bare, ours_frame, retina, ffprobe] = &mut columns;
        measured(ours, CHECKS, UsageWho::RUSAGE_SELF, async || {
            assert!(probe::run(&answer).await.result.is_ok());
        })
        .await;
        measured(bare, CHECKS, UsageWho::RUSAGE_SELF, async || {
            describe(&parsed).await
        })
        .await;
        measured(ours_frame, FRAMES, UsageWho::RUSAGE_SELF, async || {
            assert!(probe::run(&frame).await.result.is_ok());
        })
        .await;
        measured(retina, FRAMES, UsageWho::RUSAGE_SELF, async || {
            retina_frame(&url).await
        })
        .await;
        if has_ffprobe {
            measured(ffprobe, 1, UsageWho::RUSAGE_CHILDREN, async || {
                run_ffprobe(&url).unwrap();
            })
            .await;
        }
    }
    println!("{rounds} rounds, medians per probe");
    for column in columns.iter().filter(|c| !c.cpu_us.is_empty()) {
        let (cpu_us, wall_ms) = (median(&column.cpu_us), median(&column.wall_ms));
        println!(
            "  {:<22} CPU {cpu_us:>9.0} us   wall {wall_ms:>8.2} ms",
            column.name
        );
    }
    let cpu_of = |i: usize| median(&columns[i].cpu_us);
    let wall_of = |i: usize| median(&columns[i].wall_ms);
    println!("ratios (goal)");
    println!(
        "  DESCRIBE CPU / bare tokio     {:.2} (<= 1.5)",
        cpu_of(0) / cpu_of(1)
    );
    println!(
        "  first frame CPU / retina      {:.2} (<= 1.5)",
        cpu_of(2) / cpu_of(3)
    );
    if has_ffprobe {
        println!(
            "  DESCRIBE CPU / ffprobe        1/{:.0} (<= 1/1000)",
            cpu_of(4) / cpu_of(0)
        );
        println!(
            "  first frame CPU / ffprobe     1/{:.0} (<= 1/150)",
            cpu_of(4) / cpu_of(2)
        );
        println!(
            "  first frame wall / ffprobe    1/{:.0} (<= 1/30)",
            wall_of(4) / wall_of(2)
        );
    } else {
        println!("  ffprobe is not installed: its ratios are left out");
    }
}

/// The floor: a connection, one request, the whole answer.
async fn describe(url: &StreamUrl) {
    let mut stream = tokio::net::TcpStream::connect((url.host.as_str(), url.port))
        .await
        .unwrap();
    let request = format!(
        "DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\nUser-Agent: bare\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = [0; 4096];
    let mut length = 0;
    loop {
        length += stream.read(&mut buffer[length..]).await.unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let wanted = head.lines().find_map(|l| {
            l.to_ascii_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        });
        if body.len() >= wanted.unwrap_or(0_usize) {
            return;
        }
    }
}

async fn retina_frame(url: &str) {
    use retina::client::{
        PlayOptions, Session, SessionOptions, SetupOptions, TcpTransportOptions, Transport,
    };
    let options = SessionOptions::default().user_agent("bench".to_owned());
    let mut session = Session::describe(url.parse().unwrap(), options)
        .await
        .unwrap();
    let video = session
        .streams()
        .iter()
        .position(|s| s.media() == "video")
        .unwrap();
    let setup = SetupOptions::default().transport(Transport::Tcp(TcpTransportOptions::default()));
    session.setup(video, setup).await.unwrap();
    let playing = session
        .play(PlayOptions::default())
        .await
        .unwrap()
        .demuxed()
        .unwrap();
    let mut playing = Box::pin(playing);
    while let Some(item) = playing.next().await {
        if let Ok(retina::codec::CodecItem::VideoFrame(frame)) = item
            && frame.is_random_access_point()
        {
            return;
        }
    }
}
