//! Where a camera's motors are: by ONVIF, else by its maker's own interface.

use std::sync::Arc;
use std::time::Duration;

use super::Reached;
use crate::brake::Errand;
use crate::model::{
    CameraId, ChannelSource, ErrorCode, ProbeError, PtzFacts, PtzSource, Scheme, Stage, StreamRole,
    StreamUrl,
};
use crate::probe::{Depth, Limits, OnvifAccess, Target, Trust};
use crate::site::entry::Entry;
use crate::site::{Site, SiteError, lock};
use crate::vendor::Service;

/// Ports of one camera that ONVIF is looked for on.
const ONVIF_PORTS_MAX: usize = 2;
/// An order is done at once or not at all.
const ORDER_LIMIT: Duration = Duration::from_secs(8);

impl Site {
    /// Looks for motors: by ONVIF, else by the maker's own interface.
    pub(super) async fn find_motors(&self, id: CameraId) -> Result<Arc<PtzFacts>, SiteError> {
        let doors = self.motor_doors(id)?;
        let found = self.motors.get(id, self.look_for_motors(id, doors)).await;
        match found {
            Ok(facts) => Ok(facts),
            Err(error) if error.code == ErrorCode::NotFound => Err(SiteError::NoMotors(id)),
            Err(error) => Err(error.into()),
        }
    }

    async fn look_for_motors(
        &self,
        id: CameraId,
        doors: Vec<Door>,
    ) -> Result<Arc<PtzFacts>, ProbeError> {
        let mut failure: Option<ProbeError> = None;
        for door in doors {
            let Ok((target, errand)) = self.motor_target(id, door.url.clone()) else {
                break;
            };
            match self.brake.find_motors(target, door.maker, errand).await {
                Ok(Some((way, facts))) => {
                    let reached = Reached {
                        revision: door.revision,
                        url: door.url,
                        way,
                    };
                    lock(&self.motor_ways).entry(id).or_default().reached = Some(reached);
                    return Ok(Arc::new(facts));
                }
                // The maker's own word: it has none, whatever ONVIF said.
                Ok(None) if door.maker.is_some() => {
                    failure = None;
                    break;
                }
                Ok(None) => {}
                Err(error) => {
                    let is_login = |error: &ProbeError| {
                        matches!(error.code, ErrorCode::AuthFailed | ErrorCode::AuthRequired)
                    };
                    if failure.as_ref().is_none_or(|known| !is_login(known)) {
                        failure = Some(error);
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            ProbeError::new(ErrorCode::NotFound, Stage::Describe, "it has no motors")
        }))
    }

    /// Tells the camera to begin anew, by ONVIF.
    ///
    /// # Errors
    /// As a probe's; `not_found` where nothing of it speaks ONVIF.
    pub async fn reboot(&self, id: CameraId) -> Result<(), SiteError> {
        let mut failure = None;
        let doors = self.motor_doors(id)?;
        for door in doors.into_iter().filter(|door| door.maker.is_none()) {
            let (target, errand) = self.motor_target(id, door.url)?;
            match self.brake.reboot(target, errand).await {
                Ok(()) => {
                    tracing::info!(camera = id.0, "the camera was told to begin anew");
                    return Ok(());
                }
                // An answer of the device itself is the last word.
                Err(error)
                    if matches!(error.code, ErrorCode::AuthFailed | ErrorCode::AuthRequired) =>
                {
                    return Err(error.into());
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let none = || {
            ProbeError::new(
                ErrorCode::NotFound,
                Stage::Describe,
                "it does not speak ONVIF",
            )
        };
        Err(failure.unwrap_or_else(none).into())
    }

    /// Where motors may be, the likeliest first.
    fn motor_doors(&self, id: CameraId) -> Result<Vec<Door>, SiteError> {
        let catalogue = self.catalogue();
        self.usable(id, |entry| {
            let camera = &entry.camera;
            let maker = camera.manufacturer.as_deref();
            let maker = maker.and_then(|maker| catalogue.find(maker).ok());
            let stream = camera.primary_stream_url.as_ref();
            let host = camera
                .ip_address
                .clone()
                .or_else(|| stream.map(|url| url.host.clone()).filter(|h| !h.is_empty()));
            let Some(host) = host else { return Vec::new() };
            let channel = camera.channel.unwrap_or(1);
            let door = |scheme, port, path: String, maker| Door {
                revision: camera.revision,
                url: StreamUrl {
                    scheme,
                    host: host.clone(),
                    port,
                    path,
                },
                maker,
            };
            let mut doors = Vec::new();
            match stream {
                Some(url) if url.scheme == Scheme::Onvif => doors.push(Door {
                    revision: camera.revision,
                    url: url.clone(),
                    maker: None,
                }),
                _ => {
                    let ports = maker.into_iter().flat_map(|m| m.ports(Service::Onvif));
                    let mut ports: Vec<u16> = ports.take(ONVIF_PORTS_MAX).collect();
                    let web = web(entry).map_or(80, |url| url.port);
                    if !ports.contains(&web) {
                        ports.push(web);
                    }
                    for port in ports {
                        let path = format!("/?channel={channel}");
                        doors.push(door(Scheme::Onvif, port, path, None));
                    }
                }
            }
            let family = maker.map(|maker| maker.family());
            let spoken = PtzSource::OF_MAKERS.into_iter().find(|source| {
                let own = source.maker_id().and_then(|id| catalogue.by_id(id));
                own.is_some_and(|own| Some(own.family()) == family)
            });
            if let Some(source) = spoken {
                let web = web(entry);
                let ports = maker.into_iter().flat_map(|m| m.ports(Service::Http));
                let port = web
                    .as_ref()
                    .map(|url| url.port)
                    .or(ports.into_iter().next());
                let scheme = web.map_or(Scheme::Http, |url| url.scheme);
                let maker = Some((source, channel));
                doors.push(door(scheme, port.unwrap_or(80), "/".to_owned(), maker));
            }
            doors
        })
    }

    pub(super) fn motor_target(
        &self,
        id: CameraId,
        url: StreamUrl,
    ) -> Result<(Target, Errand), SiteError> {
        let settings = self.settings();
        let (target, manufacturer) = self.usable(id, |entry| {
            let usable = !entry.watch.login_refused;
            let trust = match &entry.camera.tls_pin {
                Some(pin) if entry.camera.primary_stream_url.as_ref() == Some(&url) => {
                    Trust::Pinned(pin.clone())
                }
                _ => Trust::FirstUse,
            };
            let limits = settings.limits(&entry.camera);
            let target = Target {
                url,
                role: StreamRole::Main,
                login: entry.login().filter(|_| usable),
                // The operator gave this camera's login for this camera.
                cleartext_login: true,
                onvif: OnvifAccess {
                    login: entry.onvif_login().filter(|_| usable),
                    ..OnvifAccess::default()
                },
                depth: Depth::Answer,
                limits: Limits {
                    total: limits.total.min(ORDER_LIMIT),
                    ..limits
                },
                trust,
                networks: settings.networks.clone(),
                gate: Some(self.gate.clone()),
            };
            (target, entry.camera.manufacturer.clone())
        })?;
        Ok((target, self.errand(manufacturer.as_deref(), true)))
    }

    /// Reads a camera that may be dialled.
    pub(super) fn usable<T>(
        &self,
        id: CameraId,
        read: impl FnOnce(&Entry) -> T,
    ) -> Result<T, SiteError> {
        let cameras = lock(&self.cameras);
        let entry = cameras.get(&id).ok_or(SiteError::UnknownCamera(id))?;
        if !entry.camera.enabled {
            return Err(SiteError::Disabled(id));
        }
        match entry.displaced_error() {
            Some(error) => Err(error.into()),
            None => Ok(read(entry)),
        }
    }
}

/// One place where motors may be.
#[derive(Debug, Clone)]
struct Door {
    revision: u64,
    url: StreamUrl,
    maker: Option<(PtzSource, u32)>,
}

/// The camera's web service, where one of its URLs tells it.
fn web(entry: &Entry) -> Option<StreamUrl> {
    let camera = &entry.camera;
    let urls = [&camera.snapshot_url, &camera.primary_stream_url];
    let found = urls.into_iter().flatten().find_map(|url| match url.scheme {
        Scheme::Http | Scheme::Https => Some(url.clone()),
        Scheme::Nvr if crate::wire::maker::api(url) != Some(ChannelSource::Dvrip) => {
            Some(crate::wire::maker::service(url))
        }
        _ => None,
    });
    found.filter(|url| Some(&url.host) == camera.ip_address.as_ref().or(Some(&url.host)))
}
