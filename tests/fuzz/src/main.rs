//! One fuzzer for every parser of foreign bytes: `OHMVISION_FUZZ=NAME` chooses it, `tests/fuzz/run` runs them all. No bytes may
//! make a parser panic, overflow or loop; those that know a round trip prove it.
#![no_main]

mod targets;

use std::sync::OnceLock;

use targets::{TARGETS, Target};

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("OHMVISION_FUZZ").unwrap_or_default();
        let found = TARGETS.iter().find(|target| target.name == name);
        found.unwrap_or_else(|| {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("OHMVISION_FUZZ must be one of: {}", names.join(" "));
            std::process::exit(64);
        })
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| (chosen().run)(data));
