//! Text -> [`Config`], once at start and at each reload. Precedence: default < file < stored
//! settings (API, MQTT) < environment < command line. All mistakes are reported at once.

mod check;
mod env;
mod error;
pub mod keys;
mod loaded;
mod origin;
mod raw;
mod reload;
mod texts;
mod types;
mod value;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use env::variables;
pub use error::{ConfigError, ConfigErrors};
pub use keys::{is_key, names as key_names};
pub use loaded::{Entry, Loaded};
pub use origin::Origin;
pub use reload::{Changes, changes};
pub use types::{
    BrokerUrl, Config, Discovery, Gateway, Health, Log, LoopbackScope, Mqtt, MqttVersion,
    Reconnect, Security, Server, Storage, TlsMode, Webhooks,
};
pub use value::Value;

/// Read when no `--config` is given and it exists.
pub const DEFAULT_FILE: &str = "/etc/ohmvision/ohmvision.toml";
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Everything that a configuration is made from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file's path as the messages name it, and its text.
    pub file: Option<(PathBuf, String)>,
    /// `{"section": {"key": value}}`, as the API and MQTT store it.
    pub stored: serde_json::Map<String, serde_json::Value>,
    /// Name and value; names without `OHMVISION_` are not looked at.
    pub environment: Vec<(String, String)>,
    /// Option (`--listen`), key (`server.listen`), value.
    pub command_line: Vec<(&'static str, &'static str, String)>,
}

impl Sources {
    /// Reads the file (`--config FILE`, which must exist, else [`DEFAULT_FILE`] if it does) and
    /// the environment of this process. Stored settings and options are added by the caller.
    ///
    /// # Errors
    /// The file is missing, not readable, larger than 1 MiB or not UTF-8.
    pub fn of_process(file: Option<&Path>) -> Result<Self, ConfigErrors> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match read_file(path) {
            Ok(text) => Some(text),
            Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(ConfigErrors(vec![unreadable(path, &error)])),
        };
        Ok(Self {
            file: text.map(|text| (path.to_owned(), text)),
            environment: variables(),
            ..Self::default()
        })
    }
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let problem = format!("larger than {} KiB", FILE_BYTES_MAX / 1024);
        return Err(std::io::Error::other(problem));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error
            .as_bytes()
            .iter()
            .take(at)
            .filter(|b| **b == b'\n')
            .count();
        std::io::Error::other(format!("line {line} is not UTF-8 text"))
    })
}

/// The message of a file that cannot be read, in words and not in an error number.
fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
    let reason = match error.kind() {
        NotFound => "there is no such file".to_owned(),
        PermissionDenied => "this user may not read the file".to_owned(),
        IsADirectory => "this is a folder, not a file".to_owned(),
        _ => error.to_string(),
    };
    let origin = Origin::File {
        path: Arc::from(path),
        line: 1,
    };
    ConfigError::new(
        origin,
        "",
        format!("cannot read the configuration: {reason}"),
    )
}

impl Config {
    /// Checks and assembles. Wrong *stored* settings do not keep a gateway from starting: they
    /// are left out and listed in [`Loaded::set_aside`].
    ///
    /// # Errors
    /// Every mistake in the other sources; exit 78.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
        let mut sources = sources.clone();
        let mut set_aside = Vec::new();
        loop {
            let errors = match Self::load_strictly(&sources) {
                Ok(mut loaded) => {
                    loaded.set_aside = set_aside;
                    return Ok(loaded);
                }
                Err(errors) => errors,
            };
            let (stored, others): (Vec<_>, Vec<_>) = errors
                .0
                .into_iter()
                .partition(|error| error.origin == Origin::Stored);
            let before = set_aside.len();
            for error in stored {
                if forget(&mut sources.stored, &error.key) {
                    set_aside.push(error);
                }
            }
            // Nothing left to leave out: the mistakes are in the other sources.
            if set_aside.len() == before {
                return Err(ConfigErrors::sorted(others));
            }
        }
    }

    /// As [`Config::load`], but a wrong stored setting is a mistake too: for checking a change
    /// before it is stored.
    ///
    /// # Errors
    /// Every mistake.
    pub fn load_strictly(sources: &Sources) -> Result<Loaded, ConfigErrors> {
        let mut loaded = Loaded::defaults();
        let mut errors = Vec::new();
        if let Some((path, text)) = &sources.file {
            let path: Arc<Path> = Arc::from(path.as_path());
            let raw = raw::read(text, &path);
            errors.extend(raw.errors);
            loaded.overlay(raw.settings, &mut errors);
            loaded.manufacturers = raw.manufacturers;
            loaded.file = Some(path);
        }
        let stored = env::from_stored(&sources.stored, &mut errors);
        loaded.overlay(stored, &mut errors);
        let environment = env::from_environment(&sources.environment, &mut errors);
        loaded.overlay(environment, &mut errors);
        loaded.overlay(env::from_command_line(&sources.command_line), &mut errors);
        if errors.is_empty() {
            errors = check::across(&loaded.config, &loaded);
        }
        if errors.is_empty() {
            Ok(loaded)
        } else {
            Err(ConfigErrors::sorted(errors))
        }
    }
}

/// Takes `section.key`, or a whole section, out of the stored settings.
fn forget(stored: &mut serde_json::Map<String, serde_json::Value>, path: &str) -> bool {
    let Some((section, name)) = path.split_once('.') else {
        return stored.remove(path).is_some();
    };
    let fields = stored
        .get_mut(section)
        .and_then(|fields| fields.as_object_mut());
    fields.is_some_and(|fields| fields.remove(name).is_some())
}

impl Default for Config {
    fn default() -> Self {
        Loaded::defaults().config
    }
}

#[cfg(test)]
mod tests;
