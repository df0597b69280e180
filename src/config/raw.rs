//! TOML text -> settings with their lines. Everything that is wrong is collected, not only the
//! first mistake.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::keys::{self, KEYS, Key};
use super::origin::Origin;
use super::texts::{did_you_mean, shown};
use super::value::Value;
use crate::policy::closest::nearest;

/// The table array of catalogue entries, which the catalogue itself reads.
const MANUFACTURER: &str = "manufacturer";
const MANUFACTURERS_MAX: usize = 256;

/// One value as written.
pub(super) struct Setting {
    pub key: &'static Key,
    pub value: Value,
    pub origin: Origin,
    /// Line of each entry, for a list in a file.
    pub item_lines: Vec<usize>,
}

/// Everything that a file says.
#[derive(Default)]
pub(super) struct Raw {
    pub settings: Vec<Setting>,
    /// `[[manufacturer]]` entries and the line where each begins.
    pub manufacturers: Vec<(toml::Table, usize)>,
    pub errors: Vec<ConfigError>,
}

/// Reads the text of a file.
pub(super) fn read(text: &str, path: &Arc<Path>) -> Raw {
    let mut reader = Reader {
        text,
        path,
        raw: Raw::default(),
    };
    let (document, syntax) = DeTable::parse_recoverable(text);
    for (name, value) in document.into_inner() {
        reader.top(&name, value);
    }
    let broken: Vec<ConfigError> = syntax
        .iter()
        .map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            ConfigError::new(
                reader.origin(at),
                "",
                format!("not valid TOML: {}", error.message()),
            )
        })
        .collect();
    let mut raw = reader.raw;
    // What stands on a broken line is guesswork: only the syntax error is reported there.
    let is_broken = |origin: &Origin| broken.iter().any(|error| error.origin == *origin);
    raw.errors.retain(|error| !is_broken(&error.origin));
    raw.settings.retain(|setting| !is_broken(&setting.origin));
    raw.errors.extend(broken);
    raw
}

struct Reader<'a> {
    text: &'a str,
    path: &'a Arc<Path>,
    raw: Raw,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File {
            path: Arc::clone(self.path),
            line: self.line(offset),
        }
    }

    fn wrong(&mut self, offset: usize, key: &str, problem: String) {
        let error = ConfigError::new(self.origin(offset), key, problem);
        self.raw.errors.push(error);
    }

    /// A section, or something else at the top level.
    fn top(&mut self, name: &Spanned<toml::de::DeString<'_>>, value: Spanned<DeValue<'_>>) {
        let at = name.span().start;
        let name = name.get_ref().as_ref();
        if name == MANUFACTURER {
            return self.manufacturers(at, value);
        }
        if keys::sections().any(|section| section == name) {
            return match value.into_inner() {
                DeValue::Table(table) => self.section(name, table),
                _ => self.wrong(
                    at,
                    name,
                    format!("is a section: write [{name}] and its keys below"),
                ),
            };
        }
        let problem = match (value.get_ref(), KEYS.iter().find(|key| key.name() == name)) {
            (DeValue::Table(_), _) | (_, None) => {
                let sections = keys::sections().chain([MANUFACTURER]);
                format!("is no section{}", did_you_mean(nearest(name, sections)))
            }
            (_, Some(key)) => format!(
                "stands outside a section: it belongs below [{}]",
                key.section()
            ),
        };
        self.wrong(at, &printable(name), problem);
    }

    fn section(&mut self, section: &str, table: DeTable<'_>) {
        for (name, value) in table {
            let path = format!("{section}.{}", printable(name.get_ref()));
            match keys::find(&path) {
                Some(key) => self.setting(key, &value),
                None => self.wrong(name.span().start, &path, unknown(&path)),
            }
        }
    }

    fn setting(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>) {
        let item_lines = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|i| self.line(i.span().start)).collect(),
            _ => Vec::new(),
        };
        let origin = self.origin(value.span().start);
        let value = Value::from_toml(value.get_ref());
        self.raw.settings.push(Setting {
            key,
            value,
            origin,
            item_lines,
        });
    }

    fn manufacturers(&mut self, at: usize, value: Spanned<DeValue<'_>>) {
        let problem = "is a list of entries: write [[manufacturer]]";
        let DeValue::Array(entries) = value.into_inner() else {
            return self.wrong(at, MANUFACTURER, problem.to_owned());
        };
        if entries.len() > MANUFACTURERS_MAX {
            let count = entries.len();
            let problem = format!("has {count} entries, at most {MANUFACTURERS_MAX} are possible");
            return self.wrong(at, MANUFACTURER, problem);
        }
        for entry in entries {
            let at = entry.span().start;
            if !entry.get_ref().is_table() {
                self.wrong(at, MANUFACTURER, problem.to_owned());
                continue;
            }
            match toml::Table::deserialize(toml::de::ValueDeserializer::from(entry)) {
                Ok(table) => {
                    let line = self.line(at);
                    self.raw.manufacturers.push((table, line));
                }
                Err(error) => self.wrong(
                    at,
                    MANUFACTURER,
                    format!("cannot be read: {}", error.message()),
                ),
            }
        }
    }
}

/// What to say about `section.name` that is no key.
pub(super) fn unknown(path: &str) -> String {
    let (section, name) = path.split_once('.').unwrap_or(("", path));
    if let Some(key) = keys::find(&format!("{path}_file")) {
        return format!("is no key: secrets are kept in files, set `{}`", key.path);
    }
    if let Some(key) = KEYS.iter().find(|key| key.name() == name) {
        return format!(
            "is no key of [{section}]: it belongs below [{}]",
            key.section()
        );
    }
    let known = || {
        KEYS.iter()
            .filter(|key| key.section() == section)
            .map(Key::name)
    };
    // `interval` for `interval_s` is a forgotten unit, whatever its distance.
    let starts = known().find(|known| known.starts_with(name) && !name.is_empty());
    match nearest(name, known()).or(starts) {
        Some(near) => format!("is no key{}", did_you_mean(Some(near))),
        None => format!(
            "is no key: [{section}] knows {}",
            known().collect::<Vec<_>>().join(", ")
        ),
    }
}

/// A key as written, safe to print.
fn printable(name: &str) -> String {
    if name.len() <= 64 && name.chars().all(|c| !c.is_control()) {
        return name.to_owned();
    }
    shown(name)
}
