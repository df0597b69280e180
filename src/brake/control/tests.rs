use super::*;
use crate::probe::http::tests::fake::{Fake, Step, answer};

const DIGEST: &str = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n1\"\r\n";

#[tokio::test]
async fn an_order_does_not_wait_for_pictures() {
    let device = Fake::start(|_| answer("401 Unauthorized", DIGEST, b"")).await;
    let brake = Brake::for_one_run();
    let slow = Fake::start(|_| vec![Step::Hang]).await;
    let errand = Errand {
        locks: false,
        by_hand: true,
    };
    // Both sessions of the host are taken by probes that wait.
    let anonymous = |fake: &Fake| Target {
        login: None,
        ..fake.target("/")
    };
    let waiting = || brake.run(anonymous(&slow), errand);
    let way = ptz::Way::Maker {
        source: PtzSource::DahuaCgi,
        channel: 1,
    };
    let target = anonymous(&device);
    let order = async {
        while slow.connections() < 2 {
            tokio::task::yield_now().await;
        }
        brake.order(target, &way, &PtzOrder::Stop, errand).await
    };
    tokio::select! {
        _ = waiting() => panic!("it hangs"),
        _ = waiting() => panic!("it hangs"),
        told = order => assert_eq!(told.unwrap_err().code, ErrorCode::AuthRequired),
    }
}
