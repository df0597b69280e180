//! From addresses to stored cameras: each is detected with the logins that the operator gave, and
//! stored where a picture is proven; every other one is named with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::records::refuse_duplicate;
use super::{BATCH_AT_ONCE, CameraDraft, PasswordChange, Site, SiteError, lock};
use crate::detect::{DetectRequest, Detection, DeviceReport};
use crate::model::{CameraId, ConnectionType, Credentials, ErrorCode};

/// Time for one device.
const DETECT_TIMEOUT_MS: u32 = 30_000;

/// What shall be adopted.
#[derive(Debug, Clone)]
pub struct AdoptRequest {
    pub from: AdoptFrom,
    /// Given by the operator for this site, tried in order; at most four.
    pub credentials: Vec<Credentials>,
    /// Detect, but store nothing.
    pub dry_run: bool,
    /// A password may travel in clear where a device wants it so.
    pub allow_cleartext: bool,
}

/// Where the devices are named.
#[derive(Debug, Clone)]
pub enum AdoptFrom {
    /// Addresses with their zones, none twice.
    Addresses(Vec<(IpAddr, Option<String>)>),
    /// Whatever this scan took for a camera.
    Scan(Uuid),
}

/// What became of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdoptStatus {
    Stored,
    /// A dry run: it would be stored.
    WouldStore,
    AlreadyStored,
    LeftOut,
}

/// Why a device was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// Nothing on it looks like a camera.
    NoCamera,
    Unreachable,
    /// It asks for a login and none was given.
    NeedsCredentials,
    /// Every login that could be tried was refused.
    LoginRefused,
    /// It wants the password in clear.
    NeedsCleartextLogin,
    /// It answers, but no picture came.
    NoPicture,
    /// The store refused it.
    NotStored,
}

/// One row of the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdoptRow {
    pub ip: String,
    pub status: AdoptStatus,
    pub camera_id: Option<CameraId>,
    pub name: Option<String>,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub connection_type: Option<ConnectionType>,
    /// Without the login.
    pub url: Option<String>,
    pub resolution: Option<String>,
    /// Which of the request's logins was accepted.
    pub credential_index: Option<usize>,
    pub code: Option<LeftOut>,
    /// One sentence for a person.
    pub reason: Option<String>,
}

/// The answer to `adopt`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdoptReport {
    pub dry_run: bool,
    pub total: usize,
    pub stored: usize,
    pub already_stored: usize,
    pub left_out: usize,
    pub rows: Vec<AdoptRow>,
}

impl AdoptRow {
    fn new(ip: &str, status: AdoptStatus) -> Self {
        Self {
            ip: ip.to_owned(),
            status,
            camera_id: None,
            name: None,
            manufacturer: None,
            model: None,
            connection_type: None,
            url: None,
            resolution: None,
            credential_index: None,
            code: None,
            reason: None,
        }
    }

    fn already(ip: &str, id: CameraId) -> Self {
        Self {
            camera_id: Some(id),
            reason: Some(format!("it is camera {id} already")),
            ..Self::new(ip, AdoptStatus::AlreadyStored)
        }
    }

    fn left_out(ip: &str, code: LeftOut, reason: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            reason: Some(reason.into()),
            ..Self::new(ip, AdoptStatus::LeftOut)
        }
    }
}

impl AdoptReport {
    fn new(dry_run: bool, rows: Vec<AdoptRow>) -> Self {
        let count = |wanted: &[AdoptStatus]| {
            let counts = |row: &&AdoptRow| wanted.contains(&row.status);
            rows.iter().filter(counts).count()
        };
        Self {
            dry_run,
            total: rows.len(),
            stored: count(&[AdoptStatus::Stored, AdoptStatus::WouldStore]),
            already_stored: count(&[AdoptStatus::AlreadyStored]),
            left_out: count(&[AdoptStatus::LeftOut]),
            rows,
        }
    }
}

impl Site {
    /// Detects the devices, some at a time, and stores those that deliver. Rows come in the order of
    /// the request. Goes on when the caller is gone: logins are used up either way.
    ///
    /// # Errors
    /// The scan is not the one whose results are kept, or still runs.
    pub async fn adopt(self: &Arc<Self>, request: AdoptRequest) -> Result<AdoptReport, SiteError> {
        let devices = match &request.from {
            AdoptFrom::Addresses(list) => list.clone(),
            AdoptFrom::Scan(id) => self.cameras_of_scan(*id)?,
        };
        let request = Arc::new(request);
        let slots = Arc::new(Semaphore::new(BATCH_AT_ONCE));
        let adopt = |(ip, zone): (IpAddr, Option<String>)| {
            let (site, request, slots) = (self.clone(), request.clone(), slots.clone());
            self.tasks.spawn(async move {
                let _slot = slots.acquire().await;
                site.detect_new(ip, zone, &request).await
            })
        };
        let running: Vec<_> = devices.into_iter().map(adopt).collect();
        let mut rows = Vec::with_capacity(running.len());
        for task in running {
            // One after the other: ids and names follow the order of the request.
            match task.await {
                Ok(Ok((host, found))) => {
                    rows.push(self.keep(&host, &found, request.dry_run).await);
                }
                Ok(Err(row)) => rows.push(*row),
                Err(_) => {} // cut off while the gateway stops
            }
        }
        let report = AdoptReport::new(request.dry_run, rows);
        if !request.dry_run {
            tracing::info!(
                stored = report.stored,
                already_stored = report.already_stored,
                left_out = report.left_out,
                "devices adopted"
            );
        }
        Ok(report)
    }

    /// The host with its detection, or the row that says why nothing will be stored.
    async fn detect_new(
        &self,
        ip: IpAddr,
        zone: Option<String>,
        request: &AdoptRequest,
    ) -> Result<(String, Detection), Box<AdoptRow>> {
        let host = match &zone {
            Some(zone) => format!("{ip}%{zone}"),
            None => ip.to_string(),
        };
        if let Some(id) = self.addresses().get(&host) {
            return Err(Box::new(AdoptRow::already(&host, *id)));
        }
        let wanted = DetectRequest {
            ip,
            zone,
            credentials: request.credentials.clone(),
            onvif_login: None,
            manufacturer: None,
            ports: Vec::new(),
            methods: Vec::new(),
            timeout_ms: DETECT_TIMEOUT_MS,
            channel: 1,
            cleartext_login: request.allow_cleartext,
        };
        let mut detection = self.detector().detect(&wanted).await;
        self.add_what_scans_saw(ip, &mut detection.report.device);
        let has_logins = !request.credentials.is_empty();
        match why_left_out(&detection, has_logins) {
            None => Ok((host, detection)),
            Some((code, reason)) => Err(Box::new(AdoptRow {
                manufacturer: detection.report.device.manufacturer,
                model: detection.report.device.model,
                ..AdoptRow::left_out(&host, code, reason)
            })),
        }
    }

    /// What discovery told of the device and the detection did not, ONVIF's scopes first of all.
    fn add_what_scans_saw(&self, ip: IpAddr, device: &mut DeviceReport) {
        let Some(seen) = self.seen_at(ip) else { return };
        if device.mac.is_some() && seen.mac.is_some() && device.mac != seen.mac {
            return;
        }
        let fill = |slot: &mut Option<String>, found: Option<String>| {
            if slot.is_none() {
                *slot = found;
            }
        };
        if device.manufacturer_id.is_none() && seen.manufacturer_id.is_some() {
            device.manufacturer = seen.manufacturer;
            device.manufacturer_id = seen.manufacturer_id;
        }
        fill(&mut device.model, seen.model);
        fill(&mut device.firmware_version, seen.firmware_version);
        fill(&mut device.serial_number, seen.serial_number);
        fill(&mut device.mac, seen.mac);
    }

    /// Stores one detected camera, unless it is there under another address.
    async fn keep(&self, host: &str, detection: &Detection, dry_run: bool) -> AdoptRow {
        let device = &detection.report.device;
        if let Some(id) = device
            .mac
            .as_deref()
            .and_then(|mac| self.camera_with_mac(mac))
        {
            return AdoptRow::already(host, id);
        }
        let draft = self.draft(host, detection);
        let winner = detection.winner.as_ref();
        let mut row = AdoptRow {
            name: Some(draft.name.clone()),
            manufacturer: device.manufacturer.clone(),
            model: device.model.clone(),
            connection_type: draft.connection_type,
            url: draft.primary_stream_url.as_ref().map(ToString::to_string),
            resolution: winner.and_then(|w| w.media.resolution()),
            credential_index: detection.report.credential_index,
            reason: detection.report.reason.clone(),
            ..AdoptRow::new(host, AdoptStatus::WouldStore)
        };
        if dry_run {
            return match refuse_duplicate(&lock(&self.cameras), &draft, None) {
                Err(SiteError::Duplicate(id)) => AdoptRow::already(host, id),
                _ => row,
            };
        }
        let pin = winner.and_then(|w| w.certificate.as_ref());
        match self.insert(draft, pin.map(|c| c.sha256.clone())).await {
            Ok(id) => {
                row.status = AdoptStatus::Stored;
                row.camera_id = Some(id);
                row
            }
            Err(SiteError::Duplicate(id)) => AdoptRow::already(host, id),
            Err(error) => AdoptRow::left_out(host, LeftOut::NotStored, error.to_string()),
        }
    }

    fn draft(&self, host: &str, detection: &Detection) -> CameraDraft {
        let device = &detection.report.device;
        let winner = detection.winner.as_ref();
        let onvif = detection.onvif_login.as_ref();
        let set = |login: &Credentials| PasswordChange::Set(login.password.clone());
        CameraDraft {
            name: self.free_name(
                device.manufacturer.as_deref(),
                device.model.as_deref(),
                host,
            ),
            enabled: true,
            manufacturer: device.manufacturer_id.clone(),
            model: device.model.clone(),
            firmware_version: device.firmware_version.clone(),
            serial_number: device.serial_number.clone(),
            mac_address: device.mac.clone(),
            connection_type: winner.map(|w| w.connection_type),
            primary_stream_url: winner.map(|w| w.url.clone()),
            secondary_stream_url: detection.secondary.clone(),
            snapshot_url: detection.snapshot.clone(),
            ip_address: Some(host.to_owned()),
            port: winner.map(|w| w.url.port),
            username: detection.login.as_ref().map(|l| l.username.clone()),
            password: detection.login.as_ref().map(set).unwrap_or_default(),
            onvif_username: onvif.map(|l| l.username.clone()),
            onvif_password: onvif.map(set).unwrap_or_default(),
            ..CameraDraft::default()
        }
    }

    /// Maker and model; with the address where that name is taken, or the model unknown.
    fn free_name(&self, maker: Option<&str>, model: Option<&str>, host: &str) -> String {
        let known: Vec<&str> = maker.into_iter().chain(model).collect();
        let plain = known.join(" ");
        let cameras = lock(&self.cameras);
        let is_taken = cameras.values().any(|e| e.camera.name == plain);
        match (plain.is_empty(), model.is_none() || is_taken) {
            (true, _) => host.to_owned(),
            (false, true) => format!("{plain} {host}"),
            (false, false) => plain,
        }
    }

    /// Devices that the scan took for cameras and that can be reached, by address.
    fn cameras_of_scan(&self, id: Uuid) -> Result<Vec<(IpAddr, Option<String>)>, SiteError> {
        let view = self.scan_view();
        let invalid = |message: String| SiteError::Invalid {
            field: "scan_id",
            message,
        };
        if view.progress.scan_id != Some(id) {
            return Err(invalid(format!(
                "the results of scan {id} are not kept: only the last scan's are"
            )));
        }
        if view.progress.status == super::ScanStatus::Scanning {
            return Err(SiteError::ScanRunning);
        }
        let devices = view.devices.into_iter();
        let cameras = devices.filter(|d| d.is_camera && !d.off_subnet);
        Ok(one_address_each(cameras.map(|d| (d.mac, d.ip))))
    }

    fn camera_with_mac(&self, mac: &str) -> Option<CameraId> {
        let cameras = lock(&self.cameras);
        let has_mac = |c: &crate::model::Camera| c.mac_address.as_deref() == Some(mac);
        let found = cameras.values().find(|e| has_mac(&e.camera));
        found.map(|e| e.camera.id)
    }

    /// Stored cameras by their address.
    pub(super) fn addresses(&self) -> BTreeMap<String, CameraId> {
        let cameras = lock(&self.cameras);
        cameras
            .values()
            .filter_map(|e| Some((e.camera.ip_address.clone()?, e.camera.id)))
            .collect()
    }
}

/// A device with several addresses is asked at the first: a login must not reach it twice.
fn one_address_each(
    devices: impl Iterator<Item = (Option<String>, IpAddr)>,
) -> Vec<(IpAddr, Option<String>)> {
    let mut known = BTreeSet::new();
    devices
        .filter(|(mac, _)| mac.as_ref().is_none_or(|mac| known.insert(mac.clone())))
        .map(|(_, ip)| (ip, None))
        .collect()
}

/// `None`: there is a picture.
fn why_left_out(detection: &Detection, has_logins: bool) -> Option<(LeftOut, String)> {
    if detection.winner.is_some() {
        return None;
    }
    let report = &detection.report;
    let has = |code: ErrorCode| {
        let errors = report.all_results.iter().filter_map(|r| r.error.as_ref());
        errors.into_iter().any(|e| e.code == code)
    };
    let code = if detection.needs_cleartext_login {
        let reason = "it wants the password in clear, and none was sent; name it singly, or allow it with allow_cleartext";
        return Some((LeftOut::NeedsCleartextLogin, reason.to_owned()));
    } else if has(ErrorCode::AuthFailed) || (has(ErrorCode::AuthRequired) && has_logins) {
        LeftOut::LoginRefused
    } else if has(ErrorCode::AuthRequired) {
        LeftOut::NeedsCredentials
    } else if !detection.answered {
        LeftOut::Unreachable
    } else if report.device.manufacturer.is_none() && !has(ErrorCode::NoFrame) {
        LeftOut::NoCamera
    } else {
        LeftOut::NoPicture
    };
    let hint = report.hint.clone();
    Some((
        code,
        hint.unwrap_or_else(|| "no way to connect was found".to_owned()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_with_two_addresses_is_asked_once() {
        let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
        let mac = |last: u8| Some(format!("44:19:b6:00:00:0{last}"));
        let devices = [
            (mac(1), ip(1)),
            (mac(2), ip(2)),
            (mac(1), ip(3)),
            (None, ip(4)),
            (None, ip(5)),
        ];
        let asked: Vec<IpAddr> = one_address_each(devices.into_iter())
            .into_iter()
            .map(|(ip, _)| ip)
            .collect();
        assert_eq!(asked, [ip(1), ip(2), ip(4), ip(5)]);
    }

    #[test]
    fn rows_are_counted() {
        let rows = vec![
            AdoptRow::new("10.0.0.1", AdoptStatus::Stored),
            AdoptRow::already("10.0.0.2", CameraId(7)),
            AdoptRow::left_out("10.0.0.3", LeftOut::NeedsCleartextLogin, "x"),
        ];
        let report = serde_json::to_value(AdoptReport::new(false, rows)).unwrap();
        assert_eq!(
            (
                &report["total"],
                &report["stored"],
                &report["already_stored"],
                &report["left_out"]
            ),
            (&3.into(), &1.into(), &1.into(), &1.into())
        );
        assert_eq!(report["rows"][1]["camera_id"], 7);
        assert_eq!(report["rows"][2]["code"], "needs_cleartext_login");
    }
}
