//! Certificates made, read and exchanged, over real sockets with a client that verifies.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::listen::{self, Limits};

const NOW: Timestamp = Timestamp::from_unix_s(1_790_000_000);
const TWELVE_YEARS_MS: i64 = 12 * 366 * 86_400_000;

fn own(dir: &Path) -> Source {
    let names = Names {
        hostname: "GW7".to_owned(),
        addresses: own::addresses("192.0.2.5:8000".parse().unwrap()),
    };
    Source::SelfSigned {
        dir: dir.to_owned(),
        names,
    }
}

/// A pair of files of an operator's.
fn write_pair(dir: &Path, name: &str) -> Source {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (
        dir.join(format!("{name}.crt")),
        dir.join(format!("{name}.key")),
    );
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    Source::Files { cert, key }
}

#[test]
fn the_own_pair_is_made_once_for_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let first = Tls::open(own(dir.path()), NOW).unwrap().fingerprint();
    let again = Tls::open(own(dir.path()), NOW).unwrap().fingerprint();
    assert_eq!(first, again);
    assert_eq!(first.sha256.len(), 95);
    assert!(first.pin.starts_with("sha256//") && first.pin.len() == 52);
    assert_eq!(first.subject.as_deref(), Some("GW7"));
    let end = first.not_after.unwrap();
    assert_eq!(end.ms_since(NOW) / 86_400_000, 3652);
    let mode = |name: &str| {
        fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("api.key") & 0o777, 0o600);
    let server = Server {
        tls: TlsMode::SelfSigned,
        ..crate::config::Config::default().server
    };
    assert_eq!(fingerprint(&server, dir.path(), NOW).unwrap(), first);
}

#[test]
fn a_clock_in_the_past_shortens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let made = Tls::open(own(dir.path()), Timestamp(0)).unwrap();
    let end = made.fingerprint().not_after.unwrap();
    assert!(end > Timestamp::parse("2034-12-01T00:00:00Z").unwrap());
}

#[test]
fn an_expired_one_is_renewed_for_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let old = Tls::open(own(dir.path()), NOW).unwrap();
    let later = NOW.plus_ms(TWELVE_YEARS_MS);
    assert!(old.reload(None, later).unwrap());
    let new = old.fingerprint();
    assert!(new.not_after.unwrap() > later && !new.expired);
    assert_eq!(
        Tls::open(own(dir.path()), NOW).unwrap().fingerprint().pin,
        new.pin
    );
}

#[test]
fn a_damaged_pair_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = vec![
        Tls::open(own(dir.path()), NOW)
            .unwrap()
            .fingerprint()
            .sha256,
    ];
    let other = write_pair(dir.path(), "other");
    let Source::Files { key: other, .. } = other else {
        unreachable!()
    };
    let damage: [&dyn Fn(); 4] = [
        &|| fs::write(dir.path().join("api.crt"), "x").unwrap(),
        &|| fs::write(dir.path().join("api.key"), "").unwrap(),
        &|| fs::remove_file(dir.path().join("api.crt")).unwrap(),
        &|| assert!(fs::copy(&other, dir.path().join("api.key")).is_ok()),
    ];
    for damage in damage {
        damage();
        let sha256 = Tls::open(own(dir.path()), NOW)
            .unwrap()
            .fingerprint()
            .sha256;
        assert!(!seen.contains(&sha256));
        seen.push(sha256);
    }
}

#[test]
fn each_problem_of_a_file_has_its_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let Source::Files { cert, key } = write_pair(dir.path(), "good") else {
        unreachable!()
    };
    let Source::Files { key: other, .. } = write_pair(dir.path(), "other") else {
        unreachable!()
    };
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let der = read::chain("server.tls_cert", &cert).unwrap();
    let (missing, folder) = (dir.path().join("no"), dir.path().to_owned());
    let text = file("text", b"hello");
    let broken = file(
        "broken",
        b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    );
    let locked = file(
        "locked",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let (der, huge) = (file("der", &der[0]), file("huge", &[b'x'; 300_000]));
    for (cert, key, want) in [
        (
            &missing,
            &key,
            "`server.tls_cert` names {}/no, which does not exist",
        ),
        (
            &folder,
            &key,
            "`server.tls_cert` names {}, which is no file",
        ),
        (&text, &key, "{}/text, which holds no certificate"),
        (&key, &key, "{}/good.key, which holds no certificate"),
        (&broken, &key, "{}/broken, which is not PEM"),
        (&der, &key, "{}/der, which is not PEM but looks like DER"),
        (&huge, &key, "{}/huge, which is longer than 262144 bytes"),
        (
            &cert,
            &missing,
            "`server.tls_key` names {}/no, which does not exist",
        ),
        (
            &cert,
            &cert,
            "`server.tls_key` names {}/good.crt, which holds no private key",
        ),
        (
            &cert,
            &locked,
            "{}/locked, which holds a key with a passphrase",
        ),
        (
            &cert,
            &other,
            "{}/other.key, which does not hold the key of the certificate",
        ),
    ] {
        let source = Source::Files {
            cert: cert.clone(),
            key: key.clone(),
        };
        let error = Tls::open(source, NOW).unwrap_err().to_string();
        let want = want.replace("{}", &dir.path().display().to_string());
        assert!(error.contains(&want), "{error}\nand not\n{want}");
    }
}

struct Running {
    address: SocketAddr,
    tls: Arc<Tls>,
    _stop: tokio_util::sync::DropGuard,
}

async fn serve(source: Source, limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = Arc::new(Tls::open(source, NOW).unwrap());
    let stop = CancellationToken::new();
    let answer = |_, _| async { crate::api::content("text/plain", "hello") };
    let running = listen::run(listener, Some(tls.clone()), limits, stop.clone(), answer);
    tokio::spawn(running);
    Running {
        address,
        tls,
        _stop: stop.drop_guard(),
    }
}

/// A connection whose client trusts `leaf` alone.
async fn connect(
    address: SocketAddr,
    leaf: &CertificateDer<'static>,
    name: &str,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(leaf.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 1024];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn a_client_that_verifies_is_served_under_every_name() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(own(dir.path()), Limits::default()).await;
    let leaf = own::certificate(dir.path()).unwrap().remove(0);
    for name in [
        "localhost",
        "gw7",
        "gw7.local",
        "127.0.0.1",
        "192.0.2.5",
        "::1",
    ] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut stream = connect(server.address, &leaf, name, version).await.unwrap();
            assert!(ask(&mut stream).await.ends_with("hello"), "{name}");
        }
    }
    let other = connect(
        server.address,
        &leaf,
        "evil.example",
        &rustls::version::TLS13,
    )
    .await;
    assert!(other.is_err());
}

#[tokio::test]
async fn a_reload_drops_no_connection_and_a_bad_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let source = write_pair(dir.path(), "api");
    let Source::Files { cert, key } = source.clone() else {
        unreachable!()
    };
    let old = read::chain("", &cert).unwrap().remove(0);
    let server = serve(source, Limits::default()).await;
    let v13 = &rustls::version::TLS13;
    let mut running = connect(server.address, &old, "localhost", v13)
        .await
        .unwrap();
    assert!(ask(&mut running).await.ends_with("hello"));

    let good = fs::read(&cert).unwrap();
    fs::write(&cert, "half a fi").unwrap();
    let error = server.tls.reload(None, NOW).unwrap_err().to_string();
    assert!(error.contains("holds no certificate"), "{error}");
    assert!(
        connect(server.address, &old, "localhost", v13)
            .await
            .is_ok()
    );
    fs::write(&cert, good).unwrap();
    assert!(
        !server.tls.reload(None, NOW).unwrap(),
        "the same one is no news"
    );

    let Source::Files {
        cert: new_cert,
        key: new_key,
    } = write_pair(dir.path(), "new")
    else {
        unreachable!()
    };
    fs::rename(&new_cert, &cert).unwrap();
    fs::rename(&new_key, &key).unwrap();
    let new = read::chain("", &cert).unwrap().remove(0);
    assert!(server.tls.reload(None, NOW).unwrap());
    assert!(ask(&mut running).await.ends_with("hello"), "runs on");
    assert!(
        connect(server.address, &old, "localhost", v13)
            .await
            .is_err()
    );
    let mut fresh = connect(server.address, &new, "localhost", v13)
        .await
        .unwrap();
    assert!(ask(&mut fresh).await.ends_with("hello"));

    // Another kind of source waits for a restart.
    assert!(!server.tls.reload(Some(own(dir.path())), NOW).unwrap());
}

#[tokio::test]
async fn plain_http_is_told_to_speak_https() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(own(dir.path()), Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /api/cameras HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body_json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body_json["code"], "tls");
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{head}"
    );
}

#[tokio::test]
async fn a_handshake_that_does_not_end_gives_its_slot_back() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        connections_max: 1,
        handshake: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = serve(own(dir.path()), limits).await;
    let leaf = own::certificate(dir.path()).unwrap().remove(0);
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let v13 = &rustls::version::TLS13;
    let mut good = connect(server.address, &leaf, "localhost", v13)
        .await
        .unwrap();
    assert!(ask(&mut good).await.ends_with("hello"));
    for stream in [&mut silent, &mut half] {
        let read = stream.read(&mut [0; 64]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "closed: {read:?}");
    }
}
