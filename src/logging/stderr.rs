//! Lines for people on stderr.

use std::io::Write;

use tracing::Level;

use super::line::{Line, Sink};

/// What stands before the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    None,
    /// `10:00:00Z`
    Short,
    /// `2026-11-23T10:00:00Z`
    Full,
    /// `<6>` in place of time and level: what systemd makes of stderr (sd-daemon(3)).
    SyslogPriority,
}

pub(super) struct Stderr {
    pub colours: bool,
    pub time: Time,
}

impl Stderr {
    fn render(&self, line: &Line, now: &str) -> String {
        let target = line
            .target
            .strip_prefix("ohmvision::")
            .unwrap_or(&line.target);
        let text = &line.text;
        let time = match self.time {
            Time::SyslogPriority => return format!("<{}>{target}: {text}\n", priority(line.level)),
            Time::None => String::new(),
            Time::Short => format!("{} ", now.split_once('T').map_or(now, |(_, time)| time)),
            Time::Full => format!("{now} "),
        };
        let level = format!("{:<5}", line.level.as_str());
        if !self.colours {
            return format!("{time}{level} {target}: {text}\n");
        }
        let colour = match line.level {
            Level::ERROR => 31,
            Level::WARN => 33,
            Level::INFO => 32,
            _ => 36,
        };
        format!("\x1b[2m{time}\x1b[0m\x1b[{colour}m{level}\x1b[0m \x1b[2m{target}:\x1b[0m {text}\n")
    }
}

impl Sink for Stderr {
    fn write(&self, line: &Line) {
        // No fraction: `.0`.
        let now = format!("{:.0}", jiff::Timestamp::now());
        let text = self.render(line, &now);
        // One call, so that lines of several threads do not mix.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Syslog priority (RFC 5424, 6.2.1).
pub(super) const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(colours: bool, time: Time) -> String {
        let line = Line {
            level: Level::WARN,
            target: "ohmvision::daemon".to_owned(),
            text: "slow disk ms=900".to_owned(),
            fields: vec![],
        };
        Stderr { colours, time }.render(&line, "2026-11-23T10:00:00Z")
    }

    #[test]
    fn forms() {
        assert_eq!(
            rendered(false, Time::None),
            "WARN  daemon: slow disk ms=900\n"
        );
        assert_eq!(
            rendered(false, Time::Short),
            "10:00:00Z WARN  daemon: slow disk ms=900\n"
        );
        assert_eq!(
            rendered(false, Time::Full),
            "2026-11-23T10:00:00Z WARN  daemon: slow disk ms=900\n"
        );
        assert_eq!(
            rendered(true, Time::SyslogPriority),
            "<4>daemon: slow disk ms=900\n"
        );
        assert!(rendered(true, Time::Short).contains("\x1b[33mWARN "));
        assert!(!rendered(false, Time::Short).contains('\x1b'));
    }
}
