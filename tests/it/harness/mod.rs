//! What the scenarios stand on: a site of real cameras in namespaces, a daemon of its own, a small
//! HTTP client.

pub mod broker;
pub mod daemon;
pub mod fake;
pub mod seen;
pub mod site;
pub mod web;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub use daemon::Daemon;
pub use site::Site;

/// Asks again until there is an answer.
///
/// Panics with `what` when `limit` is over.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// A self-signed certificate of `CN=camera` and its key in this folder: `cert.pem`, `key.pem`.
pub fn certificate(folder: &Path) {
    let path = |name: &str| folder.join(name).display().to_string();
    #[rustfmt::skip]
    let out = Command::new("openssl").args([
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
        "-subj", "/CN=camera", "-keyout", &path("key.pem"), "-out", &path("cert.pem"),
    ]).output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// A missing peer fails a test, unless it is named in `OHMVISION_SKIP`.
pub fn is_skipped(peer: &str) -> bool {
    let skipped = std::env::var("OHMVISION_SKIP").unwrap_or_default();
    let is_skipped = skipped.split(',').any(|name| name.trim() == peer);
    if is_skipped {
        println!("skipped: {peer}");
    }
    is_skipped
}
