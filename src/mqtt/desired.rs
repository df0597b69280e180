//! The operator's document for this gateway, carried out: what it wants is compared with what is there,
//! and steps by the API's own handlers end the differences. What came of it stands on `reported`.
//!
//! ```text
//! desired --read, judged--> differences --> steps --> reported
//!              look again, each `mqtt.desired_check_s` --'
//! ```

pub mod differences;
pub mod document;
mod state;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::command::Refusal;
use super::commands::{Commands, refusal};
use super::report::retained;
use super::sealed::{Occasion, Place};
use super::topics::Topics;
use crate::api::camera_json::camera_json;
use crate::api::inside::perform;
use crate::api::route::Request;
use crate::brake::now;
use crate::control::{ConfigView, ControlError};
use crate::model::CameraId;
use crate::sys::board;
use differences::{
    Difference, Held, Managed, Present, Step, Taken, differences, find, is_risky, is_secret,
    same_camera, shown_setting, steps,
};
use document::{Desired, SECRET_SETTING, SETTINGS_PLACE, camera_place};
use state::{Fault, Kept, State, TOLD_MAX, digest_of, keys, not_allowed, without};

/// Without a session nothing is looked at; its start wakes.
const IDLE: Duration = Duration::from_secs(60);
/// Between two looks, unless another document came: many cameras may change at once.
const LOOK_GAP: Duration = Duration::from_secs(1);
/// How often a change on trial is looked at.
const TRIAL_LOOK: Duration = Duration::from_secs(1);

/// What waits for a look.
#[derive(Debug, Default)]
struct Waiting {
    /// The newest payload of `desired`.
    payload: Option<Vec<u8>>,
    /// With whom the session speaks; `None` before the first.
    session: Option<(Topics, Arc<Settings>)>,
    /// A session begins: all is told anew.
    tell: bool,
}

/// Carries out the document, of whatever session.
pub struct Reconciler {
    commands: Arc<Commands>,
    waiting: Mutex<Waiting>,
    wake: Notify,
    kept: tokio::sync::Mutex<State>,
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reconciler")
    }
}

impl Reconciler {
    /// `remembered` is what the last life of the daemon left in the store.
    pub fn new(commands: Arc<Commands>, remembered: Option<&[u8]>) -> Arc<Self> {
        let kept = remembered.and_then(|json| serde_json::from_slice(json).ok());
        Arc::new(Self {
            commands,
            waiting: Mutex::default(),
            wake: Notify::new(),
            kept: tokio::sync::Mutex::new(State {
                kept: kept.unwrap_or_default(),
                ..State::default()
            }),
        })
    }

    /// A session begins, or everything is told anew.
    pub fn begin(&self, topics: &Topics, settings: &Arc<Settings>) {
        let mut waiting = self.waiting();
        waiting.session = Some((topics.clone(), settings.clone()));
        waiting.tell = true;
        drop(waiting);
        self.wake.notify_one();
    }

    /// The document came.
    pub fn received(&self, payload: &[u8]) {
        self.waiting().payload = Some(payload.to_vec());
        self.wake.notify_one();
    }

    /// A camera or a setting was changed: perhaps by hand, which is told at once.
    pub fn changed(&self) {
        self.wake.notify_one();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks until the daemon stops.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut mend_at = Instant::now();
        loop {
            let every = self.every();
            mend_at = mend_at.min(Instant::now() + every);
            let on_trial = !self.kept.lock().await.kept.trial.is_empty();
            let next = match on_trial {
                true => mend_at.min(Instant::now() + TRIAL_LOOK),
                false => mend_at,
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep_until(next) => {}
                () = stop.cancelled() => return,
            }
            let is_time = mend_at <= Instant::now();
            // Boxed: all deeds of the API are in it.
            tokio::select! {
                () = Box::pin(self.look(is_time)) => {}
                () = stop.cancelled() => return,
            }
            if is_time {
                mend_at = Instant::now() + every;
            }
            let gap = match self.waiting().payload {
                Some(_) => Duration::ZERO,
                None => LOOK_GAP,
            };
            tokio::select! {
                () = sleep(gap) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// How often what was changed by hand is changed back.
    fn every(&self) -> Duration {
        let waiting = self.waiting();
        let session = waiting.session.as_ref();
        session.map_or(IDLE, |(_, settings)| settings.mqtt.desired_check)
    }

    /// `is_time`: what was changed by hand is changed back; else it is told only.
    async fn look(&self, is_time: bool) {
        let (payload, session, tell) = {
            let mut waiting = self.waiting();
            let tell = std::mem::take(&mut waiting.tell);
            (waiting.payload.take(), waiting.session.clone(), tell)
        };
        // Nothing is done before anybody was spoken with: what is allowed comes with that.
        let Some((topics, settings)) = session else {
            return;
        };
        let mut state = self.kept.lock().await;
        if tell {
            state.told.clear();
        }
        let state = &mut *state;
        let mut is_new = false;
        if let Some(payload) = payload {
            match self.taken(state, &payload, &topics, &settings).await {
                Ok(taken) => is_new = taken,
                Err((revision, refused)) => {
                    tracing::warn!(
                        code = refused.code,
                        "the operator's document is refused, nothing was changed: {}",
                        refused.reason
                    );
                    state.refused = Some((revision, Fault::of(None, None, refused)));
                }
            }
        }
        self.judge_trial(state).await;
        if state.kept.document.is_some() && !is_new {
            self.mend(state, &topics, &settings, is_time).await;
        }
        if state.kept.document.is_some() || state.refused.is_some() || is_new {
            self.tell(state, &topics);
        }
    }

    /// Reads a document and carries it out; `false`: it is the one that is known.
    async fn taken(
        &self,
        state: &mut State,
        payload: &[u8],
        topics: &Topics,
        settings: &Settings,
    ) -> Result<bool, (u64, Refusal)> {
        if payload.is_empty() {
            let was_there = state.kept.document.is_some() || state.refused.is_some();
            if was_there {
                tracing::info!("the operator's document is gone: what it brought stays");
                state.kept = Kept::default();
                state.refused = None;
                state.drift.clear();
                self.save(&state.kept).await;
            }
            return Ok(was_there);
        }
        let desired = Desired::parse(payload).map_err(|refused| (0, refused))?;
        let revision = desired.revision;
        let digest = digest_of(payload);
        if digest == state.kept.digest {
            state.refused = None;
            return Ok(false);
        }
        let refuse = |code, reason: String| (revision, Refusal::new(code, reason));
        if revision <= state.kept.revision {
            let newest = state.kept.revision;
            return Err(refuse(
                "stale",
                format!("revision {revision} is not newer than {newest}, which was taken before"),
            ));
        }
        let clock = board::clock().is_some_and(|clock| clock.is_synchronized);
        if let Some(expires_at) = desired.expires_at.filter(|at| clock && *at <= now()) {
            return Err(refuse(
                "expired",
                format!("the document was good until {expires_at}"),
            ));
        }
        let opened = self
            .opened(desired.clone(), topics.gateway())
            .map_err(|refused| (revision, refused))?;
        let mut taken = state.kept.taken.clone();
        taken.failed.clear();
        let (found, present) = self
            .differences(&opened, &taken)
            .await
            .map_err(|refused| (revision, refused))?;
        if let Some((one, other)) = same_camera(&opened, &taken, &present) {
            return Err(refuse(
                "ambiguous",
                format!("{one} and {other} are the same camera here: name it once"),
            ));
        }
        let steps = steps(&opened, &found);
        not_allowed(&steps, &settings.mqtt.allowed_commands)
            .map_err(|refused| (revision, refused))?;
        tracing::info!(
            revision,
            steps = steps.len(),
            "the operator's document is carried out"
        );
        state.kept = Kept {
            document: Some(desired.to_json()),
            digest,
            revision,
            applied_revision: state.kept.applied_revision,
            taken,
            errors: Vec::new(),
            trial: Vec::new(),
        };
        state.refused = None;
        state.looked = None;
        state.drift.clear();
        // Noted before anything is done: what is cut off goes on at the next start.
        self.save(&state.kept).await;
        self.carry_out(state, &opened, steps).await;
        if state.kept.trial.is_empty() {
            state.kept.applied_revision = revision;
        }
        self.save(&state.kept).await;
        Ok(true)
    }

    /// The document with its secrets in clear.
    fn opened(&self, mut desired: Desired, gateway: &str) -> Result<Desired, Refusal> {
        let occasion = Occasion::Revision(desired.revision);
        for camera in &mut desired.cameras {
            let within = &camera_place(&camera.key);
            let place = Place {
                gateway,
                occasion,
                within,
            };
            self.commands.open(&mut camera.fields, place)?;
        }
        let mut settings: Map<String, Value> = desired.settings.clone().into_iter().collect();
        let within = SETTINGS_PLACE;
        let place = Place {
            gateway,
            occasion,
            within,
        };
        self.commands.open(&mut settings, place)?;
        desired.settings = settings.into_iter().collect();
        Ok(desired)
    }

    async fn differences(
        &self,
        opened: &Desired,
        taken: &Taken,
    ) -> Result<(Vec<Difference>, Vec<Present>), Refusal> {
        let context = self.commands.context();
        let view = context.control.show().await;
        let view = view.map_err(|error| Refusal::new("unavailable", error.to_string()))?;
        let present = self.present();
        let has_secret = |id: CameraId, field: &str, value: &Value| {
            let held = context.site.look(id, |entry| {
                let held = match field {
                    "password" => &entry.secrets.password,
                    _ => &entry.secrets.onvif_password,
                };
                match (held, value.as_str()) {
                    (Some(held), Some(wanted)) => held.expose() == wanted,
                    (None, wanted) => wanted.is_none(),
                    (Some(_), None) => value.is_null(),
                }
            });
            held.unwrap_or(false)
        };
        let mut found = differences(opened, taken, &present, &view.config, has_secret);
        // Whether it is the same is known where it is stored, and nowhere else.
        let is_known = taken.settings.contains_key(SECRET_SETTING);
        found.retain(|d| {
            !(is_known && matches!(d, Difference::Setting { key, .. } if key == SECRET_SETTING))
        });
        Ok((found, present))
    }

    fn present(&self) -> Vec<Present> {
        let views = self.commands.context().site.cameras();
        let one = |view: &crate::site::CameraView| Present {
            id: view.camera.id,
            uid: view.camera.uid,
            record: camera_json(view),
            moved_from: view.camera.moved_from.clone(),
        };
        views.iter().map(one).collect()
    }

    /// Does the steps, each on its own, and notes what the gateway shows since.
    async fn carry_out(&self, state: &mut State, opened: &Desired, steps: Vec<Step>) {
        let context = self.commands.context();
        for step in steps {
            let done = match step {
                Step::Create { key, body } => {
                    let request = Request::CreateCamera { wait: false };
                    (key, perform(context, request, Value::Object(body)).await)
                }
                Step::Update { key, id, body } => {
                    let request = Request::PatchCamera(id);
                    (key, perform(context, request, Value::Object(body)).await)
                }
                Step::Remove { id, name } => (
                    name,
                    perform(context, Request::DeleteCamera(id), json!({})).await,
                ),
                Step::Set { body } => {
                    self.set(state, body).await;
                    continue;
                }
            };
            if let (key, Err(problem)) = done {
                let refused = refusal(problem);
                tracing::warn!(
                    camera = key,
                    code = refused.code,
                    "not as wanted: {}",
                    refused.reason
                );
                state.kept.errors.push(Fault::of(Some(&key), None, refused));
                state.kept.taken.failed.insert(key);
            }
        }
        self.note(&mut state.kept.taken, opened).await;
        state.kept.errors.truncate(TOLD_MAX);
    }

    async fn set(&self, state: &mut State, mut body: Map<String, Value>) {
        let control = &self.commands.context().control;
        let mut done = control.change(body.clone()).await;
        if let Err(ControlError::Invalid(errors)) = &done {
            for (key, problem) in errors {
                state.fail(key, Refusal::new("invalid", format!("{key} {problem}")));
                without(&mut body, key);
            }
            if !body.is_empty() {
                // The rest is not to suffer.
                done = control.change(body.clone()).await;
            }
        }
        match done {
            Ok(ConfigView { trial: Some(_), .. }) => {
                let all = keys(&body).into_iter();
                state.kept.trial = all.filter(|key| is_risky(key)).collect();
            }
            Ok(_) => {}
            Err(error) => {
                let refused = refusal(error.into());
                for key in keys(&body) {
                    state.fail(&key, refused.clone());
                }
            }
        }
    }

    /// What is shown of each value from now on.
    async fn note(&self, taken: &mut Taken, opened: &Desired) {
        let Ok(view) = self.commands.context().control.show().await else {
            return;
        };
        let present = self.present();
        let mut cameras = BTreeMap::new();
        for wanted in &opened.cameras {
            let Some(camera) = find(wanted, taken, &present) else {
                continue;
            };
            let is_refused = taken.failed.contains(&wanted.key);
            let held = |(field, value): (&String, &Value)| {
                let shown = camera.record.get(field).cloned().unwrap_or(Value::Null);
                let held = Held {
                    wanted: value.clone(),
                    shown,
                    is_refused,
                };
                (field.clone(), held)
            };
            let fields = wanted.fields.iter().filter(|(field, _)| !is_secret(field));
            let managed = Managed {
                uid: camera.uid,
                fields: fields.map(held).collect(),
            };
            cameras.insert(wanted.key.clone(), managed);
        }
        let held = |(key, value): (&String, &Value)| {
            let held = match key == SECRET_SETTING {
                true => Held::default(),
                false => Held {
                    wanted: value.clone(),
                    shown: shown_setting(&view.config, key),
                    is_refused: taken.failed.contains(key),
                },
            };
            (key.clone(), held)
        };
        // A password that was refused is tried again with the next revision.
        let is_noted = |key: &String| key != SECRET_SETTING || !taken.failed.contains(key);
        let settings = opened.settings.iter().filter(|(key, _)| is_noted(key));
        let settings = settings.map(held).collect();
        taken.cameras = cameras;
        taken.settings = settings;
    }

    /// A change on trial stands, or was taken back; then it is not tried again.
    async fn judge_trial(&self, state: &mut State) {
        if state.kept.trial.is_empty() {
            return;
        }
        let Ok(view) = self.commands.context().control.show().await else {
            return;
        };
        if view.trial.is_some() {
            return;
        }
        for key in std::mem::take(&mut state.kept.trial) {
            let shown = shown_setting(&view.config, &key);
            let held = state.kept.taken.settings.get_mut(&key);
            let is_other = held.as_ref().is_none_or(|held| held.shown != shown);
            // The daemon may have begun anew since, and a password is not shown.
            if !view.reverted && (key == SECRET_SETTING || !is_other) {
                continue;
            }
            if let Some(held) = held {
                held.shown = shown;
                held.is_refused = true;
            }
            if key == SECRET_SETTING {
                state.kept.taken.settings.remove(&key);
            }
            let reason = format!("nobody was reached with the new {key}: it was taken back");
            state.fail(&key, Refusal::new("reverted", reason));
        }
        state.kept.applied_revision = state.kept.revision;
        self.save(&state.kept).await;
    }

    /// Looks for what was changed by hand, tells it, and changes it back when it is time.
    async fn mend(&self, state: &mut State, topics: &Topics, settings: &Settings, is_time: bool) {
        let as_it_is = self.fingerprint().await;
        let is_known = state.looked.is_some() && state.looked == as_it_is;
        let has_work = !is_known || (is_time && state.is_mend_due);
        if !has_work || !state.kept.trial.is_empty() {
            return;
        }
        // The daemon ended while the document was carried out: it goes on.
        let is_unfinished = state.kept.applied_revision != state.kept.revision;
        let document = state.kept.document.as_ref().map(Value::to_string);
        let desired = document.and_then(|text| Desired::parse(text.as_bytes()).ok());
        let Some(desired) = desired else { return };
        let Ok(opened) = self.opened(desired.clone(), topics.gateway()) else {
            return;
        };
        let Ok((found, _)) = self.differences(&opened, &state.kept.taken).await else {
            return;
        };
        let steps = steps(&opened, &found);
        let is_allowed = not_allowed(&steps, &settings.mqtt.allowed_commands).is_ok();
        let drift = found.iter().map(|d| d.to_json(&desired));
        state.drift = drift.take(TOLD_MAX).collect();
        state.looked = as_it_is;
        let is_mended = is_allowed && (desired.mend || is_unfinished) && !found.is_empty();
        state.is_mend_due = is_mended;
        if is_mended && !(is_time || is_unfinished) {
            return;
        }
        if is_mended {
            self.tell(state, topics);
            tracing::info!(
                differences = found.len(),
                "changed by hand: made as the operator wants it"
            );
            self.carry_out(state, &opened, steps).await;
        } else if !(is_unfinished && found.is_empty()) {
            return;
        }
        if state.kept.trial.is_empty() {
            state.kept.applied_revision = state.kept.revision;
        }
        self.save(&state.kept).await;
        // What could not be mended is not drift any more but an error.
        state.drift.clear();
        state.is_mend_due = false;
        state.looked = self.fingerprint().await;
    }

    /// Changes with every change of a camera's record or of a setting.
    async fn fingerprint(&self) -> Option<u64> {
        let context = self.commands.context();
        let view = context.control.show().await.ok()?;
        let mut hasher = DefaultHasher::new();
        view.config.to_string().hash(&mut hasher);
        let mut cameras = context
            .site
            .look_at_all(|entry| (entry.camera.id, entry.camera.revision));
        cameras.sort_unstable();
        cameras.hash(&mut hasher);
        Some(hasher.finish())
    }

    /// Publishes `reported`, where it differs from what was told.
    fn tell(&self, state: &mut State, topics: &Topics) {
        let text = state.reported();
        if text != state.told {
            self.commands
                .reply(retained(topics.own("reported"), text.clone()));
            state.told = text;
        }
    }

    async fn save(&self, kept: &Kept) {
        let json = serde_json::to_vec(kept).unwrap_or_default();
        let store = self.commands.context().site.store();
        if let Err(error) = store.put_desired(json).await {
            tracing::error!(
                "the operator's document is remembered until the next start only: {error}"
            );
        }
    }
}
