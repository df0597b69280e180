//! A device begun anew over ONVIF.

use tokio::time::timeout_at;

use super::motors::{over, visit};
use crate::model::ProbeError;
use crate::probe::http::Clock;
use crate::probe::{Target, Transcript};
use crate::wire::onvif;

/// Tells the device of an `onvif://` target to begin anew. It answers before it goes.
///
/// # Errors
/// As a probe's; `protocol` where the device answers with a fault.
pub(crate) async fn reboot(target: &Target, log: &mut Transcript) -> Result<(), ProbeError> {
    let clock = Clock::start(target);
    let mut visit = visit(target, log);
    let done = timeout_at(clock.end, async {
        visit.read_clock().await?;
        // A call that every device knows: what it says to the login is no fault of another kind.
        visit.read_information().await?;
        let service = visit.service.clone();
        let call = onvif::system_reboot();
        let answer = visit.session.call(&service, &call, visit.log).await;
        answer.map(drop).map_err(ProbeError::from)
    });
    done.await.unwrap_or_else(|_| Err(over(target, log)))
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Behaviour, Fake};
    use super::*;
    use crate::model::ErrorCode;

    const ANSWER: &str = "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body><SystemRebootResponse xmlns=\"http://www.onvif.org/ver10/device/wsdl\"><Message>in 10 s</Message></SystemRebootResponse></s:Body></s:Envelope>";

    #[tokio::test]
    async fn the_device_is_told_once_and_with_its_login() {
        let fake = Fake::start(Behaviour {
            answers: vec![("SystemReboot", ANSWER.to_owned())],
            ..Behaviour::default()
        })
        .await;
        let mut log = Transcript::new();
        reboot(&fake.target(crate::probe::Depth::Answer), &mut log)
            .await
            .unwrap();
        let told: Vec<String> = fake
            .calls()
            .into_iter()
            .filter(|c| c.starts_with("SystemReboot"))
            .collect();
        assert_eq!(told, ["SystemReboot+login"]);
    }

    #[tokio::test]
    async fn one_that_cannot_says_so() {
        let fake = Fake::start(Behaviour::default()).await;
        let mut log = Transcript::new();
        let error = reboot(&fake.target(crate::probe::Depth::Answer), &mut log)
            .await
            .unwrap_err();
        assert_eq!(error.code, ErrorCode::Protocol, "{error:?}");
    }
}
