//! The broker over TLS: a real mosquitto with certificates of its own authority.

use std::path::Path;
use std::time::Duration;

use crate::harness::broker::{Broker, free_port};
use crate::harness::{Daemon, is_skipped, wait_for};

type Signed = (rcgen::Certificate, rcgen::KeyPair);

/// A certificate for 127.0.0.1 until `until_year`, signed by the authority.
fn signed(name: &str, until_year: i32, authority: &rcgen::Issuer<'_, rcgen::KeyPair>) -> Signed {
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

fn authority(name: &str, dir: &Path) -> rcgen::Issuer<'static, rcgen::KeyPair> {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
    rcgen::Issuer::new(params, key)
}

fn write(dir: &Path, name: &str, (certificate, key): &Signed) {
    std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// A broker with a plain door for who listens, one with TLS that wants a client's certificate, and one
/// whose own certificate is too old.
struct Doors {
    broker: Broker,
    files: tempfile::TempDir,
    tls: u16,
    old: u16,
}

impl Doors {
    fn open() -> Self {
        let files = tempfile::tempdir().unwrap();
        let dir = files.path();
        let ours = authority("ca", dir);
        let foreign = authority("foreign-ca", dir);
        write(dir, "server", &signed("broker", 2090, &ours));
        write(dir, "old", &signed("broker", 2021, &ours));
        write(dir, "client", &signed("roof-box", 2090, &ours));
        write(dir, "foreign", &signed("roof-box", 2090, &foreign));
        let (tls, old) = (free_port(), free_port());
        let at = dir.display();
        let lines = format!(
            "allow_anonymous true\n\
             listener {tls} 127.0.0.1\nallow_anonymous true\ncafile {at}/ca.pem\ncertfile {at}/server.pem\nkeyfile {at}/server.key\nrequire_certificate true\n\
             listener {old} 127.0.0.1\nallow_anonymous true\ncertfile {at}/old.pem\nkeyfile {at}/old.key\n"
        );
        Self {
            broker: Broker::with(&format!("per_listener_settings true\n{lines}"), |_| {}),
            tls,
            old,
            files,
        }
    }

    fn daemon(&self, port: u16, ca: &str, client: Option<&str>) -> Daemon {
        let at = self.files.path().display();
        let client = client.map_or(String::new(), |name| {
            format!("client_cert = \"{at}/{name}.pem\"\nclient_key = \"{at}/{name}.key\"\nalpn = \"mqtt\"\n")
        });
        Daemon::start(
            None,
            &format!(
                "[mqtt]\nurl = \"mqtts://127.0.0.1:{port}\"\nca_file = \"{at}/{ca}.pem\"\n{client}[security]\nallowed_networks = [\"loopback\"]\n"
            ),
        )
    }
}

#[test]
fn a_broker_over_tls_knows_the_gateway_by_its_certificate() {
    if is_skipped("mosquitto") {
        return;
    }
    let doors = Doors::open();
    let listener = doors.broker.listen(&["ohmvision/+/status"]);
    let mut daemon = doors.daemon(doors.tls, "ca", Some("client"));
    wait_for("it is online", Duration::from_secs(20), || {
        listener
            .newest()
            .into_values()
            .find(|body| body == "online")
    });
    daemon.stop();
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());

    for (port, ca, client, words) in [
        (doors.tls, "foreign-ca", Some("client"), "authorit"),
        (doors.tls, "ca", None, "want mqtt.client_cert"),
        (doors.tls, "ca", Some("foreign"), "signed mqtt.client_cert"),
        (doors.old, "ca", None, "expired"),
    ] {
        let daemon = doors.daemon(port, ca, client);
        let line = wait_for("a sentence", Duration::from_secs(20), || {
            let log = daemon.log();
            log.lines()
                .find(|line| line.contains("no MQTT broker"))
                .map(str::to_owned)
        });
        assert!(
            line.to_lowercase().contains(words),
            "{ca} {client:?}: {line}"
        );
    }
}
