//! Log lines: to the journal under systemd, else readable on stderr. One line an event, with its
//! fields and those of its spans; nothing that a device sent can break out of its line.

mod line;
mod stderr;

use std::io::IsTerminal;

use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Layered;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Layer, reload};

use crate::policy::closest::nearest;
use line::Lines;
use stderr::{Stderr, Time};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Changes the filter while the daemon runs.
#[derive(Debug, Clone)]
pub struct FilterHandle(reload::Handle<Targets, Registry>);

impl FilterHandle {
    /// Puts another `log.filter` in force.
    ///
    /// # Errors
    /// As [`parse_filter`]; the old filter stays.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let targets = parse_filter(filter)?;
        self.0.reload(targets).map_err(|error| error.to_string())
    }
}

/// Reads `log.filter`: a level, and levels for single targets, `info,retina=warn`.
///
/// # Errors
/// What is wrong, beginning with a verb. A bare word that is no level is one: it would silently
/// switch everything else off.
pub fn parse_filter(filter: &str) -> Result<Targets, String> {
    // They warn of every odd parameter set or message, with each check of such a camera; a filter of
    // their own wins.
    let mut targets = Targets::new()
        .with_default(LevelFilter::OFF)
        .with_target("retina", LevelFilter::ERROR)
        .with_target("is", LevelFilter::ERROR)
        .with_target("dimpl", LevelFilter::ERROR);
    for part in filter.split(',').map(str::trim) {
        let (target, level) = match part.split_once('=') {
            Some((target, level)) => (Some(target.trim()), level.trim()),
            None => (None, part),
        };
        let level: LevelFilter = match level.to_ascii_lowercase().as_str() {
            word if LEVELS.contains(&word) => word.parse().map_err(|_| unknown_level(word))?,
            _ => return Err(unknown_level(level)),
        };
        targets = match target {
            None => targets.with_default(level),
            Some("") => return Err(format!("names no target before `={level}`")),
            Some(target) => targets.with_target(target, level),
        };
    }
    Ok(targets)
}

fn unknown_level(word: &str) -> String {
    let word: String = word.chars().take(32).flat_map(char::escape_debug).collect();
    let near = nearest(&word, LEVELS).map(|near| format!(", did you mean \"{near}\"?"));
    let levels = "a level is off, error, warn, info, debug or trace, for one part: \"retina=warn\"";
    format!(
        "has the unknown level \"{word}\"{}",
        near.unwrap_or_else(|| format!("; {levels}"))
    )
}

/// Logs for the daemon: to the journal if stderr is connected to it, else to stderr.
///
/// # Errors
/// The filter is wrong, or logging was started before.
pub fn start_daemon(filter: &str) -> Result<FilterHandle, String> {
    if !is_journal() {
        let terminal = std::io::stderr().is_terminal();
        let time = if terminal { Time::Short } else { Time::Full };
        return start(
            Lines(Stderr {
                colours: terminal && colours_wanted(),
                time,
            }),
            filter,
        );
    }
    match tracing_journald::layer() {
        Ok(journal) => start(journal, filter),
        Err(error) => {
            let handle = start(
                Lines(Stderr {
                    colours: false,
                    time: Time::SyslogPriority,
                }),
                filter,
            )?;
            tracing::warn!(%error, "cannot reach the journal's socket, logging to stderr");
            Ok(handle)
        }
    }
}

/// Is stderr connected to the journal? systemd.exec(5), `$JOURNAL_STREAM`: device and inode of the
/// stream, so that a redirected stderr and a terminal below a service count as what they are.
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stat = nix::sys::stat::fstat(std::io::stderr());
    stat.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Logs for one-shot commands: warnings and errors to stderr, without times.
///
/// # Errors
/// Logging was started before.
pub fn start_one_shot() -> Result<FilterHandle, String> {
    let colours = std::io::stderr().is_terminal() && colours_wanted();
    start(
        Lines(Stderr {
            colours,
            time: Time::None,
        }),
        "warn",
    )
}

/// <https://no-color.org>: set and not empty means no.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn start<L>(sink: L, filter: &str) -> Result<FilterHandle, String>
where
    L: Layer<Layered<reload::Layer<Targets, Registry>, Registry>> + Send + Sync,
{
    let wanted = parse_filter(filter)?;
    // Records of the `log` crate pass up to the level in force now, for good: begin with all.
    let everything = Targets::new().with_default(LevelFilter::TRACE);
    let (layer, handle) = reload::Layer::new(everything);
    let subscriber = tracing_subscriber::registry().with(layer).with(sink);
    subscriber.try_init().map_err(|error| error.to_string())?;
    handle.reload(wanted).map_err(|error| error.to_string())?;
    Ok(FilterHandle(handle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn filters() {
        let targets = parse_filter("info, retina=warn,ohmvision::probe=debug").unwrap();
        assert!(targets.would_enable("ohmvision::api", &Level::INFO));
        assert!(!targets.would_enable("ohmvision::api", &Level::DEBUG));
        assert!(targets.would_enable("ohmvision::probe::rtsp", &Level::DEBUG));
        assert!(!targets.would_enable("retina::client", &Level::INFO));
        assert!(
            !parse_filter("info")
                .unwrap()
                .would_enable("retina::codec", &Level::WARN)
        );
        assert!(parse_filter("INFO").is_ok());
    }

    #[test]
    fn wrong_filters_are_named() {
        assert_eq!(
            parse_filter("inof").unwrap_err(),
            "has the unknown level \"inof\", did you mean \"info\"?"
        );
        assert!(
            parse_filter("info,retina")
                .unwrap_err()
                .contains("\"retina=warn\"")
        );
        assert!(
            parse_filter("info,=debug")
                .unwrap_err()
                .contains("no target")
        );
        assert!(parse_filter("").is_err());
        assert!(parse_filter("info,retina=3").is_err());
    }
}
