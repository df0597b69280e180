//! Buttons and switches: short controls without a life cycle, for Home Assistant.

use std::sync::Arc;

use serde_json::json;

use super::super::Settings;
use super::super::command::Refusal;
use super::super::topics::{Subject, Topics};
use super::{Commands, TAKEN_MAX, lock};
use crate::api::route::Request;
use crate::model::CameraId;

impl Commands {
    /// A button or a switch: does it and says nothing, but for the log.
    pub fn pressed(
        self: &Arc<Self>,
        topics: &Topics,
        settings: &Settings,
        subject: Subject,
        key: &str,
        payload: &[u8],
    ) {
        let allowed = &settings.mqtt.allowed_commands;
        let pressed = control(key, subject, payload, allowed)
            .and_then(|press| Ok((press, self.camera(subject)?)));
        let (press, camera) = match pressed {
            Ok(pressed) => pressed,
            Err(refusal) => {
                self.log_refused(key, &refusal);
                return;
            }
        };
        let running = lock(&self.rows).iter().filter(|row| row.is_running).count();
        if running >= TAKEN_MAX || self.slots.available_permits() == 0 {
            let busy = Refusal::new("busy", "too much runs already");
            return self.log_refused(key, &busy);
        }
        tracing::info!(key, "control over MQTT");
        let (commands, topics) = (self.clone(), topics.clone());
        let work = Box::pin(async move {
            let _slot = commands.slots.acquire().await;
            let id = camera.unwrap_or(CameraId(0));
            let done = match press {
                Press::Monitoring(is_on) => {
                    let change = json!({"enabled": is_on});
                    commands
                        .ask(Request::PatchCamera(id), change)
                        .await
                        .map(drop)
                }
                Press::Snapshot => commands.snapshot(&topics, id).await.map(drop),
                Press::CheckNow => commands
                    .ask(Request::CheckNow(id), json!({}))
                    .await
                    .map(drop),
                Press::Reconnect => commands
                    .ask(Request::Reconnect(id), json!({}))
                    .await
                    .map(drop),
                Press::Reboot => commands.reboot(id).await.map(drop),
                Press::Scan => commands.ask(Request::StartScan, json!({})).await.map(drop),
                Press::Restart => {
                    let _ = commands.context.control.restart().await;
                    Ok(())
                }
            };
            if let Err(refusal) = done {
                tracing::info!(
                    code = refusal.code,
                    "control over MQTT failed: {}",
                    refusal.reason
                );
            }
        });
        self.context.site.tasks().spawn(work);
    }
}

/// What a button or switch asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Press {
    CheckNow,
    Reconnect,
    Reboot,
    Snapshot,
    Scan,
    Restart,
    Monitoring(bool),
}

/// Reads a message on `set/<key>`.
fn control(
    key: &str,
    subject: Subject,
    payload: &[u8],
    allowed: &[String],
) -> Result<Press, Refusal> {
    let of_camera = matches!(subject, Subject::Camera(_));
    let (press, is_here) = match key {
        "check_now" => (Press::CheckNow, of_camera),
        "reconnect" => (Press::Reconnect, of_camera),
        "reboot" => (Press::Reboot, of_camera),
        "snapshot" => (Press::Snapshot, of_camera),
        "monitoring" => (Press::Monitoring(payload == b"ON"), of_camera),
        "scan" => (Press::Scan, !of_camera),
        "restart" => (Press::Restart, !of_camera),
        _ => return Err(Refusal::new("unknown_command", "there is no such control")),
    };
    let is_word = match press {
        Press::Monitoring(_) => matches!(payload, b"ON" | b"OFF"),
        _ => payload == b"PRESS",
    };
    match (is_here, allowed.iter().any(|a| a == key), is_word) {
        (false, ..) => Err(Refusal::new("wrong_place", "it belongs to another topic")),
        (_, false, _) => Err(Refusal::new(
            "not_allowed",
            "it is not in mqtt.allowed_commands",
        )),
        (.., false) => Err(Refusal::new(
            "malformed",
            "the payload must be PRESS, or ON or OFF for a switch",
        )),
        _ => Ok(press),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_judged() {
        let camera = Subject::Camera(uuid::Uuid::nil());
        let allowed = ["check_now", "monitoring", "scan"].map(str::to_owned);
        let code = |key, subject, payload: &[u8]| {
            control(key, subject, payload, &allowed).map_err(|refusal| refusal.code)
        };
        assert_eq!(code("check_now", camera, b"PRESS"), Ok(Press::CheckNow));
        assert_eq!(
            code("monitoring", camera, b"OFF"),
            Ok(Press::Monitoring(false))
        );
        assert_eq!(code("monitoring", camera, b"off"), Err("malformed"));
        assert_eq!(code("scan", camera, b"PRESS"), Err("wrong_place"));
        assert_eq!(
            code("restart", Subject::Gateway, b"PRESS"),
            Err("not_allowed")
        );
        assert_eq!(
            code("explode", Subject::Gateway, b"PRESS"),
            Err("unknown_command")
        );
    }
}
