//! What the benchmarks of the prober share: its target, and ffprobe beside it.

use std::process::{Command, Stdio};
use std::sync::Arc;

use ohmvision::model::{StreamRole, StreamUrl};
use ohmvision::policy::networks::AllowedNetworks;
use ohmvision::probe::{Depth, Limits, OnvifAccess, Target, Trust};

/// A stream that needs no login.
pub fn target(url: &str, depth: Depth) -> Target {
    Target {
        url: StreamUrl::parse(url).unwrap().url,
        role: StreamRole::Main,
        login: None,
        cleartext_login: false,
        onvif: OnvifAccess::default(),
        depth,
        limits: Limits::default(),
        trust: Trust::FirstUse,
        networks: Arc::new(AllowedNetworks::parse(&["private", "loopback"]).unwrap()),
        gate: None,
    }
}

/// One ffprobe on the stream; `None` where it is not installed.
pub fn run_ffprobe(url: &str) -> Option<()> {
    let run = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-rtsp_transport",
            "tcp",
            "-show_streams",
            url,
        ])
        .stdout(Stdio::null())
        .status();
    assert!(run.ok()?.success());
    Some(())
}
