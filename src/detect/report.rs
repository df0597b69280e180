//! What a detection tells: the shapes of `auto-detect`, `batch-test` and `probe`.

use serde::Serialize;

use crate::model::{
    Codec, ConnectionType, Credentials, DeviceInformation, ErrorCode, Evidence, OnvifFacts,
    OnvifLogin, OnvifProfile, PtzAbilities, Stage, StageTime,
};
use crate::probe::Attempt;

/// One element of `all_results`.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptReport {
    pub success: bool,
    pub connection_type: ConnectionType,
    /// With the login of the same request in clear where it was used.
    pub url: String,
    pub response_time_ms: Option<u32>,
    pub resolution: Option<String>,
    pub fps: Option<f64>,
    pub codec: Option<&'static str>,
    pub transport: Option<&'static str>,
    pub stream: &'static str,
    pub first_frame_ms: Option<u32>,
    pub evidence: Option<Evidence>,
    pub stages: Vec<StageTime>,
    pub error: Option<AttemptError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<crate::model::CertificateFacts>,
    /// What the device told over ONVIF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onvif: Option<OnvifReport>,
}

/// What a device tells of itself over ONVIF.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OnvifReport {
    #[serde(flatten)]
    pub information: DeviceInformation,
    pub mac: Option<String>,
    /// The device's clock minus ours.
    pub clock_offset_s: Option<i64>,
    /// How the login was sent.
    pub login_by: Option<OnvifLogin>,
    /// Null where it cannot move.
    pub ptz: Option<PtzAbilities>,
    pub profiles: Vec<ProfileReport>,
}

/// One media profile, as configured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfileReport {
    pub token: String,
    pub name: String,
    pub stream: &'static str,
    pub codec: Option<&'static str>,
    pub resolution: Option<String>,
    pub fps: Option<f64>,
    /// On the host that was dialled, without a login.
    pub stream_url: Option<String>,
    pub snapshot_url: Option<String>,
}

impl From<&OnvifFacts> for OnvifReport {
    fn from(facts: &OnvifFacts) -> Self {
        let profile = |p: &OnvifProfile| ProfileReport {
            token: p.token.clone(),
            name: p.name.clone(),
            stream: p.role.as_str(),
            codec: p.media.codec.map(Codec::as_str),
            resolution: p.media.resolution(),
            fps: p.media.fps,
            stream_url: p.stream.as_ref().map(ToString::to_string),
            snapshot_url: p.snapshot.as_ref().map(ToString::to_string),
        };
        Self {
            information: facts.information.clone(),
            mac: facts.mac.clone(),
            clock_offset_s: facts.clock_offset_s,
            login_by: facts.login_by,
            ptz: facts.ptz,
            profiles: facts.profiles.iter().map(profile).collect(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptError {
    pub code: ErrorCode,
    pub stage: Stage,
    pub message: String,
}

/// What is known of the device itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    pub manufacturer: Option<String>,
    pub manufacturer_id: Option<String>,
    pub model: Option<String>,
    pub firmware_version: Option<String>,
    pub serial_number: Option<String>,
    pub mac: Option<String>,
}

/// The answer to `auto-detect`.
#[derive(Debug, Clone, Serialize)]
pub struct DetectReport {
    pub success: bool,
    pub recommended_method: Option<ConnectionType>,
    pub recommended_url: Option<String>,
    /// One line: why this one.
    pub reason: Option<String>,
    /// When nothing works: one sentence a person can act on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    pub device: DeviceReport,
    /// Which of the request's logins was accepted.
    pub credential_index: Option<usize>,
    pub all_results: Vec<AttemptReport>,
    pub tried: u32,
    pub duration_ms: u32,
}

impl AttemptReport {
    /// Shapes one attempt. `login` is shown in the URL: it must be the request's own.
    pub fn new(
        target: &crate::probe::Target,
        attempt: &Attempt,
        login: Option<&Credentials>,
    ) -> Self {
        let outcome = attempt.result.as_ref().ok();
        let url = outcome.map_or(&target.url, |o| &o.url);
        Self {
            success: outcome.is_some(),
            connection_type: outcome.map_or(target.url.connection_type(), |o| o.connection_type),
            url: url.with_login(login).to_string(),
            response_time_ms: outcome.map(|o| o.response_time_ms),
            resolution: outcome.and_then(|o| o.media.resolution()),
            fps: outcome.and_then(|o| o.media.fps),
            codec: outcome
                .and_then(|o| o.media.codec)
                .map(crate::model::Codec::as_str),
            transport: outcome.map(|o| o.transport),
            stream: outcome.map_or(target.role, |o| o.role).as_str(),
            first_frame_ms: outcome.and_then(|o| o.first_frame_ms),
            evidence: outcome.map(|o| o.evidence),
            stages: attempt.stages.clone(),
            error: attempt.result.as_ref().err().map(|e| AttemptError {
                code: e.code,
                stage: e.stage,
                message: e.message.clone(),
            }),
            certificate: outcome.and_then(|o| o.certificate.clone()),
            onvif: attempt.onvif.as_deref().map(OnvifReport::from),
        }
    }
}

impl DetectReport {
    /// For a detection that broke off by a fault of ours.
    pub fn broken() -> Self {
        Self {
            success: false,
            recommended_method: None,
            recommended_url: None,
            reason: None,
            hint: Some(
                "the detection broke off by a fault of the gateway; its log tells more".to_owned(),
            ),
            device: DeviceReport::default(),
            credential_index: None,
            all_results: Vec::new(),
            tried: 0,
            duration_ms: 0,
        }
    }
}
