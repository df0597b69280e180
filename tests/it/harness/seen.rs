//! What other programs see of a stream, and whether ours saw the same.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::daemon::PROGRAM;

/// A stream as ffprobe or v4l2-ctl see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// As we name it: `h265`, not `hevc`.
    pub codec: String,
    pub size: String,
    /// Frames a second, where they are known.
    pub fps: Option<f64>,
}

/// ffprobe on its first video stream. `program`: `ffprobe`, here or in a namespace.
pub fn ffprobe(mut program: Command, input: &str) -> Seen {
    let entries = "stream=codec_name,width,height,avg_frame_rate";
    program.args(["-v", "error", "-select_streams", "v:0"]);
    program.args(["-show_entries", entries, "-of", "json"]);
    if input.starts_with("rtsp") {
        program.args(["-rtsp_transport", "tcp"]);
    }
    let out = program.arg(input).output().unwrap();
    let told: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    let stream = &told["streams"][0];
    let codec = match stream["codec_name"].as_str() {
        Some("hevc") => "h265",
        Some(other) => other,
        None => panic!("ffprobe: {}", String::from_utf8_lossy(&out.stderr)),
    };
    let rate = stream["avg_frame_rate"].as_str().unwrap_or_default();
    let fps = rate.split_once('/').and_then(|(frames, seconds)| {
        let rate = frames.parse::<f64>().ok()? / seconds.parse::<f64>().ok()?;
        // 0/0 is a rate that it does not know.
        (rate.is_finite() && rate > 0.0).then_some(rate)
    });
    Seen {
        codec: codec.to_owned(),
        size: format!("{}x{}", stream["width"], stream["height"]),
        fps,
    }
}

/// What `ohmvision probe --frames --json` tells. `program`: ours, here or in a namespace.
pub fn probe_by(mut program: Command, url: &str) -> Value {
    let out = program
        .args(["probe", url, "--frames", "--json"])
        .output()
        .unwrap();
    serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("{url}: {e}: {}", String::from_utf8_lossy(&out.stderr)))
}

pub fn probe(url: &str) -> Value {
    probe_by(Command::new(PROGRAM), url)
}

/// The probe saw the same: codec and size to the letter, the rate within a tenth or half a frame.
pub fn assert_agrees(report: &Value, seen: &Seen) {
    assert_eq!(report["success"], true, "{report}");
    assert_eq!(report["codec"], seen.codec.as_str(), "{report}");
    assert_eq!(report["resolution"], seen.size.as_str(), "{report}");
    let is_right = seen.fps.is_none_or(|fps| is_rate(report, fps));
    assert!(is_right, "{:?} fps, not {report}", seen.fps);
}

fn is_rate(report: &Value, fps: f64) -> bool {
    let off = (report["fps"].as_f64().unwrap_or_default() - fps).abs();
    off <= 0.5 || off <= fps / 10.0
}

/// The same for cameras of software, which lose their rhythm while the machine is busy: another `probe` where only
/// the rate is another one. The last report.
pub fn agrees_in_the_end(mut report: Value, seen: &Seen, probe: impl Fn() -> Value) -> Value {
    let limit = Duration::from_secs(40);
    super::wait_for(&format!("{seen:?}"), limit, || {
        assert_agrees(
            &report,
            &Seen {
                fps: None,
                ..seen.clone()
            },
        );
        if seen.fps.is_none_or(|fps| is_rate(&report, fps)) {
            return Some(());
        }
        println!("{} fps", report["fps"]);
        report = probe();
        None
    });
    report
}
