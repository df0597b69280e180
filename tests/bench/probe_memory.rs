//! What probes of 4K streams hold while they run: one, and 32 at the same time.
//!
//! usage: probe_memory URL    (a 4K RTSP stream on this machine that needs no login)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for developers"
)]

#[path = "probing.rs"]
mod probing;
#[path = "process.rs"]
#[allow(dead_code, reason = "shared with the other benchmarks")]
mod process;

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use ohmvision::probe::{self, Depth, Target};
use probing::{run_ffprobe, target};

const TOGETHER: usize = 32;

/// kB of `/proc/self/status`.
fn own(name: &str) -> u64 {
    process::field(&fs::read_to_string("/proc/self/status").unwrap(), name)
}

/// The most that was resident while `work` ran, kB.
async fn peak(work: impl Future<Output = ()>) -> u64 {
    // 5: the high-water mark begins anew (proc(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    work.await;
    own("VmHWM:")
}

async fn probe(target: &Target) {
    let outcome = probe::run(target).await.result.unwrap();
    assert_eq!(outcome.media.resolution().as_deref(), Some("3840x2160"));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).expect("usage: probe_memory URL");
    let target = target(&url, Depth::Window);
    let before = own("VmRSS:");
    let one = peak(probe(&target)).await;
    let all = peak(async {
        let probes = (0..TOGETHER).map(|_| {
            let target = target.clone();
            tokio::task::spawn(async move { probe(&target).await })
        });
        for probe in probes.collect::<Vec<_>>() {
            probe.await.unwrap();
        }
    })
    .await;
    let mib = |kb: u64| kb as f64 / 1024.0;
    println!("memory of 4K probes with their frame rate measured, peak (goal)");
    println!(
        "  the first one adds            {:.2} MiB (< 2)",
        mib(one - before)
    );
    println!(
        "  {TOGETHER} together, whole program    {:.1} MiB (< 40)",
        mib(all)
    );
    println!(
        "  each of them                  {:.2} MiB",
        mib(all.saturating_sub(one)) / TOGETHER as f64
    );
    if let Some(kb) = ffprobe_kb(&url) {
        println!("  one ffprobe                   {:.1} MiB", mib(kb));
    }
}

/// Peak of one ffprobe on the same stream; `None` where it is not installed.
fn ffprobe_kb(url: &str) -> Option<u64> {
    run_ffprobe(url)?;
    u64::try_from(getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss()).ok()
}
