//! Whole-program scenarios, built as one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test stops at what it did not expect, and says what it saw"
)]

mod harness;

mod cli;
mod discovery;
mod examples;
mod faults;
mod file;
mod fleet;
mod fleet_tool;
mod follow;
mod forms;
mod health;
mod hls;
mod kill;
mod layers;
mod mqtt;
mod mqtt_tls;
mod node_media;
mod nvr;
mod ptz;
mod pullpoint;
mod routed;
mod rtmp;
mod scan;
mod scan_events;
mod site;
mod snapshot;
mod start;
mod store_crash;
mod sweep;
mod transfer;
mod usb;
mod webhook;
#[cfg(feature = "webrtc")]
mod webrtc;
mod whole_site;
