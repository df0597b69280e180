//! A scan with logins: what the cameras tell once they are asked with one. The scan itself sends none.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::BATCH_AT_ONCE;
use crate::detect::{DetectRequest, Detection, Detector};
use crate::discover::scan::Device;
use crate::model::{Credentials, Scheme};

/// Time for one device.
const DETECT_TIMEOUT_MS: u32 = 15_000;

/// Devices of a scan that are asked with the operator's logins, some at a time. Dropped, it ends at once.
#[derive(Debug)]
pub struct ScanLogins {
    detector: Arc<Detector>,
    /// Tried in order; at most four.
    logins: Vec<Credentials>,
    slots: Arc<Semaphore>,
    running: JoinSet<Device>,
    /// A device with several addresses is asked at the first: a login must not reach it twice.
    asked: BTreeSet<String>,
}

impl ScanLogins {
    pub fn new(detector: Arc<Detector>, logins: Vec<Credentials>) -> Self {
        Self {
            detector,
            logins,
            slots: Arc::new(Semaphore::new(BATCH_AT_ONCE)),
            running: JoinSet::new(),
            asked: BTreeSet::new(),
        }
    }

    /// Asks the device, where it is a camera that can be reached and there is a login.
    pub fn begin(&mut self, device: &Device) {
        let name = device.mac.clone().unwrap_or_else(|| device.ip.to_string());
        let is_due = !self.logins.is_empty() && device.is_camera && !device.off_subnet;
        if !is_due || !self.asked.insert(name) {
            return;
        }
        let (detector, slots) = (self.detector.clone(), self.slots.clone());
        let request = request(device, self.logins.clone());
        let mut device = device.clone();
        self.running.spawn(async move {
            let _slot = slots.acquire().await;
            let detection = detector.detect(&request).await;
            add(&mut device, &detection);
            device
        });
    }

    /// The next device that was asked; `None` where none is left.
    pub async fn next(&mut self) -> Option<Device> {
        loop {
            if let Ok(device) = self.running.join_next().await? {
                return Some(device);
            }
        }
    }
}

fn request(device: &Device, credentials: Vec<Credentials>) -> DetectRequest {
    let is_link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    DetectRequest {
        ip: device.ip,
        zone: device
            .interface
            .clone()
            .filter(|_| is_link_local(device.ip)),
        credentials,
        onvif_login: None,
        manufacturer: None,
        ports: Vec::new(),
        methods: Vec::new(),
        timeout_ms: DETECT_TIMEOUT_MS,
        channel: 1,
        // Nobody named this host singly.
        cleartext_login: false,
    }
}

/// Adds what the device told. What it says behind a login beats what it showed before.
fn add(device: &mut Device, detection: &Detection) {
    let report = &detection.report;
    let told = &report.device;
    let take = |slot: &mut Option<String>, told: &Option<String>| {
        if told.is_some() {
            slot.clone_from(told);
        }
    };
    if told.manufacturer_id.is_some() {
        take(&mut device.manufacturer, &told.manufacturer);
        take(&mut device.manufacturer_id, &told.manufacturer_id);
    }
    take(&mut device.model, &told.model);
    take(&mut device.firmware_version, &told.firmware_version);
    take(&mut device.serial_number, &told.serial_number);
    if let Some(index) = report.credential_index {
        let line = format!("login {} of the request accepted", index + 1);
        device.evidence.push(line);
    }
    let Some(winner) = &detection.winner else {
        let hint = report.hint.as_deref().unwrap_or("no picture came");
        device
            .evidence
            .push(format!("asked with the logins: {hint}"));
        return;
    };
    device.needs_credentials = false;
    device.confidence = 1.0;
    if matches!(winner.url.scheme, Scheme::Rtsp | Scheme::Rtsps) {
        device.rtsp_url = Some(winner.url.to_string());
    }
    if let Some(reason) = &report.reason {
        device.evidence.push(reason.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::DetectReport;

    fn detection() -> Detection {
        Detection {
            report: DetectReport::broken(),
            winner: None,
            secondary: None,
            snapshot: None,
            login: None,
            onvif_login: None,
            needs_cleartext_login: false,
            answered: true,
        }
    }

    #[test]
    fn what_is_told_behind_the_login_is_added_and_the_rest_kept() {
        let mut device = Device::at(IpAddr::from([10, 0, 0, 1]));
        device.model = Some("IPC".to_owned());
        device.serial_number = Some("S1".to_owned());
        device.needs_credentials = true;
        let mut detection = detection();
        detection.report.device.model = Some("DS-2CD2042WD".to_owned());
        detection.report.credential_index = Some(1);
        add(&mut device, &detection);
        assert_eq!(device.model.as_deref(), Some("DS-2CD2042WD"));
        assert_eq!(device.serial_number.as_deref(), Some("S1"));
        assert!(device.needs_credentials, "no picture came");
        assert_eq!(device.evidence[0], "login 2 of the request accepted");
        assert!(device.evidence[1].starts_with("asked with the logins: "));
    }

    #[test]
    fn only_a_link_local_address_has_a_zone() {
        let mut device = Device::at("fe80::1".parse().unwrap());
        device.interface = Some("eth0".to_owned());
        assert_eq!(request(&device, Vec::new()).zone.as_deref(), Some("eth0"));
        device.ip = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(request(&device, Vec::new()).zone, None);
    }

    #[tokio::test]
    async fn only_cameras_that_can_be_reached_are_asked_each_once() {
        let detector = Detector {
            catalogue: Arc::new(crate::vendor::Catalogue::builtin()),
            brake: Arc::new(crate::brake::Brake::for_one_run()),
            gate: None,
            networks: Arc::default(),
            limits: crate::probe::Limits::default(),
        };
        let detector = Arc::new(detector);
        let mut camera = Device::at(IpAddr::from([10, 0, 0, 1]));
        camera.is_camera = true;
        camera.mac = Some("44:19:b6:00:00:01".to_owned());
        let mut elsewhere = camera.clone();
        elsewhere.off_subnet = true;
        let second = Device {
            ip: IpAddr::from([10, 0, 0, 2]),
            ..camera.clone()
        };
        let mut none = ScanLogins::new(detector.clone(), Vec::new());
        none.begin(&camera);
        assert!(none.running.is_empty(), "no login, no question");
        let mut logins = ScanLogins::new(detector, vec![Credentials::new("admin", "x")]);
        logins.begin(&Device::at(IpAddr::from([10, 0, 0, 3])));
        logins.begin(&elsewhere);
        assert!(logins.running.is_empty());
        logins.begin(&camera);
        logins.begin(&second);
        assert_eq!(logins.running.len(), 1);
    }
}
