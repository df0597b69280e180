//! The configuration while the daemon runs: its sources, what was stored of it, and changes that take
//! themselves back.
//!
//! A change of `[mqtt]` or `[server]` that comes from outside may cut off the one who made it. So it is
//! on trial: unless the broker, or the API's caller, is reached with it within `gateway.revert_after_s`, what was
//! stored before comes back. A trial outlives a restart, after which its time begins anew.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Options;
use crate::config::{self, Config, ConfigErrors, Loaded, Origin, Sources};
use crate::control::{ConfigView, ControlError, TrialView};
use crate::model::Secret;
use crate::store::{Store, StoreError};

/// Read before anything that is stored.
const BEFORE_THE_STORE: &str = "security.vault_key_file";

/// The configuration that runs, and where it comes from.
#[derive(Debug)]
pub struct Settings {
    gateway_id: String,
    options: Options,
    pub running: Loaded,
    /// What ran at the start: the rest waits for the next one.
    at_start: Loaded,
    stored: Map<String, Value>,
    /// For the broker.
    pub password: Option<Secret>,
    trial: Option<Trial>,
    /// What became of the last trial.
    is_reverted: bool,
}

/// A change on trial.
#[derive(Debug, Clone)]
struct Trial {
    note: Note,
    password_before: Option<Secret>,
    began: Instant,
    /// It takes effect at the next start: its time has not begun.
    waits_for_start: bool,
}

/// What the store keeps of a trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    before: Map<String, Value>,
    broker: bool,
    caller: bool,
}

/// What was reached since a trial began.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// The broker, with the settings that run.
    pub broker: bool,
    /// When the API was last called by somebody who may.
    pub caller: Option<Instant>,
}

/// What became of a trial.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Goes,
    Stands,
    Reverts,
}

impl Settings {
    /// Reads what was stored on top of the other sources.
    ///
    /// # Errors
    /// Mistakes in the other sources; wrong stored settings are left out.
    pub fn new(
        gateway_id: String,
        options: Options,
        stored: Map<String, Value>,
        password: Option<Secret>,
    ) -> Result<Self, ConfigErrors> {
        let running = load(&options, stored.clone())?;
        Ok(Self {
            at_start: running.clone(),
            gateway_id,
            options,
            running,
            stored,
            password,
            trial: None,
            is_reverted: false,
        })
    }

    /// A trial that ran when the daemon ended goes on.
    pub fn resume(&mut self, note: Option<Vec<u8>>, password_before: Option<Secret>) {
        let note = note.and_then(|json| serde_json::from_slice(&json).ok());
        self.trial = note.map(|note| Trial {
            note,
            password_before,
            began: Instant::now(),
            waits_for_start: false,
        });
        if self.trial.is_some() {
            let time_s = self.trial_time().as_secs();
            tracing::info!("a changed setting is on trial for {time_s} s");
        }
    }

    /// Time to be reached again.
    fn trial_time(&self) -> Duration {
        self.running.config.gateway.revert_after
    }

    /// The sources as they are now, with these settings in the store.
    fn read(&self, stored: &Map<String, Value>) -> Result<Loaded, ConfigErrors> {
        load(&self.options, stored.clone())
    }

    /// The sources as they are now.
    ///
    /// # Errors
    /// Every mistake in the file and the environment.
    pub fn read_again(&self) -> Result<Loaded, ConfigErrors> {
        self.read(&self.stored)
    }

    /// Judges a change and stores it. The caller then reloads.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn store(
        &mut self,
        mut change: Map<String, Value>,
        store: &Store,
    ) -> Result<(), ControlError> {
        let password = take_password(&mut change)?;
        self.refuse_fixed(&change)?;
        let mut stored = self.stored.clone();
        merge(&mut stored, change);
        let sources = sources(&self.options, stored.clone()).map_err(unreadable)?;
        let new = Config::load_strictly(&sources).map_err(invalid)?;
        let changes = config::changes(&self.running, &new);
        let touched = |section: &str| {
            let all = changes.live.iter().chain(&changes.restart);
            all.filter(|key| key.starts_with(section)).count() > 0
        };
        let has_password = password.as_ref().is_some_and(|new| *new != self.password);
        let broker = (touched("mqtt.") || has_password) && new.config.mqtt.url.is_some();
        let caller = touched("server.");
        if broker || caller {
            self.begin_trial(broker, caller, &changes.restart, store)
                .await?;
        }
        if let Some(password) = password.filter(|_| has_password) {
            store
                .put_broker_password(password.as_ref())
                .await
                .map_err(failed)?;
            self.password = password;
        }
        store.put_settings(&stored).await.map_err(failed)?;
        self.stored = stored;
        Ok(())
    }

    async fn begin_trial(
        &mut self,
        broker: bool,
        caller: bool,
        restart: &[&str],
        store: &Store,
    ) -> Result<(), ControlError> {
        // A second change before the first has proved itself: both go back to what was proved.
        let earlier = self.trial.take();
        let note = Note {
            before: earlier
                .as_ref()
                .map_or(&self.stored, |t| &t.note.before)
                .clone(),
            broker: broker || earlier.as_ref().is_some_and(|t| t.note.broker),
            caller: caller || earlier.as_ref().is_some_and(|t| t.note.caller),
        };
        let password_before = earlier.map_or(self.password.clone(), |t| t.password_before);
        let json = serde_json::to_vec(&note).unwrap_or_default();
        store
            .put_trial(Some(json), password_before.as_ref())
            .await
            .map_err(failed)?;
        self.is_reverted = false;
        self.trial = Some(Trial {
            note,
            password_before,
            began: Instant::now(),
            waits_for_start: restart.iter().any(|key| key.starts_with("server.")),
        });
        Ok(())
    }

    fn refuse_fixed(&self, change: &Map<String, Value>) -> Result<(), ControlError> {
        for (section, fields) in change {
            for name in fields.as_object().into_iter().flat_map(Map::keys) {
                let key = format!("{section}.{name}");
                if key == BEFORE_THE_STORE {
                    let problem =
                        "is read before anything that is stored: set it in the file".to_owned();
                    return Err(ControlError::Invalid(vec![(key, problem)]));
                }
                let origin = self.running.entry(&key).map(|entry| &entry.origin);
                if let Some(by @ (Origin::Environment(_) | Origin::CommandLine(_))) = origin {
                    return Err(ControlError::Fixed {
                        key,
                        by: by.to_string(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether a trial runs; it has to be looked at now and then.
    pub fn is_on_trial(&self) -> bool {
        self.trial
            .as_ref()
            .is_some_and(|trial| !trial.waits_for_start)
    }

    /// Looks at the trial.
    pub fn judge(&self, reached: Reached, now: Instant) -> Verdict {
        let Some(trial) = self.trial.as_ref().filter(|t| !t.waits_for_start) else {
            return Verdict::Goes;
        };
        let caller = reached.caller.is_some_and(|at| at > trial.began);
        let is_proved = (!trial.note.broker || reached.broker) && (!trial.note.caller || caller);
        match is_proved {
            true => Verdict::Stands,
            false if now.saturating_duration_since(trial.began) >= self.trial_time() => {
                Verdict::Reverts
            }
            false => Verdict::Goes,
        }
    }

    /// The change has proved itself.
    ///
    /// # Errors
    /// The store's; the trial goes on then.
    pub async fn stands(&mut self, store: &Store) -> Result<(), StoreError> {
        store.put_trial(None, None).await?;
        self.trial = None;
        Ok(())
    }

    /// Takes the change back. The caller then reloads.
    ///
    /// # Errors
    /// The store's; the trial goes on then.
    pub async fn revert(&mut self, store: &Store) -> Result<(), StoreError> {
        let Some(trial) = self.trial.clone() else {
            return Ok(());
        };
        store.put_settings(&trial.note.before).await?;
        store
            .put_broker_password(trial.password_before.as_ref())
            .await?;
        store.put_trial(None, None).await?;
        self.stored = trial.note.before;
        self.password = trial.password_before;
        self.trial = None;
        self.is_reverted = true;
        Ok(())
    }

    /// Keys whose new value waits for the next start.
    pub fn waiting(&self) -> Vec<&'static str> {
        config::changes(&self.at_start, &self.running).restart
    }

    pub fn view(&self) -> ConfigView {
        let mut sections = Map::new();
        let mut origins = Map::new();
        for (key, entry) in self.running.entries() {
            let section = sections.entry(key.section()).or_insert_with(|| json!({}));
            section[key.name()] = json!(entry.value);
            let origin = json!({"layer": entry.origin.layer(), "place": entry.origin.to_string()});
            origins.insert(key.path.to_owned(), origin);
        }
        ConfigView {
            gateway_id: self.gateway_id.clone(),
            config: Value::Object(sections),
            origins: Value::Object(origins),
            at_next_start: self.waiting(),
            has_mqtt_password: self.password.is_some(),
            reverted: self.is_reverted,
            trial: self.trial.as_ref().map(|trial| TrialView {
                needs: [(trial.note.broker, "broker"), (trial.note.caller, "caller")]
                    .into_iter()
                    .filter_map(|(is_needed, name)| is_needed.then_some(name))
                    .collect(),
                reverts_in_s: (!trial.waits_for_start).then(|| {
                    self.trial_time()
                        .saturating_sub(trial.began.elapsed())
                        .as_secs()
                }),
            }),
        }
    }
}

fn sources(options: &Options, stored: Map<String, Value>) -> Result<Sources, ConfigErrors> {
    let mut sources = Sources::of_process(options.config.as_deref())?;
    sources.stored = stored;
    if let Some(listen) = options.listen {
        let listen = ("--listen", "server.listen", listen.to_string());
        sources.command_line.push(listen);
    }
    Ok(sources)
}

/// All sources, with these settings from the store.
pub fn load(options: &Options, stored: Map<String, Value>) -> Result<Loaded, ConfigErrors> {
    Config::load(&sources(options, stored)?)
}

/// `mqtt.password` is no setting: it goes into the vault. `Some(None)`: it is to be forgotten.
fn take_password(change: &mut Map<String, Value>) -> Result<Option<Option<Secret>>, ControlError> {
    let mqtt = change.get_mut("mqtt").and_then(Value::as_object_mut);
    match mqtt.and_then(|mqtt| mqtt.remove("password")) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(text)) => Ok(Some(Some(Secret::new(text)))),
        Some(_) => {
            let problem = "must be text, or null to forget it".to_owned();
            Err(ControlError::Invalid(vec![(
                "mqtt.password".to_owned(),
                problem,
            )]))
        }
    }
}

/// RFC 7396, two levels deep: `null` takes a stored value away.
fn merge(stored: &mut Map<String, Value>, change: Map<String, Value>) {
    for (section, fields) in change {
        let Value::Object(fields) = fields else {
            match fields.is_null() {
                true => stored.remove(&section),
                // Judged with the rest.
                false => stored.insert(section, fields),
            };
            continue;
        };
        let into = stored.entry(section).or_insert_with(|| json!({}));
        for (name, value) in fields {
            let Some(into) = into.as_object_mut() else {
                break;
            };
            // A map, such as labels, is one value; it is replaced whole.
            match value.is_null() {
                true => into.remove(&name),
                false => into.insert(name, value),
            };
        }
    }
    stored.retain(|_, fields| fields.as_object().is_none_or(|fields| !fields.is_empty()));
}

fn unreadable(errors: ConfigErrors) -> ControlError {
    ControlError::Unreadable(errors.to_string())
}

fn invalid(errors: ConfigErrors) -> ControlError {
    let field = |error: config::ConfigError| (error.key.clone(), error.problem);
    ControlError::Invalid(errors.0.into_iter().map(field).collect())
}

fn failed(error: StoreError) -> ControlError {
    ControlError::Store(error.to_string())
}

#[cfg(test)]
mod tests;
