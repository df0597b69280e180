//! Commands carried out: each once, remembered over restarts, answered on its own topic. They do what
//! the API does, by the same handlers.

mod controls;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::Settings;
use super::client::{Content, Message};
use super::command::{self, Init, Refusal, Said, Type};
use super::report::retained;
use super::sealed::{Occasion, Place, SealingKey};
use super::topics::{Subject, Topics};
use crate::api::export::{ExportOptions, Format};
use crate::api::inside::{Given, perform};
use crate::api::route::Request;
use crate::api::{Context, Problem};
use crate::brake::now;
use crate::model::CameraId;
use crate::policy::bucket::{Allowance, Bucket};
use crate::sys::board;

/// Commands that run at the same time.
const AT_ONCE: usize = 4;
/// Refusals that are logged: so many at once, then ten a minute.
const LOGGED: Allowance = Allowance {
    burst: 20,
    gap_ms: 6_000,
};
/// Commands that run or wait; more are refused.
const TAKEN_MAX: usize = 32;
/// Commands that are remembered.
const ROWS_MAX: usize = 64;
/// An answer up to this size is remembered whole.
const KEPT_BYTES_MAX: usize = 2 * 1024;
/// Largest result that is sent.
const RESULT_BYTES_MAX: usize = 200 * 1024;
/// Answers that wait for a session, and their bytes.
const REPLIES_MAX: usize = 128;
const REPLIES_BYTES_MAX: usize = 1024 * 1024;
/// Largest picture that is published.
const PICTURE_BYTES_MAX: usize = 256 * 1024;
/// How often it is looked whether a picture has left.
const PICTURE_PAUSE: Duration = Duration::from_millis(100);
/// Longest that one command may take.
const LIMIT: Duration = Duration::from_secs(900);
/// Between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// One command that was taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    /// The topic on which it lives.
    topic: String,
    /// The last answer; `None` while it runs, or where the answer was too large to be kept.
    body: Option<String>,
    is_over: bool,
    /// In this life of the daemon.
    #[serde(skip)]
    is_running: bool,
}

/// What was asked, and where.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub subject: Subject,
    pub kind: &'a str,
    pub id: &'a str,
    /// Asked of all gateways.
    pub is_fleet: bool,
    pub is_retained: bool,
}

/// Carries out commands, of whatever session.
pub struct Commands {
    context: Arc<Context>,
    gateway: String,
    key: SealingKey,
    /// Made from it once: that takes a millisecond.
    public_key: OnceLock<String>,
    /// Oldest first.
    rows: Mutex<VecDeque<Row>>,
    replies: Mutex<VecDeque<Message>>,
    told: Notify,
    slots: Semaphore,
    lines: Mutex<Lines>,
    began: Instant,
}

/// Lines about refusals.
#[derive(Debug, Default)]
struct Lines {
    bucket: Bucket,
    /// Refusals without a line since the last one that has one.
    left_out: u64,
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Commands")
    }
}

impl Commands {
    /// `remembered` is what the last life of the daemon left in the store.
    pub fn new(
        context: Arc<Context>,
        gateway: String,
        key: SealingKey,
        remembered: Option<&[u8]>,
    ) -> Arc<Self> {
        let rows = remembered.and_then(|json| serde_json::from_slice(json).ok());
        Arc::new(Self {
            context,
            gateway,
            key,
            rows: Mutex::new(rows.unwrap_or_default()),
            replies: Mutex::default(),
            told: Notify::new(),
            slots: Semaphore::new(AT_ONCE),
            public_key: OnceLock::new(),
            lines: Mutex::default(),
            began: Instant::now(),
        })
    }

    /// For whom secrets are sealed, base64.
    pub fn sealing_key(&self) -> &str {
        self.public_key.get_or_init(|| self.key.public())
    }

    /// Ends when there may be an answer.
    pub async fn news(&self) {
        self.told.notified().await;
    }

    /// An answer to be published.
    pub fn take_reply(&self) -> Option<Message> {
        lock(&self.replies).pop_front()
    }

    /// Puts in the place of sealed values what lies in them.
    pub(super) fn open(
        &self,
        fields: &mut Map<String, Value>,
        place: Place<'_>,
    ) -> Result<(), Refusal> {
        self.key.open_all(fields, place)
    }

    /// What deeds are done with.
    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Queues a message for the session.
    pub(super) fn reply(&self, message: Message) {
        let mut replies = lock(&self.replies);
        replies.push_back(message);
        let bytes = |replies: &VecDeque<Message>| -> usize {
            replies.iter().map(|m| m.payload.len()).sum()
        };
        while replies.len() > REPLIES_MAX || bytes(&replies) > REPLIES_BYTES_MAX {
            // The requester's retained message leads to it again.
            replies.pop_front();
        }
        drop(replies);
        self.told.notify_one();
    }

    /// A message on a command's topic.
    pub fn received(
        self: &Arc<Self>,
        topics: &Topics,
        settings: &Settings,
        asked: Asked<'_>,
        payload: &[u8],
    ) {
        let topic = topics.command(asked.subject, asked.kind, asked.id);
        let said = match command::read(payload) {
            Ok(said) => said,
            Err(refusal) => return self.refuse(topic, &refusal),
        };
        match said {
            Said::Over => {}
            // Only what waited on the broker can be of an earlier life.
            Said::Executing if asked.is_retained && !asked.is_fleet => self.was_executing(topic),
            Said::Executing => {}
            Said::Init(init) => self.asked(topics, settings, asked, topic, init),
        }
    }

    fn was_executing(&self, topic: String) {
        let rows = lock(&self.rows);
        let row = rows.iter().find(|row| row.topic == topic);
        let body = match row {
            Some(row) if row.is_running => return,
            Some(Row {
                is_over: true,
                body: Some(body),
                ..
            }) => body.clone(),
            Some(Row { is_over: true, .. }) => command::successful(&json!(null)),
            _ => command::failed(&interrupted()),
        };
        drop(rows);
        self.reply(retained(topic, body));
    }

    fn asked(
        self: &Arc<Self>,
        topics: &Topics,
        settings: &Settings,
        asked: Asked<'_>,
        topic: String,
        mut init: Init,
    ) {
        let mqtt = &settings.mqtt;
        if asked.is_fleet {
            let selector = init.selector.take().unwrap_or_default();
            let is_meant = selector.fits(&settings.gateway.site, &settings.gateway.labels);
            // Kept by the broker, it would reach gateways that are set up next year.
            if asked.is_retained || !is_meant {
                return;
            }
            if init.expires_at.is_none() {
                let reason = "a command to all gateways needs `expires_at`";
                return self.refuse(topic, &Refusal::new("malformed", reason));
            }
        }
        if self.is_known(&topic) {
            return;
        }
        let at = board::clock()
            .is_some_and(|clock| clock.is_synchronized)
            .then(now);
        let judged = command::judge(asked.kind, asked.subject, &init, &mqtt.allowed_commands, at);
        let prepared = judged.and_then(|kind| {
            let place = Place {
                gateway: &self.gateway,
                occasion: Occasion::Command(asked.id),
                within: "",
            };
            self.key.open_all(&mut init.params, place)?;
            Ok((kind, self.camera(asked.subject)?))
        });
        let (kind, camera) = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => return self.refuse(topic, &refusal),
        };
        if !self.remember(&topic) {
            let reason = format!("{TAKEN_MAX} commands are taken already; ask again later");
            return self.refuse(topic, &Refusal::new("busy", reason));
        }
        tracing::info!(command = kind.name, id = asked.id, "command over MQTT");
        let work = Box::pin(
            self.clone()
                .run(topics.clone(), topic, kind, camera, init.params),
        );
        self.context.site.tasks().spawn(work);
    }

    fn camera(&self, subject: Subject) -> Result<Option<CameraId>, Refusal> {
        let Subject::Camera(uid) = subject else {
            return Ok(None);
        };
        let found = self.context.site.id_of(uid);
        let unknown = || {
            Refusal::new(
                "unknown_camera",
                format!("this gateway has no camera {uid}"),
            )
        };
        found.map(Some).ok_or_else(unknown)
    }

    /// Whether a command was taken before; then its answer is given again, and nothing is done.
    fn is_known(&self, topic: &str) -> bool {
        let rows = lock(&self.rows);
        let Some(row) = rows.iter().find(|row| row.topic == topic).cloned() else {
            return false;
        };
        drop(rows);
        if !row.is_running {
            let body = match (row.is_over, row.body) {
                (true, Some(body)) => body,
                (true, None) => command::successful(&json!(null)),
                (false, _) => command::failed(&interrupted()),
            };
            self.reply(retained(topic.to_owned(), body));
        }
        true
    }

    /// `false`: too many are taken.
    fn remember(&self, topic: &str) -> bool {
        let mut rows = lock(&self.rows);
        if rows.iter().filter(|row| row.is_running).count() >= TAKEN_MAX {
            return false;
        }
        if rows.len() >= ROWS_MAX {
            let oldest = rows.iter().position(|row| !row.is_running);
            oldest.and_then(|at| rows.remove(at));
        }
        rows.push_back(Row {
            topic: topic.to_owned(),
            body: None,
            is_over: false,
            is_running: true,
        });
        true
    }

    fn refuse(&self, topic: String, refusal: &Refusal) {
        self.log_refused(&topic, refusal);
        self.reply(retained(topic, command::failed(refusal)));
    }

    /// One line for each refusal, up to [`LOGGED`]: whoever may publish must not fill the journal.
    fn log_refused(&self, topic: &str, refusal: &Refusal) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut lines = lock(&self.lines);
        if lines.bucket.take(LOGGED, now_ms).is_err() {
            lines.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut lines.left_out);
        drop(lines);
        let (code, reason) = (refusal.code, &refusal.reason);
        match left_out {
            0 => tracing::info!(topic, code, "command over MQTT refused: {reason}"),
            _ => tracing::info!(
                topic,
                code,
                left_out,
                "command over MQTT refused, as others before that had no line: {reason}"
            ),
        }
    }

    async fn run(
        self: Arc<Self>,
        topics: Topics,
        topic: String,
        kind: &'static Type,
        camera: Option<CameraId>,
        params: Map<String, Value>,
    ) {
        let _slot = self.slots.acquire().await;
        // Noted before anything is done: after a crash it is not done twice.
        self.save().await;
        self.reply(retained(topic.clone(), command::executing(0)));
        let done = timeout(LIMIT, self.carry_out(&topics, &topic, kind, camera, params)).await;
        let late = || {
            Refusal::new(
                "timeout",
                format!("it took more than {} s", LIMIT.as_secs()),
            )
        };
        let body = match done.unwrap_or_else(|_| Err(late())) {
            Ok(result) => command::successful(&result),
            Err(refusal) => command::failed(&refusal),
        };
        let body = match body.len() > RESULT_BYTES_MAX {
            true => command::failed(&Refusal::new(
                "too_large",
                format!(
                    "the result has {} bytes, more than the {RESULT_BYTES_MAX} that are sent; ask the API",
                    body.len()
                ),
            )),
            false => body,
        };
        if let Some(row) = lock(&self.rows).iter_mut().find(|row| row.topic == topic) {
            row.is_running = false;
            row.is_over = true;
            row.body = (body.len() <= KEPT_BYTES_MAX).then(|| body.clone());
        }
        self.save().await;
        self.reply(retained(topic, body));
        if kind.name == "restart" {
            // Remembered as done: the next life says so.
            let _ = self.context.control.restart().await;
        }
    }

    async fn save(&self) {
        let json = serde_json::to_vec(&*lock(&self.rows)).unwrap_or_default();
        if let Err(error) = self.context.site.store().put_commands(json).await {
            tracing::error!("a command is remembered until the next start only: {error}");
        }
    }

    async fn carry_out(
        &self,
        topics: &Topics,
        topic: &str,
        kind: &Type,
        camera: Option<CameraId>,
        params: Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let body = Value::Object(params);
        // Judged before: a camera's command has one.
        let id = camera.unwrap_or(CameraId(0));
        match kind.name {
            "scan" => {
                self.ask(Request::StartScan, body).await?;
                self.scan(topic).await
            }
            "detect" => self.ask(Request::AutoDetect, body).await,
            "batch_test" => self.ask(Request::BatchTest, body).await,
            "ptz" => self.ask(Request::OrderPtz(id), body).await,
            "reboot" => self.reboot(id).await,
            "check_now" => self.ask(Request::CheckNow(id), body).await,
            "reconnect" => self.ask(Request::Reconnect(id), body).await,
            "snapshot" => self.snapshot(topics, id).await,
            "camera_add" => self.ask(Request::CreateCamera { wait: false }, body).await,
            "camera_update" => self.ask(Request::PatchCamera(id), body).await,
            "camera_remove" => self.ask(Request::DeleteCamera(id), body).await,
            "config_get" => self.ask(Request::ShowConfig, body).await,
            "config_patch" => self.ask(Request::ChangeConfig, body).await,
            "log_level" => {
                let change = json!({"log": {"filter": body["filter"]}});
                self.ask(Request::ChangeConfig, change).await
            }
            "export" => {
                let format = Format::of(body["format"].as_str());
                let options = ExportOptions {
                    format,
                    secrets: false,
                };
                self.ask(Request::Export(options), json!({})).await
            }
            "restart" => Ok(Value::Null),
            name => Err(Refusal::new(
                "unknown_command",
                format!("{name} is not made here"),
            )),
        }
    }

    async fn ask(&self, request: Request, body: Value) -> Result<Value, Refusal> {
        match perform(&self.context, request, body).await {
            Ok(Given::Json(value)) => Ok(value),
            Ok(Given::Bytes(bytes)) => Ok(json!(String::from_utf8_lossy(&bytes))),
            Ok(Given::Nothing) => Ok(Value::Null),
            Err(problem) => Err(refusal(problem)),
        }
    }

    async fn reboot(&self, id: CameraId) -> Result<Value, Refusal> {
        let done = self.context.site.reboot(id).await;
        let done = done.map_err(|error| refusal(error.into()));
        done.map(|()| Value::Null)
    }

    /// Waits for the end of the scan that runs.
    async fn scan(&self, topic: &str) -> Result<Value, Refusal> {
        let site = &self.context.site;
        let mut told = 0;
        while site.is_scanning() {
            tokio::time::sleep(PROGRESS_EVERY).await;
            let progress = site.scan_view().progress.progress;
            if progress > told {
                told = progress;
                self.reply(retained(topic.to_owned(), command::executing(progress)));
            }
        }
        self.ask(Request::ScanStatus, json!({})).await
    }

    /// Publishes a picture of the camera, and tells where.
    pub async fn snapshot(&self, topics: &Topics, id: CameraId) -> Result<Value, Refusal> {
        let site = &self.context.site;
        let picture = match perform(&self.context, Request::Snapshot(id), json!({})).await {
            Ok(Given::Bytes(picture)) => picture,
            Ok(_) => {
                return Err(Refusal::new(
                    "internal",
                    "there is no picture in the answer",
                ));
            }
            Err(problem) => return Err(refusal(problem)),
        };
        let bytes = picture.len();
        if bytes > PICTURE_BYTES_MAX {
            let reason = format!(
                "the picture has {bytes} bytes, more than the {PICTURE_BYTES_MAX} that are published"
            );
            return Err(Refusal::new("too_large", reason));
        }
        let gone = || Refusal::new("unknown_camera", "the camera was removed meanwhile");
        let uid = site.look(id, |entry| entry.camera.uid).ok_or_else(gone)?;
        let topic = topics.camera(uid, "snapshot");
        self.reply(Message {
            topic: topic.clone(),
            payload: picture,
            retain: true,
            content: Content::Jpeg,
        });
        Ok(json!({"topic": topic, "bytes": bytes}))
    }

    /// Publishes a picture of each of these cameras, one after the other, each when the one before has
    /// left.
    pub async fn pictures(&self, topics: &Topics, cameras: Vec<CameraId>) {
        for id in cameras {
            if let Err(refusal) = self.snapshot(topics, id).await {
                tracing::debug!(camera = id.0, "no picture: {}", refusal.reason);
            }
            while !lock(&self.replies).is_empty() {
                tokio::time::sleep(PICTURE_PAUSE).await;
            }
        }
    }
}

fn interrupted() -> Refusal {
    Refusal::new(
        "interrupted",
        "the gateway was restarted while this ran; look at what came of it, and ask again with another id",
    )
}

pub(super) fn refusal(problem: Problem) -> Refusal {
    let errors = problem.errors.iter().skip(1);
    let more: Vec<String> = errors
        .map(|e| format!("{}: {}", e.field, e.message))
        .collect();
    let reason = match more.is_empty() {
        true => problem.detail,
        false => format!("{}; {}", problem.detail, more.join("; ")),
    };
    Refusal::new(problem.code, reason)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
