//! `OHMVISION_<SECTION>_<KEY>` variables, stored settings and command line options -> settings.

use super::error::ConfigError;
use super::keys::{self, KEYS, Key, Kind};
use super::origin::Origin;
use super::raw::{Setting, unknown};
use super::texts::did_you_mean;
use super::value::Value;
use crate::policy::closest::nearest;

const PREFIX: &str = "OHMVISION_";

/// Variables of this process whose names begin with `OHMVISION_`.
pub fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

/// Settings from variables. Those of other parts (`OHMVISION_URL`, `OHMVISION_TOKEN`) are left
/// alone; one that looks like a setting and is none is a mistake.
pub(super) fn from_environment(
    variables: &[(String, String)],
    errors: &mut Vec<ConfigError>,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, value) in variables {
        match KEYS.iter().find(|key| key.environment() == *name) {
            Some(key) => {
                let origin = Origin::Environment(name.clone());
                settings.push(Setting {
                    key,
                    value: from_text(key, value),
                    origin,
                    item_lines: vec![],
                });
            }
            None => errors.extend(stray(name)),
        }
    }
    settings
}

/// A variable that no key has.
fn stray(name: &str) -> Option<ConfigError> {
    let origin = Origin::Environment(name.to_owned());
    let rest = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
    let of_section = keys::sections().find_map(|section| {
        let key = rest.strip_prefix(section)?.strip_prefix('_')?;
        Some(format!("{section}.{key}"))
    });
    if let Some(path) = of_section {
        let problem = unknown(&path);
        return Some(ConfigError::new(origin, path, problem));
    }
    let known: Vec<String> = KEYS.iter().map(|key| key.path.replace('.', "_")).collect();
    let near = nearest(&rest, known.iter().map(String::as_str))?;
    let near = format!("{PREFIX}{}", near.to_ascii_uppercase());
    let problem = format!("no setting has this name{}", did_you_mean(Some(&near)));
    Some(ConfigError::new(origin, "", problem))
}

/// Plain text as the key's kind wants it; what does not fit stays text and is refused later.
/// Lists are separated by commas, labels are `name=value` pairs separated by commas.
pub(super) fn from_text(key: &Key, text: &str) -> Value {
    let items = || {
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
    };
    let as_text = || Value::Text(text.to_owned());
    match &key.kind {
        Kind::Text(_) | Kind::Choice(..) => as_text(),
        Kind::Switch(_) => text.parse().map_or_else(|_| as_text(), Value::Switch),
        Kind::Count { .. } | Kind::Time { .. } | Kind::TimeOrOff { .. } => {
            text.parse().map_or_else(|_| as_text(), Value::Integer)
        }
        Kind::Ratio { .. } => text.parse().map_or_else(|_| as_text(), Value::Number),
        Kind::List(_) => Value::List(items().map(str::to_owned).collect()),
        Kind::Labels(_) => items()
            .map(|item| item.split_once('='))
            .map(|pair| pair.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())))
            .collect::<Option<_>>()
            .map_or_else(as_text, Value::Map),
    }
}

/// Settings that the API or MQTT stored: `{"health": {"interval_s": 30}}`. `null` is no value.
pub(super) fn from_stored(
    stored: &serde_json::Map<String, serde_json::Value>,
    errors: &mut Vec<ConfigError>,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (section, fields) in stored {
        let Some(fields) = fields.as_object() else {
            let problem = "is a section: its keys stand in an object";
            errors.push(ConfigError::new(Origin::Stored, section, problem));
            continue;
        };
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let path = format!("{section}.{name}");
            let value = Value::from_json(value);
            match keys::find(&path) {
                Some(key) => settings.push(Setting {
                    key,
                    value,
                    origin: Origin::Stored,
                    item_lines: vec![],
                }),
                None => {
                    let problem = unknown(&path);
                    errors.push(ConfigError::new(Origin::Stored, path, problem));
                }
            }
        }
    }
    settings
}

/// Settings from options such as `--listen`: option, path of the key, text.
pub(super) fn from_command_line(options: &[(&'static str, &'static str, String)]) -> Vec<Setting> {
    let setting = |(option, path, text): &(&'static str, &'static str, String)| {
        let key = keys::find(path)?;
        let origin = Origin::CommandLine(option);
        Some(Setting {
            key,
            value: from_text(key, text),
            origin,
            item_lines: vec![],
        })
    };
    options.iter().filter_map(setting).collect()
}
