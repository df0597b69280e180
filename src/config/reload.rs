//! What a reload changes, and what of it has to wait for the next start.

use super::keys::Apply;
use super::loaded::Loaded;

/// Paths of the keys whose values differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Take effect at once.
    pub live: Vec<&'static str>,
    /// Take effect at the next start.
    pub restart: Vec<&'static str>,
    /// The `[[manufacturer]]` entries differ.
    pub manufacturers: bool,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty() && !self.manufacturers
    }
}

/// Compares the running configuration with a new one. Values count, not where they came from.
pub fn changes(running: &Loaded, new: &Loaded) -> Changes {
    let tables = |loaded: &Loaded| -> Vec<toml::Table> {
        loaded
            .manufacturers
            .iter()
            .map(|(table, _)| table.clone())
            .collect()
    };
    let mut changes = Changes {
        manufacturers: tables(running) != tables(new),
        ..Changes::default()
    };
    for ((key, old), (_, new)) in running.entries().zip(new.entries()) {
        if old.value == new.value {
            continue;
        }
        match key.apply {
            Apply::Live => changes.live.push(key.path),
            Apply::Restart => changes.restart.push(key.path),
        }
    }
    changes
}
