//! Motors of stored cameras. Every move ends: at its deadline, at the next order, or when the gateway
//! stops.

mod look;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;

use super::{Site, SiteError, lock};
use crate::model::{
    CameraId, PtzAbilities, PtzOrder, PtzPreset, PtzSource, PtzVelocity, StreamUrl,
};
use crate::probe::ptz::Way;

/// What is known of a camera's motors is given again for so long.
pub(super) const MOTORS_AGE_MAX: Duration = Duration::from_secs(10);
pub(super) const MOTORS_MAX: usize = 1024;
/// Tries of a stop: a camera that runs into its end stop forever is the worst that can happen.
const STOP_TRIES: u32 = 3;
const STOP_PAUSE: Duration = Duration::from_millis(300);
/// A device's own deadline is later than ours by this: it is for the case that we are gone.
const OWN_DEADLINE_MS: u32 = 1000;

/// `GET /api/cameras/{id}/ptz`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PtzView {
    pub camera_id: CameraId,
    pub source: PtzSource,
    pub abilities: PtzAbilities,
    pub presets: Vec<PtzPreset>,
}

/// What a caller wants of the motors.
#[derive(Debug, Clone, PartialEq)]
pub enum PtzRequest {
    Move {
        velocity: PtzVelocity,
        duration_ms: u32,
    },
    Stop,
    Preset(String),
    Home,
}

/// The answer to an order that the camera took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PtzDone {
    pub camera_id: CameraId,
    pub action: &'static str,
    pub source: PtzSource,
    /// After this a move is stopped; null for other orders.
    pub duration_ms: Option<u32>,
}

/// Where a camera's motors are, and the move that runs.
#[derive(Debug, Default)]
pub(super) struct Motors {
    reached: Option<Reached>,
    /// Counts orders: a stop that was planned for an older one does nothing.
    order: u64,
}

#[derive(Debug, Clone)]
struct Reached {
    /// What the way was found with: other settings, another look.
    revision: u64,
    url: StreamUrl,
    way: Way,
}

pub(super) type AllMotors = HashMap<CameraId, Motors>;

impl Site {
    /// What the camera's motors can do, and its presets.
    ///
    /// # Errors
    /// No such camera, a disabled one, one without motors, or why it does not tell.
    pub async fn ptz(&self, id: CameraId) -> Result<PtzView, SiteError> {
        let facts = self.find_motors(id).await?;
        Ok(PtzView {
            camera_id: id,
            source: facts.source,
            abilities: facts.abilities,
            presets: facts.presets.clone(),
        })
    }

    /// Gives an order. A move goes on when the caller goes away, and ends all the same.
    ///
    /// # Errors
    /// As [`Site::ptz`]; an order that this camera's interface does not have.
    pub async fn order_ptz(
        self: &Arc<Self>,
        id: CameraId,
        request: PtzRequest,
    ) -> Result<PtzDone, SiteError> {
        let reached = match self.reached(id)? {
            Some(reached) => reached,
            None => {
                self.motors.forget(id);
                self.find_motors(id).await?;
                self.reached(id)?.ok_or(SiteError::NoMotors(id))?
            }
        };
        let (order, action, duration_ms) = match request {
            PtzRequest::Move {
                velocity,
                duration_ms,
            } => {
                let timeout_ms = duration_ms.saturating_add(OWN_DEADLINE_MS);
                let order = PtzOrder::Move {
                    velocity,
                    timeout_ms,
                };
                (order, "move", Some(duration_ms))
            }
            PtzRequest::Stop => (PtzOrder::Stop, "stop", None),
            PtzRequest::Preset(token) => (PtzOrder::Preset(token), "preset", None),
            PtzRequest::Home => (PtzOrder::Home, "home", None),
        };
        let offered = reached.way.check(&order);
        offered.map_err(|why| SiteError::Invalid {
            field: "action",
            message: why.to_string(),
        })?;
        let source = match &reached.way {
            Way::Onvif { .. } => PtzSource::Onvif,
            Way::Maker { source, .. } => *source,
        };
        let (tell, told) = oneshot::channel();
        let site = self.clone();
        self.tasks.spawn(async move {
            site.carry_out(id, reached, order, duration_ms, tell).await;
        });
        told.await.map_err(|_| SiteError::Stopping)??;
        Ok(PtzDone {
            camera_id: id,
            action,
            source,
            duration_ms,
        })
    }

    /// Sends the order, tells how it went, and ends a move at its deadline.
    async fn carry_out(
        self: Arc<Self>,
        id: CameraId,
        reached: Reached,
        order: PtzOrder,
        duration_ms: Option<u32>,
        tell: oneshot::Sender<Result<(), SiteError>>,
    ) {
        let number = {
            let mut all = lock(&self.motor_ways);
            let motors = all.entry(id).or_default();
            motors.order += 1;
            motors.order
        };
        let sent = self.send_order(id, &reached, &order).await;
        let is_sent = sent.is_ok();
        if !is_sent && let Some(motors) = lock(&self.motor_ways).get_mut(&id) {
            // Next time it is looked for anew.
            motors.reached = None;
        }
        let _ = tell.send(sent);
        let Some(duration_ms) = duration_ms else {
            return;
        };
        if is_sent {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(duration_ms.into())) => {}
                () = self.stop.cancelled() => {}
            }
        }
        // A move that was not confirmed may run all the same.
        self.end_move(id, &reached, number).await;
    }

    async fn end_move(&self, id: CameraId, reached: &Reached, number: u64) {
        let is_current = || {
            let all = lock(&self.motor_ways);
            all.get(&id).is_none_or(|motors| motors.order == number)
        };
        let mut last = None;
        for turn in 0..STOP_TRIES {
            if turn > 0 {
                tokio::time::sleep(STOP_PAUSE).await;
            }
            if !is_current() {
                return;
            }
            match self.send_order(id, reached, &PtzOrder::Stop).await {
                Ok(()) | Err(SiteError::UnknownCamera(_)) => return,
                Err(error) => last = Some(error),
            }
        }
        if let Some(error) = last {
            tracing::warn!(
                camera = id.0,
                "a move of this camera could not be stopped: {error}"
            );
        }
    }

    async fn send_order(
        &self,
        id: CameraId,
        reached: &Reached,
        order: &PtzOrder,
    ) -> Result<(), SiteError> {
        let (target, errand) = self.motor_target(id, reached.url.clone())?;
        let sent = self.brake.order(target, &reached.way, order, errand).await;
        sent.map_err(SiteError::from)
    }

    /// The way that is known, where the camera's settings are still those it was found with.
    fn reached(&self, id: CameraId) -> Result<Option<Reached>, SiteError> {
        let revision = self.usable(id, |entry| entry.camera.revision)?;
        let all = lock(&self.motor_ways);
        let reached = all.get(&id).and_then(|motors| motors.reached.clone());
        Ok(reached.filter(|reached| reached.revision == revision))
    }
}
