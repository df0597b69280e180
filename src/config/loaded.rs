//! A checked configuration together with where each value came from.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeValue;

use super::check::{self, Origins};
use super::error::ConfigError;
use super::keys::{self, KEYS, Key};
use super::origin::Origin;
use super::raw::Setting;
use super::types::Config;
use super::value::Value;

/// The value of one key and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub value: Value,
    pub origin: Origin,
}

/// What [`Config::load`] gives.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read.
    pub file: Option<Arc<Path>>,
    /// `[[manufacturer]]` entries and the line where each begins; the catalogue reads them.
    pub manufacturers: Vec<(toml::Table, usize)>,
    /// Stored settings that are wrong and were left out.
    pub set_aside: Vec<ConfigError>,
    /// In the order of [`KEYS`].
    entries: Vec<Entry>,
}

impl Loaded {
    /// What runs without any file.
    pub(super) fn defaults() -> Self {
        let mut config = Config::blank();
        let entry = |key: &Key| {
            let value = DeValue::parse(key.default);
            let value = value.map_or(Value::Other("no TOML"), |v| Value::from_toml(v.get_ref()));
            // A test holds that every default of the table is valid.
            let applied = check::apply(key, &value, &mut config);
            debug_assert!(applied.is_ok(), "default of {}", key.path);
            Entry {
                value,
                origin: Origin::Default,
            }
        };
        let entries = KEYS.iter().map(entry).collect();
        Self {
            config,
            file: None,
            manufacturers: Vec::new(),
            set_aside: Vec::new(),
            entries,
        }
    }

    /// Puts a layer on top.
    pub(super) fn overlay(&mut self, settings: Vec<Setting>, errors: &mut Vec<ConfigError>) {
        for Setting {
            key,
            value,
            origin,
            item_lines,
        } in settings
        {
            let problems = match check::apply(key, &value, &mut self.config) {
                Ok(()) => {
                    let index = KEYS.iter().position(|known| known.path == key.path);
                    if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
                        *entry = Entry { value, origin };
                    }
                    continue;
                }
                Err(problems) => problems,
            };
            errors.extend(problems.into_iter().map(|problem| {
                let line = problem.item.and_then(|item| item_lines.get(item)).copied();
                let origin = match (&origin, line) {
                    (Origin::File { path, .. }, Some(line)) => Origin::File {
                        path: Arc::clone(path),
                        line,
                    },
                    _ => origin.clone(),
                };
                ConfigError::new(origin, key.path, problem.text)
            }));
        }
    }

    /// Every key with its value and origin, in the order of the table.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Key, &Entry)> {
        KEYS.iter().zip(&self.entries)
    }

    /// Value and origin of `section.key`.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries()
            .find(|(key, _)| key.path == path)
            .map(|(_, entry)| entry)
    }

    /// The whole configuration as TOML; with `origins`, a comment behind each value says where
    /// it came from.
    pub fn print(&self, origins: bool) -> String {
        let mut out = String::new();
        for section in keys::sections() {
            if !out.is_empty() {
                out.push('\n');
            }
            let _ = writeln!(out, "[{section}]");
            for (key, entry) in self.entries().filter(|(key, _)| key.section() == section) {
                let line = format!("{} = {}", key.name(), entry.value);
                let _ = match origins {
                    true => writeln!(out, "{line:<44} # {}", entry.origin),
                    false => writeln!(out, "{line}"),
                };
            }
        }
        if let (Some(file), false) = (&self.file, self.manufacturers.is_empty()) {
            let count = self.manufacturers.len();
            let _ = writeln!(
                out,
                "\n# and {count} [[manufacturer]] entries of {}",
                file.display()
            );
        }
        out
    }
}

impl Origins for Loaded {
    fn origin(&self, path: &str) -> Origin {
        self.entry(path)
            .map_or(Origin::Default, |entry| entry.origin.clone())
    }
}
