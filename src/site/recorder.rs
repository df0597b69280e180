//! Recorders: what channels they have, and channels as cameras.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::cameras::about;
use super::{CameraDraft, PasswordChange, Site, SiteError, lock};
use crate::brake::now;
use crate::detect::{ChannelList, ChannelsRequest, ListedChannel};
use crate::model::{
    Camera, CameraId, ChannelSource, ChannelState, ConnectionType, EventKind, Scheme, StreamRole,
    StreamUrl,
};
use crate::probe::Trust;

/// Time for one recorder: many channels, each asked for by itself in the worst case.
const LIST_TIMEOUT: Duration = Duration::from_secs(45);
/// A list this young is given again.
pub(super) const LIST_AGE_MAX: Duration = Duration::from_secs(10);
/// Lists that are kept, all together, channels.
pub(super) const LISTED_CHANNELS_MAX: usize = 4096;

/// `GET /api/cameras/{id}/channels`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelsView {
    pub nvr_id: CameraId,
    pub source: ChannelSource,
    pub channels: Vec<ChannelView>,
}

/// One channel of a recorder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelView {
    pub channel: u32,
    pub name: Option<String>,
    pub state: ChannelState,
    pub model: Option<String>,
    /// Of the camera behind it.
    pub ip_address: Option<String>,
    pub streams: Vec<ChannelStream>,
    /// With `***` where its secret is.
    pub snapshot_url: Option<String>,
    /// The stored camera that this channel is.
    pub camera_id: Option<CameraId>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelStream {
    /// `main`, `sub`, ...
    pub stream: &'static str,
    /// With `***` for the password.
    pub url: String,
}

/// What became of one chosen channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelImport {
    Imported,
    AlreadyStored,
    /// The recorder has no such channel.
    UnknownChannel,
    /// Nothing is connected to it.
    Empty,
    /// There is no known way to its pictures, or the store refused it.
    Failed,
}

/// One row of the answer to an import.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelImportRow {
    pub channel: u32,
    pub status: ChannelImport,
    pub camera_id: Option<CameraId>,
    pub name: Option<String>,
    /// One sentence for a person.
    pub reason: Option<String>,
}

/// The answer to an import, in the order of the request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelImportReport {
    pub nvr_id: CameraId,
    pub total: usize,
    pub imported: usize,
    pub rows: Vec<ChannelImportRow>,
}

impl Site {
    /// The channels of a recorder, asked for now. Callers at the same time share one list.
    ///
    /// # Errors
    /// No such camera, one without an address, or why the recorder tells nothing.
    pub async fn channels(&self, id: CameraId) -> Result<ChannelsView, SiteError> {
        let (camera, list) = self.list_channels(id).await?;
        Ok(self.channels_view(&camera, &list))
    }

    /// Stores these channels as cameras of their own, which belong to the recorder and share its brake.
    /// A dead channel may be imported: it is watched, and shown as offline.
    ///
    /// # Errors
    /// As [`Site::channels`].
    pub async fn import_channels(
        self: &Arc<Self>,
        id: CameraId,
        numbers: Vec<u32>,
    ) -> Result<ChannelImportReport, SiteError> {
        let (camera, list) = self.list_channels(id).await?;
        let mut rows = Vec::with_capacity(numbers.len());
        for number in numbers {
            let found = list.channels.iter().find(|c| c.facts.number == number);
            rows.push(match found {
                Some(channel) => self.import_channel(&camera, channel).await,
                None => {
                    let reason = format!("{} has no channel {number}", camera.name);
                    row(number, ChannelImport::UnknownChannel, Some(reason))
                }
            });
        }
        let is_new = |row: &&ChannelImportRow| row.status == ChannelImport::Imported;
        let imported = rows.iter().filter(is_new).count();
        tracing::info!(camera = id.0, imported, "channels of a recorder imported");
        Ok(ChannelImportReport {
            nvr_id: id,
            total: rows.len(),
            imported,
            rows,
        })
    }

    async fn import_channel(&self, recorder: &Camera, channel: &ListedChannel) -> ChannelImportRow {
        let number = channel.facts.number;
        if channel.facts.state == ChannelState::Empty {
            let reason = format!("nothing is connected to channel {number}");
            return row(number, ChannelImport::Empty, Some(reason));
        }
        if channel.streams.is_empty() {
            let reason = "no way to its pictures is known; set the recorder's manufacturer";
            return row(number, ChannelImport::Failed, Some(reason.to_owned()));
        }
        if let Some(known) = self.camera_of_channel(recorder.id, channel) {
            let reason = format!("it is camera {known} already");
            return ChannelImportRow {
                camera_id: Some(known),
                ..row(number, ChannelImport::AlreadyStored, Some(reason))
            };
        }
        let draft = {
            let cameras = lock(&self.cameras);
            cameras.get(&recorder.id).map(|entry| CameraDraft {
                password: set(entry.secrets.password.clone()),
                ..draft(recorder, channel)
            })
        };
        let Some(draft) = draft else {
            let reason = "the recorder was removed meanwhile".to_owned();
            return row(number, ChannelImport::Failed, Some(reason));
        };
        let name = draft.name.clone();
        match self.insert(draft, None).await {
            Ok(id) => ChannelImportRow {
                camera_id: Some(id),
                name: Some(name),
                ..row(number, ChannelImport::Imported, None)
            },
            Err(SiteError::Duplicate(id)) => ChannelImportRow {
                camera_id: Some(id),
                ..row(
                    number,
                    ChannelImport::AlreadyStored,
                    Some(format!("it is camera {id} already")),
                )
            },
            Err(error) => row(number, ChannelImport::Failed, Some(error.to_string())),
        }
    }

    /// Works out how a recorder that was stored without a URL is asked, and writes that into its record.
    pub(super) async fn detect_recorder(self: Arc<Self>, id: CameraId) {
        let _slot = self.detections.acquire().await;
        let listed = self.list_channels(id).await;
        let (record, event) = {
            let mut cameras = lock(&self.cameras);
            let Some(entry) = cameras.get_mut(&id) else {
                return;
            };
            match listed {
                // The operator was faster.
                Ok(_) if entry.camera.primary_stream_url.is_some() => return,
                Ok((_, list)) => {
                    entry.camera.port = Some(list.url.port);
                    entry.camera.primary_stream_url = Some(list.url.clone());
                    if entry.camera.manufacturer.is_none() {
                        entry.camera.manufacturer = list.source.maker_id().map(str::to_owned);
                    }
                    entry.camera.revision += 1;
                    entry.camera.updated_at = now();
                    entry.watch.settings_changed();
                    let message = format!(
                        "{} has {} channels, listed by {}",
                        entry.camera.name,
                        list.channels.len(),
                        list.source.as_str()
                    );
                    tracing::info!(camera = id.0, "recorder detected: {message}");
                    let event = about(&entry.camera, EventKind::Detected, message);
                    (Some((entry.camera.clone(), entry.secrets.clone())), event)
                }
                Err(error) => {
                    let message = error.to_string();
                    if let SiteError::Probe(error) = &error {
                        entry.watch.cause = Some(error.code);
                    }
                    entry.watch.last_error_message = Some(message.clone());
                    tracing::warn!(camera = id.0, "recorder not detected: {message}");
                    (None, about(&entry.camera, EventKind::DetectFailed, message))
                }
            }
        };
        self.remember(vec![event]);
        let Some((camera, secrets)) = record else {
            return;
        };
        if let Err(error) = self.store.put_camera(&camera, &secrets).await {
            tracing::error!(camera = id.0, "the recorder could not be stored: {error}");
        }
        self.replan(id);
    }

    async fn list_channels(&self, id: CameraId) -> Result<(Camera, Arc<ChannelList>), SiteError> {
        let (camera, request) = {
            let cameras = lock(&self.cameras);
            let entry = cameras.get(&id).ok_or(SiteError::UnknownCamera(id))?;
            if let Some(error) = entry.displaced_error() {
                return Err(error.into());
            }
            let usable = !entry.watch.login_refused;
            let camera = entry.camera.clone();
            let known = camera.primary_stream_url.clone();
            let known = known.filter(|url| matches!(url.scheme, Scheme::Nvr | Scheme::Onvif));
            let host = camera.ip_address.clone().or_else(|| {
                let url = camera.primary_stream_url.as_ref();
                url.map(|url| url.host.clone()).filter(|h| !h.is_empty())
            });
            let request = ChannelsRequest {
                host: host.ok_or(SiteError::NotARecorder(id))?,
                port: camera.port.filter(|_| camera.primary_stream_url.is_none()),
                known,
                login: entry.login().filter(|_| usable),
                onvif_login: entry.onvif_login().filter(|_| usable),
                manufacturer: camera.manufacturer.clone(),
                // The operator gave this recorder's login for this recorder.
                cleartext_login: true,
                trust: match &camera.tls_pin {
                    Some(pin) => Trust::Pinned(pin.clone()),
                    None => Trust::FirstUse,
                },
                timeout: LIST_TIMEOUT,
            };
            (camera, request)
        };
        let detector = self.detector();
        let list = self
            .channel_lists
            .get(id, async {
                detector.channels(&request).await.map(Arc::new)
            })
            .await;
        list.map(|list| (camera, list)).map_err(SiteError::from)
    }

    fn channels_view(&self, camera: &Camera, list: &ChannelList) -> ChannelsView {
        let has_password = lock(&self.cameras)
            .get(&camera.id)
            .is_some_and(|entry| entry.secrets.password.is_some());
        let shown = |url: &StreamUrl| url.masked(camera.username.as_deref(), has_password);
        let channel = |channel: &ListedChannel| ChannelView {
            channel: channel.facts.number,
            name: channel.facts.name.clone(),
            state: channel.facts.state,
            model: channel.facts.model.clone(),
            ip_address: channel.facts.ip_address.clone(),
            streams: channel
                .streams
                .iter()
                .map(|(role, url)| ChannelStream {
                    stream: role.as_str(),
                    url: shown(url),
                })
                .collect(),
            snapshot_url: channel.snapshot.as_ref().map(shown),
            camera_id: self.camera_of_channel(camera.id, channel),
        };
        ChannelsView {
            nvr_id: camera.id,
            source: list.source,
            channels: list.channels.iter().map(channel).collect(),
        }
    }

    /// The camera that this channel is stored as: imported from this recorder, or at one of its streams.
    fn camera_of_channel(&self, recorder: CameraId, channel: &ListedChannel) -> Option<CameraId> {
        let cameras = lock(&self.cameras);
        let is_it = |camera: &Camera| {
            let is_imported =
                camera.nvr_id == Some(recorder) && camera.channel == Some(channel.facts.number);
            let stream = camera.primary_stream_url.as_ref();
            let is_at_stream = channel.streams.iter().any(|(_, url)| Some(url) == stream)
                && camera.connection_type != Some(ConnectionType::Nvr);
            is_imported || is_at_stream
        };
        let mut all = cameras.values().map(|entry| &entry.camera);
        all.find(|camera| is_it(camera)).map(|camera| camera.id)
    }
}

fn row(channel: u32, status: ChannelImport, reason: Option<String>) -> ChannelImportRow {
    ChannelImportRow {
        channel,
        status,
        camera_id: None,
        name: None,
        reason,
    }
}

fn set(password: Option<crate::model::Secret>) -> PasswordChange {
    password.map_or(PasswordChange::Clear, PasswordChange::Set)
}

/// A channel as a camera, without its password.
fn draft(recorder: &Camera, channel: &ListedChannel) -> CameraDraft {
    let facts = &channel.facts;
    let main = channel.streams.first().map(|(_, url)| url.clone());
    let number = facts.number;
    CameraDraft {
        name: facts
            .name
            .clone()
            .unwrap_or_else(|| format!("{} channel {number}", recorder.name)),
        enabled: true,
        tags: recorder.tags.clone(),
        manufacturer: recorder.manufacturer.clone(),
        model: facts.model.clone(),
        mac_address: recorder.mac_address.clone(),
        connection_type: main.as_ref().map(StreamUrl::connection_type),
        ip_address: recorder.ip_address.clone(),
        port: main.as_ref().map(|url| url.port),
        secondary_stream_url: channel.stream(StreamRole::Sub).cloned(),
        snapshot_url: channel.snapshot.clone(),
        username: recorder.username.clone(),
        nvr_id: Some(recorder.id),
        channel: Some(number),
        connection_config: recorder.connection_config.clone(),
        primary_stream_url: main,
        ..CameraDraft::default()
    }
}
