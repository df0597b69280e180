//! What is wrong with a configuration: every mistake, each with its place.

use std::fmt;

use super::origin::Origin;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub origin: Origin,
    /// `section.key`; empty when the mistake is not at a key, such as a syntax error.
    pub key: String,
    /// What is wrong and what would be right, to be read after the key. Holds no secret.
    pub problem: String,
}

impl ConfigError {
    pub(super) fn new(origin: Origin, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            origin,
            key: key.into(),
            problem: problem.into(),
        }
    }

    /// The mistake without its place: `` `health.interval_s` must be ... ``.
    pub fn message(&self) -> String {
        if self.key.is_empty() {
            return self.problem.clone();
        }
        format!("`{}` {}", self.key, self.problem)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message())
    }
}

impl std::error::Error for ConfigError {}

/// All mistakes of one configuration, in the order of their places; one a line when printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn sorted(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|a, b| (&a.origin, &a.key).cmp(&(&b.origin, &b.key)));
        errors.dedup();
        Self(errors)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
