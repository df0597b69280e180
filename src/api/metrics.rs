//! Prometheus text format 0.0.4, rendered from the live state: no counters of its own.

use std::fmt::Write as _;
use std::fs;

use crate::model::Timestamp;
use crate::site::CameraView;

/// Renders every metric of the contract. A value that is not known has no line.
pub fn render(cameras: &[CameraView], now: Timestamp, process: Option<&Process>) -> String {
    let mut out = String::with_capacity(1024 + 640 * cameras.len());
    family(
        &mut out,
        "ohmvision_build_info",
        "gauge",
        "Version of the running program.",
    );
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(out, "ohmvision_build_info{{version=\"{version}\"}} 1");
    if let Some(process) = process {
        process.render(&mut out);
    }
    family(
        &mut out,
        "ohmvision_camera_info",
        "gauge",
        "What a camera is; always 1.",
    );
    for view in cameras {
        info(&mut out, view);
    }
    for metric in CAMERA_METRICS {
        family(&mut out, metric.name, metric.kind, metric.help);
        for view in cameras.iter().filter(|v| v.camera.enabled) {
            let Some(value) = (metric.value)(view, now) else {
                continue;
            };
            let (name, id, labels) = (metric.name, view.camera.id, metric.labels);
            let _ = writeln!(out, "{name}{{camera_id=\"{id}\"{labels}}} {value}");
        }
    }
    out
}

struct CameraMetric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// After `camera_id`, with a comma before.
    labels: &'static str,
    value: fn(&CameraView, Timestamp) -> Option<f64>,
}

const CAMERA_METRICS: &[CameraMetric] = &[
    CameraMetric {
        name: "ohmvision_camera_up",
        kind: "gauge",
        help: "1 while the camera answers, 0 while it is offline.",
        labels: "",
        value: |v, _| grade(v).map(|g| f64::from(u8::from(g > 0))),
    },
    CameraMetric {
        name: "ohmvision_camera_health",
        kind: "gauge",
        help: "0 offline, 1 poor, 2 fair, 3 good, 4 excellent.",
        labels: "",
        value: |v, _| grade(v).map(f64::from),
    },
    CameraMetric {
        name: "ohmvision_camera_response_time_seconds",
        kind: "gauge",
        help: "Response time of the last check.",
        labels: "",
        value: |v, _| v.health.response_time_ms.map(|ms| f64::from(ms) / 1000.0),
    },
    CameraMetric {
        name: "ohmvision_camera_last_frame_age_seconds",
        kind: "gauge",
        help: "Time since a picture was last proven.",
        labels: "",
        value: |v, now| {
            v.health
                .last_frame_at
                .map(|at| now.ms_since(at) as f64 / 1000.0)
        },
    },
    CameraMetric {
        name: "ohmvision_camera_disconnections_total",
        kind: "counter",
        help: "Confirmed losses of the camera.",
        labels: "",
        value: |v, _| Some(f64::from(v.health.disconnections)),
    },
    CameraMetric {
        name: "ohmvision_camera_uptime_ratio",
        kind: "gauge",
        help: "Share of the known time in the window in which the camera was up, 0 to 1.",
        labels: ",window=\"30d\"",
        value: |v, _| v.health.uptime_percentage.map(|p| p / 100.0),
    },
];

fn grade(view: &CameraView) -> Option<u8> {
    match view.health.connection_health {
        "offline" => Some(0),
        "poor" => Some(1),
        "fair" => Some(2),
        "good" => Some(3),
        "excellent" => Some(4),
        _ => None,
    }
}

fn info(out: &mut String, view: &CameraView) {
    let camera = &view.camera;
    let _ = write!(out, "ohmvision_camera_info{{camera_id=\"{}\"", camera.id);
    for (label, value) in [
        ("name", Some(camera.name.as_str())),
        ("manufacturer", camera.manufacturer.as_deref()),
        ("model", camera.model.as_deref()),
        ("ip", camera.ip_address.as_deref()),
    ] {
        let _ = write!(out, ",{label}=\"");
        escape(out, value.unwrap_or_default());
        out.push('"');
    }
    out.push_str("} 1\n");
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// The process itself, as the kernel accounts for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    cpu_s: f64,
    started_unix_s: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_fds: u64,
    max_fds: u64,
}

/// Ticks per second in `/proc`: 100 on every Linux (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

impl Process {
    /// Reads `/proc/self`; `None` where it cannot be read.
    pub fn read() -> Option<Self> {
        let file = |name: &str| fs::read_to_string(name).ok();
        let open_fds = fs::read_dir("/proc/self/fd").ok()?.count();
        Self::parse(
            &file("/proc/self/stat")?,
            &file("/proc/self/status")?,
            &file("/proc/self/limits")?,
            &file("/proc/stat")?,
            open_fds as u64,
        )
    }

    fn parse(stat: &str, status: &str, limits: &str, boot: &str, open_fds: u64) -> Option<Self> {
        // The name in brackets may hold blanks; numbering goes on behind it with field 3.
        let after_name: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| after_name.get(field - 3)?.parse::<f64>().ok();
        let after = |text: &str, key: &str| -> Option<u64> {
            let line = text.lines().find_map(|l| l.strip_prefix(key))?;
            line.split_whitespace().find_map(|w| w.parse().ok())
        };
        Some(Self {
            cpu_s: (ticks(14)? + ticks(15)?) / TICKS_PER_S,
            started_unix_s: after(boot, "btime")? as f64 + ticks(22)? / TICKS_PER_S,
            resident_bytes: after(status, "VmRSS:")? * 1024,
            virtual_bytes: after(status, "VmSize:")? * 1024,
            open_fds,
            max_fds: after(limits, "Max open files")?,
        })
    }

    fn render(&self, out: &mut String) {
        for (name, kind, help, value) in [
            (
                "process_cpu_seconds_total",
                "counter",
                "User and system CPU time.",
                self.cpu_s,
            ),
            (
                "process_start_time_seconds",
                "gauge",
                "Start, Unix time.",
                self.started_unix_s,
            ),
            (
                "process_resident_memory_bytes",
                "gauge",
                "Resident memory.",
                self.resident_bytes as f64,
            ),
            (
                "process_virtual_memory_bytes",
                "gauge",
                "Virtual memory.",
                self.virtual_bytes as f64,
            ),
            (
                "process_open_fds",
                "gauge",
                "Open file descriptors.",
                self.open_fds as f64,
            ),
            (
                "process_max_fds",
                "gauge",
                "Limit of open file descriptors.",
                self.max_fds as f64,
            ),
        ] {
            family(out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::camera_json::tests::view;

    #[test]
    fn renders_what_is_known_and_escapes_labels() {
        let mut camera = view();
        camera.camera.name = "Gate \"A\" \\ yard\n2".into();
        let now = camera.health.last_frame_at.unwrap().plus_ms(2500);
        let text = render(&[camera], now, None);
        for line in [
            "# TYPE ohmvision_camera_up gauge",
            "ohmvision_camera_up{camera_id=\"7\"} 1",
            "ohmvision_camera_health{camera_id=\"7\"} 4",
            "ohmvision_camera_response_time_seconds{camera_id=\"7\"} 0.245",
            "ohmvision_camera_last_frame_age_seconds{camera_id=\"7\"} 2.5",
            "ohmvision_camera_disconnections_total{camera_id=\"7\"} 3",
            "ohmvision_camera_uptime_ratio{camera_id=\"7\",window=\"30d\"} 0.985",
            "ohmvision_camera_info{camera_id=\"7\",name=\"Gate \\\"A\\\" \\\\ yard\\n2\",manufacturer=\"hikvision\",model=\"DS-2CD\",ip=\"192.168.1.100\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn the_unknown_and_the_disabled_have_no_value() {
        let mut unknown = view();
        unknown.health.connection_health = "unknown";
        unknown.health.response_time_ms = None;
        let mut disabled = view();
        disabled.camera.enabled = false;
        let text = render(&[unknown, disabled], Timestamp(0), None);
        let count = |name: &str| text.lines().filter(|l| l.starts_with(name)).count();
        assert_eq!(count("ohmvision_camera_up{"), 0);
        assert_eq!(count("ohmvision_camera_response_time_seconds{"), 0);
        assert_eq!(count("ohmvision_camera_disconnections_total{"), 1);
        assert_eq!(count("ohmvision_camera_info{"), 2);
    }

    #[test]
    fn reads_the_kernels_tables() {
        let stat = "42 (ohm vision) x) S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 2 0 1000 0 0";
        let process = Process::parse(
            stat,
            "VmSize:\t  2048 kB\nVmRSS:\t  1024 kB\n",
            "Limit  Soft\nMax open files            1024                 4096       files\n",
            "cpu 1\nbtime 1700000000\n",
            9,
        );
        let want = Process {
            cpu_s: 3.0,
            started_unix_s: 1_700_000_010.0,
            resident_bytes: 1 << 20,
            virtual_bytes: 2 << 20,
            open_fds: 9,
            max_fds: 1024,
        };
        assert_eq!(process, Some(want));
        assert!(Process::read().is_some());
        assert_eq!(Process::parse("", "", "", "", 0), None);
    }
}
