//! A value against its key, and keys against each other.

use super::error::ConfigError;
use super::keys::{self, Key, Kind, Unit};
use super::origin::Origin;
use super::texts::{did_you_mean, shown};
use super::types::{Config, TlsMode};
use super::value::Value;
use crate::policy::closest::nearest;

/// What is wrong with one value; `item` is the position of the list entry, from 0.
pub(super) struct Problem {
    pub item: Option<usize>,
    pub text: String,
}

/// Puts the value into its place.
pub(super) fn apply(key: &Key, value: &Value, config: &mut Config) -> Result<(), Vec<Problem>> {
    if let (Kind::List(set), Value::List(items)) = (&key.kind, value) {
        let problem = |(position, text)| Problem {
            item: Some(position),
            text,
        };
        return set(config, items).map_err(|bad| bad.into_iter().map(problem).collect());
    }
    apply_single(&key.kind, value, config).map_err(|text| vec![Problem { item: None, text }])
}

fn apply_single(kind: &Kind, value: &Value, config: &mut Config) -> Result<(), String> {
    let wrong_type = |what: &str| Err(format!("must be {what}, not {}", value.describe()));
    match (kind, value) {
        (Kind::Text(set), Value::Text(text)) => return set(config, text),
        (Kind::Choice(words, set), Value::Text(text)) => set(config, position(words, text)?),
        (Kind::Switch(field), Value::Switch(switch)) => *field(config) = *switch,
        (Kind::Count { min, max, field }, value) => {
            *field(config) = whole(value, *min..=*max, false, None)?;
        }
        (
            Kind::Time {
                unit,
                min,
                max,
                field,
            },
            value,
        ) => {
            let number = whole(value, *min..=*max, false, Some(*unit))?;
            *field(config) = unit.duration(number);
        }
        (
            Kind::TimeOrOff {
                unit,
                min,
                max,
                field,
            },
            value,
        ) => {
            let number = whole(value, *min..=*max, true, Some(*unit))?;
            *field(config) = (number != 0).then(|| unit.duration(number));
        }
        (Kind::Ratio { min, max, field }, value) => {
            let number = match value {
                Value::Number(number) => *number,
                Value::Integer(number) => *number as f64,
                _ => return wrong_type(&format!("a number from {min} to {max}")),
            };
            if !(*min..=*max).contains(&number) {
                return Err(format!("must be from {min} to {max}, not {number}"));
            }
            *field(config) = number;
        }
        (Kind::Labels(field), Value::Map(labels)) => {
            labels
                .iter()
                .try_for_each(|(name, value)| label(name, value))?;
            if labels.len() > LABELS_MAX {
                return Err(format!(
                    "must have at most {LABELS_MAX} labels, not {}",
                    labels.len()
                ));
            }
            field(config).clone_from(labels);
        }
        (Kind::Text(_), _) => return wrong_type("a text in quotes"),
        (Kind::Choice(words, _), _) => return wrong_type(&format!("a text, {}", any_of(words))),
        (Kind::Switch(_), _) => return wrong_type("true or false"),
        (Kind::List(_), _) => return wrong_type("a list of texts, such as [\"a\", \"b\"]"),
        (Kind::Labels(_), _) => {
            return wrong_type("a table of texts, such as { region = \"north\" }");
        }
    }
    Ok(())
}

/// A whole number in the range (or 0 where that means off).
fn whole(
    value: &Value,
    range: std::ops::RangeInclusive<u32>,
    zero_is_off: bool,
    unit: Option<Unit>,
) -> Result<u32, String> {
    let off = if zero_is_off { "0 (off) or " } else { "" };
    let unit = unit
        .map(|unit| format!(" {}", unit.word()))
        .unwrap_or_default();
    let (min, max) = (range.start(), range.end());
    let Value::Integer(number) = value else {
        let given = value.describe();
        return Err(format!(
            "must be {off}a whole number from {min} to {max}{unit}, not {given}"
        ));
    };
    u32::try_from(*number)
        .ok()
        .filter(|number| range.contains(number) || (zero_is_off && *number == 0))
        .ok_or_else(|| format!("must be {off}from {min} to {max}{unit}, not {number}"))
}

fn position(words: &[&'static str], text: &str) -> Result<usize, String> {
    words.iter().position(|word| *word == text).ok_or_else(|| {
        let near = nearest(text, words.iter().copied());
        format!(
            "must be {}, not {}{}",
            any_of(words),
            shown(text),
            did_you_mean(near)
        )
    })
}

/// `"a", "b" or "c"`
fn any_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

const LABELS_MAX: usize = 32;

fn label(name: &str, value: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > 63 || !name.chars().all(allowed) {
        return Err(format!(
            "has the label {}: a label is of a-z 0-9 _ -",
            shown(name)
        ));
    }
    super::texts::line(value, 128)
        .map(drop)
        .map_err(|problem| format!("has the label {name}, whose value {problem}"))
}

/// Where each key got its value.
pub(super) trait Origins {
    fn origin(&self, path: &str) -> Origin;
}

/// Keys that contradict each other. Called when each for itself is right.
pub(super) fn across(config: &Config, origins: &impl Origins) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    // The later layer is blamed: that is what was just changed.
    let mut blame = |paths: &[&str], problem: String| {
        debug_assert!(paths.iter().all(|path| keys::find(path).is_some()));
        let latest = paths.iter().rev().max_by_key(|path| origins.origin(path));
        if let Some(path) = latest {
            errors.push(ConfigError::new(origins.origin(path), *path, problem));
        }
    };
    server(config, &mut blame);
    mqtt(config, &mut blame);
    if config.health.timeout > config.health.interval {
        let problem = "is at odds with the other: `health.timeout_ms` must not be longer than `health.interval_s`";
        blame(
            &["health.timeout_ms", "health.interval_s"],
            problem.to_owned(),
        );
    }
    if config.reconnect.first_delay > config.reconnect.max_delay {
        let problem = "is at odds with the other: `reconnect.first_delay_s` must not be longer than `reconnect.max_delay_s`";
        blame(
            &["reconnect.first_delay_s", "reconnect.max_delay_s"],
            problem.to_owned(),
        );
    }
    if config.storage.raw_retention > config.storage.history_retention {
        let problem = "is at odds with the other: `storage.raw_retention_h` must not be longer than `storage.history_retention_d`";
        blame(
            &["storage.raw_retention_h", "storage.history_retention_d"],
            problem.to_owned(),
        );
    }
    errors
}

fn mqtt(config: &Config, blame: &mut impl FnMut(&[&str], String)) {
    let mqtt = &config.mqtt;
    let both = ["mqtt.client_cert", "mqtt.client_key"];
    if mqtt.client_cert.is_some() != mqtt.client_key.is_some() {
        blame(
            &both,
            format!(
                "goes with the other one: set both `{}` and `{}`",
                both[0], both[1]
            ),
        );
    }
}

fn server(config: &Config, blame: &mut impl FnMut(&[&str], String)) {
    let server = &config.server;
    let exposed = !server.listen.ip().to_canonical().is_loopback();
    if exposed && server.tls == TlsMode::Off && !server.allow_plain_http {
        blame(
            &["server.listen"],
            format!(
                "is {}, which other machines can reach, while `server.tls` is \"off\": set it to \"self-signed\" or \"files\", \
             or `server.allow_plain_http = true` if tokens may travel readable",
                server.listen
            ),
        );
    }
    if server.tls == TlsMode::Files {
        for (path, value) in [
            ("server.tls_cert", &server.tls_cert),
            ("server.tls_key", &server.tls_key),
        ] {
            if value.is_none() {
                blame(
                    &["server.tls"],
                    format!("is \"files\", so `{path}` must name a file"),
                );
            }
        }
    }
    let same_port = |other: &std::net::SocketAddr| {
        let (a, b) = (server.listen, *other);
        a.port() == b.port()
            && a.port() != 0
            && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
    };
    if config.webhooks.listen.as_ref().is_some_and(same_port) {
        blame(
            &["webhooks.listen", "server.listen"],
            "takes the same port: `server.listen` and `webhooks.listen` need two".to_owned(),
        );
    }
}
