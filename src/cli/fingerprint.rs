//! `ohmvision fingerprint`

use super::{FingerprintArgs, fail, out, out_json};
use crate::api::tls::{self, TlsError};
use crate::brake::now;
use crate::config::{Config, Sources};
use crate::exit::Exit;
use crate::sys::paths;

/// Reads what the daemon reads; the daemon need not run.
pub fn run(args: &FingerprintArgs) -> Exit {
    let loaded = Sources::of_process(args.config.as_deref()).and_then(|s| Config::load(&s));
    let server = match loaded {
        Ok(loaded) => loaded.config.server,
        Err(errors) => return fail(Exit::Config, &errors.to_string()),
    };
    let dir = match paths::state_place(args.state_dir.as_deref()) {
        Ok(dir) => dir,
        Err(error) => return fail(Exit::CannotCreate, &error.to_string()),
    };
    let shown = match tls::fingerprint(&server, &dir, now()) {
        Ok(shown) => shown,
        Err(error @ (TlsError::Off | TlsError::NotYet { .. })) => {
            return fail(Exit::Failed, &error.to_string());
        }
        Err(error) => return fail(Exit::Config, &error.to_string()),
    };
    if args.json {
        out_json(&shown);
        return Exit::Ok;
    }
    out(&format!("SHA-256 fingerprint  {}", shown.sha256));
    out(&format!(
        "curl                 -k --pinnedpubkey \"{}\"",
        shown.pin
    ));
    if let Some(end) = shown.not_after {
        let note = if shown.expired { ", expired" } else { "" };
        out(&format!("valid until          {end}{note}"));
    }
    Exit::Ok
}
