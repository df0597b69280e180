//! Create, read, replace, delete; detection of what was stored without a URL; pictures.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::entry::Entry;
use super::records::{default_name, is_other_connection, new_record, refuse_duplicate, replaced};
use super::views::{CameraView, HealthView, ReconnectionView, StatusView};
use super::{CameraDraft, Site, SiteError, lock};
use crate::brake::now;
use crate::detect::{DetectRequest, Detection};
use crate::model::{
    Camera, CameraId, CameraSecrets, ConnectionType, Credentials, Event, EventKind, Grade,
    StreamRole,
};
use crate::probe::{Depth, OnvifAccess, Target, Trust};

/// A picture this young is given again.
pub(super) const PICTURE_AGE_MAX: Duration = Duration::from_secs(2);
/// Pictures that are kept, all together, bytes.
pub(super) const PICTURES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Time for a detection that nobody waits at a terminal for.
const DETECT_TIMEOUT_MS: u32 = 30_000;

impl Site {
    /// Puts stored cameras back at start, with the state they were in.
    pub fn restore(&self, entries: Vec<Entry>) {
        let mut cameras = lock(&self.cameras);
        cameras.extend(entries.into_iter().map(|entry| (entry.camera.id, entry)));
    }

    /// Cameras by id, ascending.
    pub fn cameras(&self) -> Vec<CameraView> {
        lock(&self.cameras).values().map(Entry::view).collect()
    }

    pub fn camera(&self, id: CameraId) -> Option<CameraView> {
        lock(&self.cameras).get(&id).map(Entry::view)
    }

    pub fn camera_by_uid(&self, uid: Uuid) -> Option<CameraView> {
        let cameras = lock(&self.cameras);
        let found = cameras.values().find(|e| e.camera.uid == uid);
        found.map(Entry::view)
    }

    /// The stored camera that this draft would be a duplicate of.
    pub fn twin_of(&self, draft: &CameraDraft) -> Option<CameraId> {
        match refuse_duplicate(&lock(&self.cameras), draft, None) {
            Err(SiteError::Duplicate(id)) => Some(id),
            _ => None,
        }
    }

    /// For an export only.
    pub fn cameras_with_secrets(&self) -> Vec<(CameraView, CameraSecrets)> {
        let cameras = lock(&self.cameras);
        let both = |e: &Entry| (e.view(), e.secrets.clone());
        cameras.values().map(both).collect()
    }

    pub fn camera_ids(&self) -> Vec<CameraId> {
        lock(&self.cameras).keys().copied().collect()
    }

    /// Health of every camera, by id, ascending.
    pub fn health(&self) -> Vec<HealthView> {
        lock(&self.cameras).values().map(Entry::health).collect()
    }

    pub fn reconnection(&self, id: CameraId) -> Result<ReconnectionView, SiteError> {
        let settings = self.settings();
        let cameras = lock(&self.cameras);
        let entry = cameras.get(&id).ok_or(SiteError::UnknownCamera(id))?;
        Ok(entry.reconnection(settings.rules(&entry.camera).backoff.max_attempts))
    }

    pub fn status(&self) -> StatusView {
        let cameras = lock(&self.cameras);
        let mut status = StatusView::default();
        let (mut uptime_sum, mut uptime_count) = (0.0, 0_u32);
        for entry in cameras.values() {
            if !entry.camera.enabled {
                status.disabled_cameras += 1;
                continue;
            }
            status.total_cameras += 1;
            match entry.watch.shown_grade() {
                None => status.cameras_unknown += 1,
                Some(Grade::Offline) => status.cameras_offline += 1,
                Some(Grade::Poor) => status.cameras_poor += 1,
                Some(Grade::Fair) => status.cameras_fair += 1,
                Some(Grade::Good) => status.cameras_good += 1,
                Some(Grade::Excellent) => status.cameras_excellent += 1,
            }
            if let Some(uptime) = entry.totals().uptime_percentage() {
                uptime_sum += uptime;
                uptime_count += 1;
            }
        }
        status.offline_cameras = status.cameras_offline;
        status.online_cameras =
            status.total_cameras - status.cameras_offline - status.cameras_unknown;
        status.average_uptime = (uptime_count > 0)
            .then(|| (uptime_sum * 100.0 / f64::from(uptime_count)).round() / 100.0);
        status
    }

    /// Stores a new camera. With no `primary_stream_url` a detection starts in the background;
    /// `wait` waits for it.
    pub async fn create_camera(
        self: &Arc<Self>,
        draft: CameraDraft,
        wait: bool,
    ) -> Result<CameraView, SiteError> {
        let needs_detection = needs_detection(&draft);
        let id = self.insert(draft, None).await?;
        if needs_detection {
            let detection = self.spawn_detection(id);
            if wait {
                let _ = detection.await;
            }
        }
        self.camera(id).ok_or(SiteError::UnknownCamera(id))
    }

    /// Stores a new camera; `tls_pin` is the certificate that it was seen with.
    ///
    /// # Errors
    /// A duplicate, or the store's.
    pub(super) async fn insert(
        &self,
        draft: CameraDraft,
        tls_pin: Option<String>,
    ) -> Result<CameraId, SiteError> {
        refuse_duplicate(&lock(&self.cameras), &draft, None)?;
        let id = CameraId(self.next_camera_id.fetch_add(1, Ordering::Relaxed));
        let (mut camera, secrets) = new_record(id, draft, now());
        camera.tls_pin = tls_pin;
        self.store.put_camera(&camera, &secrets).await?;
        tracing::info!(camera = id.0, name = camera.name, "camera added");
        self.remember(vec![about(
            &camera,
            EventKind::CameraAdded,
            format!("{} was added", camera.name),
        )]);
        lock(&self.cameras).insert(id, Entry::new(camera, secrets));
        self.replan(id);
        Ok(id)
    }

    /// Replaces a camera's writable fields. `revision` is the caller's `If-Match`.
    pub async fn update_camera(
        self: &Arc<Self>,
        id: CameraId,
        draft: CameraDraft,
        revision: Option<u64>,
    ) -> Result<CameraView, SiteError> {
        let needs_detection = needs_detection(&draft);
        let (camera, secrets) = {
            let cameras = lock(&self.cameras);
            let before = cameras.get(&id).ok_or(SiteError::UnknownCamera(id))?;
            refuse_stale(before, revision)?;
            refuse_duplicate(&cameras, &draft, Some(id))?;
            replaced(before, draft, now())
        };
        self.store.put_camera(&camera, &secrets).await?;
        {
            let mut cameras = lock(&self.cameras);
            let entry = cameras.get_mut(&id).ok_or(SiteError::UnknownCamera(id))?;
            entry.credit(now());
            let other = is_other_connection(entry, &camera, &secrets);
            let switched = entry.camera.enabled != camera.enabled;
            let identity = |c: &Camera| {
                (
                    c.mac_address.clone(),
                    c.serial_number.clone(),
                    c.ip_address.clone(),
                )
            };
            if identity(&entry.camera) != identity(&camera) {
                entry.displaced = None;
            }
            entry.camera = camera;
            entry.secrets = secrets;
            if switched {
                entry.watch.forget_state();
            } else if other {
                entry.watch.settings_changed();
                entry.by_hand = true;
            }
        }
        self.remember_state(id);
        self.replan(id);
        if needs_detection {
            self.spawn_detection(id);
        }
        self.camera(id).ok_or(SiteError::UnknownCamera(id))
    }

    /// Deletes a camera and its secrets; its id is never used again. The channels of a recorder stay, as
    /// cameras of their own.
    pub async fn delete_camera(
        &self,
        id: CameraId,
        revision: Option<u64>,
    ) -> Result<(), SiteError> {
        let (uid, channels) = {
            let cameras = lock(&self.cameras);
            let entry = cameras.get(&id).ok_or(SiteError::UnknownCamera(id))?;
            refuse_stale(entry, revision)?;
            let channels = cameras.values().map(|entry| &entry.camera);
            let channels = channels.filter(|camera| camera.nvr_id == Some(id));
            (entry.camera.uid, channels.map(on_its_own).collect())
        };
        self.store.delete_camera(id, uid, channels).await?;
        let entry = {
            let mut cameras = lock(&self.cameras);
            for entry in cameras.values_mut().filter(|e| e.camera.nvr_id == Some(id)) {
                entry.camera = on_its_own(&entry.camera);
            }
            cameras.remove(&id)
        };
        let Some(entry) = entry else {
            return Ok(());
        };
        self.forget_reports(id);
        self.pictures.forget(id);
        self.channel_lists.forget(id);
        self.motors.forget(id);
        lock(&self.motor_ways).remove(&id);
        tracing::info!(camera = id.0, name = entry.camera.name, "camera removed");
        let message = format!("{} was removed", entry.camera.name);
        self.remember(vec![about(
            &entry.camera,
            EventKind::CameraRemoved,
            message,
        )]);
        self.replan(id);
        Ok(())
    }

    /// A JPEG, at most two seconds old. Callers at the same time share one fetch.
    pub async fn snapshot(self: &Arc<Self>, id: CameraId) -> Result<Bytes, SiteError> {
        let (target, errand) = self.picture_target(id)?;
        let fetch = self.brake.fetch_jpeg(target, errand);
        let jpeg = self.pictures.get(id, fetch).await?;
        self.forget_pictures_later();
        Ok(jpeg)
    }

    /// Pictures are large: none outlives its time because nobody asks for another.
    fn forget_pictures_later(self: &Arc<Self>) {
        let site = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(site.pictures.age_max()) => site.pictures.evict(),
                () = site.stop.cancelled() => {}
            }
        });
    }

    fn picture_target(&self, id: CameraId) -> Result<(Target, crate::brake::Errand), SiteError> {
        let settings = self.settings();
        let cameras = lock(&self.cameras);
        let entry = cameras.get(&id).ok_or(SiteError::UnknownCamera(id))?;
        if !entry.camera.enabled {
            return Err(SiteError::Disabled(id));
        }
        if let Some(error) = entry.displaced_error() {
            return Err(error.into());
        }
        let camera = &entry.camera;
        let source = camera.picture_url();
        let url = source.ok_or(SiteError::NoSnapshotSource(id))?.clone();
        let target = Target {
            url,
            role: StreamRole::Snapshot,
            login: entry.login().filter(|_| !entry.watch.login_refused),
            cleartext_login: true,
            onvif: OnvifAccess::default(),
            depth: Depth::Frame,
            limits: settings.limits(camera),
            trust: Trust::FirstUse,
            networks: settings.networks.clone(),
            gate: Some(self.gate.clone()),
        };
        let manufacturer = camera.manufacturer.clone();
        drop(cameras);
        Ok((target, self.errand(manufacturer.as_deref(), false)))
    }

    fn spawn_detection(self: &Arc<Self>, id: CameraId) -> tokio::task::JoinHandle<()> {
        let kind = lock(&self.cameras)
            .get(&id)
            .and_then(|entry| entry.camera.connection_type);
        match kind {
            Some(ConnectionType::Nvr) => self.tasks.spawn(self.clone().detect_recorder(id)),
            _ => self.tasks.spawn(self.clone().detect_stored(id)),
        }
    }

    /// Works out how to connect to a stored camera and writes that into its record.
    async fn detect_stored(self: Arc<Self>, id: CameraId) {
        // An import may bring a thousand of them.
        let _slot = self.detections.acquire().await;
        let Some(request) = self.begin_detection(id) else {
            return;
        };
        let detection = self.detector().detect(&request).await;
        let found = self.end_detection(id, &detection);
        let Some((camera, secrets)) = found else {
            return;
        };
        if let Err(error) = self.store.put_camera(&camera, &secrets).await {
            tracing::error!(
                camera = id.0,
                "what was detected could not be stored: {error}"
            );
        }
        self.replan(id);
    }

    fn begin_detection(&self, id: CameraId) -> Option<DetectRequest> {
        let mut cameras = lock(&self.cameras);
        let entry = cameras.get_mut(&id).filter(|e| !e.detecting)?;
        let address = entry.camera.ip_address.as_deref()?;
        let (ip, zone) = address
            .split_once('%')
            .map_or((address, None), |(a, z)| (a, Some(z)));
        let request = DetectRequest {
            ip: ip.parse().ok()?,
            zone: zone.map(str::to_owned),
            credentials: entry.login().into_iter().collect(),
            onvif_login: entry.onvif_login(),
            manufacturer: entry.camera.manufacturer.clone(),
            ports: entry.camera.port.into_iter().collect(),
            methods: entry.camera.connection_type.into_iter().collect(),
            timeout_ms: DETECT_TIMEOUT_MS,
            channel: entry.camera.channel.unwrap_or(1),
            cleartext_login: true,
        };
        entry.detecting = true;
        Some(request)
    }

    /// Writes a detection's result into the entry; returns the record to store.
    fn end_detection(
        &self,
        id: CameraId,
        detection: &Detection,
    ) -> Option<(Camera, CameraSecrets)> {
        let mut cameras = lock(&self.cameras);
        let entry = cameras.get_mut(&id)?;
        entry.detecting = false;
        if entry.camera.primary_stream_url.is_some() {
            return None; // the operator was faster
        }
        let report = &detection.report;
        let Some(winner) = &detection.winner else {
            let hint = report.hint.clone().unwrap_or_default();
            let last = report
                .all_results
                .iter()
                .rev()
                .find_map(|r| r.error.as_ref());
            entry.watch.cause = last.map(|e| e.code);
            entry.watch.last_error_message = Some(hint.clone());
            tracing::warn!(
                camera = id.0,
                name = entry.camera.name,
                "camera not detected: {hint}"
            );
            let event = about(&entry.camera, EventKind::DetectFailed, hint);
            drop(cameras);
            self.remember(vec![event]);
            return None;
        };
        let had_default_name = entry.camera.name == default_name(&entry.camera);
        apply(&mut entry.camera, detection);
        let device = &report.device;
        if let (true, Some(maker), Some(model)) =
            (had_default_name, &device.manufacturer, &entry.camera.model)
        {
            entry.camera.name = format!("{maker} {model}");
        }
        if let Some(Credentials { username, password }) = &detection.login {
            entry.camera.username = Some(username.clone());
            entry.secrets.password = Some(password.clone());
        }
        if let Some(Credentials { username, password }) = &detection.onvif_login {
            entry.camera.onvif_username = Some(username.clone());
            entry.secrets.onvif_password = Some(password.clone());
        }
        entry.camera.revision += 1;
        entry.camera.updated_at = now();
        entry.watch.settings_changed();
        tracing::info!(
            camera = id.0,
            name = entry.camera.name,
            method = winner.connection_type.as_str(),
            "camera detected: {}",
            report.reason.as_deref().unwrap_or_default()
        );
        let message = format!(
            "{} is reached by {}",
            entry.camera.name, winner.connection_type
        );
        let event = about(&entry.camera, EventKind::Detected, message);
        let record = (entry.camera.clone(), entry.secrets.clone());
        drop(cameras);
        self.remember(vec![event]);
        Some(record)
    }

    /// Stores a record that a check changed, without making anyone wait.
    pub(super) fn save_later(self: &Site, id: CameraId) {
        let record = lock(&self.cameras)
            .get(&id)
            .map(|e| (e.camera.clone(), e.secrets.clone()));
        let Some((camera, secrets)) = record else {
            return;
        };
        let store = self.store.clone();
        self.tasks.spawn(async move {
            if let Err(error) = store.put_camera(&camera, &secrets).await {
                tracing::error!(
                    camera = camera.id.0,
                    "the camera's record could not be stored: {error}"
                );
            }
        });
    }
}

/// It is not said how to reach it, and it can be reached.
/// A channel whose recorder is gone.
fn on_its_own(channel: &Camera) -> Camera {
    Camera {
        nvr_id: None,
        revision: channel.revision + 1,
        updated_at: now(),
        ..channel.clone()
    }
}

fn needs_detection(draft: &CameraDraft) -> bool {
    draft.primary_stream_url.is_none() && draft.connection_type != Some(ConnectionType::Webhook)
}

fn apply(camera: &mut Camera, detection: &Detection) {
    let Some(winner) = &detection.winner else {
        return;
    };
    camera.connection_type = Some(winner.connection_type);
    camera.port = Some(winner.url.port);
    camera.primary_stream_url = Some(winner.url.clone());
    camera.secondary_stream_url = camera
        .secondary_stream_url
        .take()
        .or(detection.secondary.clone());
    camera.snapshot_url = camera.snapshot_url.take().or(detection.snapshot.clone());
    let device = &detection.report.device;
    let fill = |slot: &mut Option<String>, found: &Option<String>| {
        if slot.is_none() {
            slot.clone_from(found);
        }
    };
    fill(&mut camera.manufacturer, &device.manufacturer_id);
    fill(&mut camera.model, &device.model);
    fill(&mut camera.firmware_version, &device.firmware_version);
    fill(&mut camera.serial_number, &device.serial_number);
    fill(&mut camera.mac_address, &device.mac);
    if let Some(certificate) = &winner.certificate {
        camera.tls_pin = Some(certificate.sha256.clone());
    }
}

fn refuse_stale(entry: &Entry, revision: Option<u64>) -> Result<(), SiteError> {
    match revision {
        Some(revision) if revision != entry.camera.revision => Err(SiteError::Stale {
            current: entry.camera.revision,
        }),
        _ => Ok(()),
    }
}

/// An event about a camera that is no health transition.
pub(super) fn about(camera: &Camera, kind: EventKind, message: String) -> Event {
    Event {
        id: Uuid::now_v7(),
        time: now(),
        kind,
        camera_id: Some(camera.id),
        camera_name: Some(camera.name.clone()),
        cause: None,
        duration_s: None,
        message,
        detail: None,
    }
}
