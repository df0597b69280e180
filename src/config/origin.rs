//! Where a setting came from. Later layers win: default, file, stored, environment, command line.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The layer that a value came from, and the place inside it. Ordered by precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Default,
    /// The configuration file; lines count from 1.
    File {
        path: Arc<Path>,
        line: usize,
    },
    /// Set over the API or MQTT, kept in the store.
    Stored,
    /// The variable's name.
    Environment(String),
    /// The option's name, such as `--listen`.
    CommandLine(&'static str),
}

impl Origin {
    /// One word for programs.
    pub const fn layer(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Stored => "stored",
            Self::Environment(_) => "environment",
            Self::CommandLine(_) => "command_line",
        }
    }
}

/// The place, for people: `ohmvision.toml:3`, `environment OHMVISION_LOG_FILTER`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Stored => f.write_str("stored settings"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::CommandLine(option) => write!(f, "command line {option}"),
        }
    }
}
