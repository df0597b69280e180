//! An ONVIF device on 127.0.0.1 for what no real one does on demand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::model::{Credentials, StreamRole, StreamUrl, Timestamp};
use crate::policy::networks::AllowedNetworks;
use crate::probe::rtsp::tests::fake::acceptor;
use crate::probe::{Depth, Limits, OnvifAccess, Target, Trust, wall_time};

/// How the device takes its login, `admin` / `s3cret`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Nothing,
    WsseDigest,
    /// WS-Security with PasswordText only.
    WsseText,
    HttpDigest,
    /// In clear.
    HttpBasic,
    /// WS-Security, and no login is ever right.
    Refuses,
}

/// What the device does; every field has its usual value in `Default`.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    pub asks: Asks,
    pub clock_offset_s: i64,
    /// Status line of its faults.
    pub fault_status: &'static str,
    /// Host in the addresses that it writes; `None`: the right one.
    pub host: Option<&'static str>,
    pub rtsp_port: u16,
    pub has_media2: bool,
    /// Answers to single calls, by name; they come before everything else.
    pub answers: Vec<(&'static str, String)>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            asks: Asks::WsseDigest,
            clock_offset_s: 0,
            fault_status: "400 Bad Request",
            host: None,
            rtsp_port: 554,
            has_media2: false,
            answers: Vec::new(),
        }
    }
}

pub(crate) struct Fake {
    pub address: SocketAddr,
    /// Name of each call, with `+login` where a login came along.
    calls: Arc<Mutex<Vec<String>>>,
    is_tls: bool,
    _tasks: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        Self::listen(behaviour, None).await
    }

    pub(crate) async fn start_tls(behaviour: Behaviour) -> Self {
        Self::listen(behaviour, Some(acceptor())).await
    }

    async fn listen(behaviour: Behaviour, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (seen, is_tls) = (calls.clone(), tls.is_some());
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let device = Device {
                    behaviour: behaviour.clone(),
                    address,
                    calls: seen.clone(),
                };
                let tls = tls.clone();
                serving.spawn(async move {
                    match tls {
                        None => device.serve(stream).await,
                        Some(tls) => device.serve(tls.accept(stream).await.unwrap()).await,
                    }
                });
            }
        });
        Self {
            address,
            calls,
            is_tls,
            _tasks: tasks,
        }
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// How many calls carried a login.
    pub(crate) fn logins(&self) -> usize {
        self.calls()
            .iter()
            .filter(|c| c.ends_with("+login"))
            .count()
    }

    /// The device's `onvif://` URL with its right login.
    pub(crate) fn target(&self, depth: Depth) -> Target {
        let query = if self.is_tls { "/?tls=1" } else { "" };
        let url = format!("onvif://{}{query}", self.address);
        Target {
            url: StreamUrl::parse(&url).unwrap().url,
            role: StreamRole::Main,
            login: Some(Credentials::new("admin", "s3cret")),
            cleartext_login: false,
            onvif: OnvifAccess::default(),
            depth,
            limits: Limits::default(),
            trust: Trust::FirstUse,
            networks: Arc::new(AllowedNetworks::parse(&["loopback"]).unwrap()),
            gate: None,
        }
    }
}

struct Device {
    behaviour: Behaviour,
    address: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
}

struct Request {
    head: String,
    body: String,
}

impl Device {
    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        while let Some(request) = read_request(&mut stream).await {
            let (status, headers, body) = self.answer(&request);
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
                body.len()
            );
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> (String, String, String) {
        let name = call_name(request);
        let has_login =
            request.body.contains("UsernameToken") || request.head.contains("\r\nAuthorization: ");
        let login = if has_login { "+login" } else { "" };
        self.calls.lock().unwrap().push(format!("{name}{login}"));
        let canned = self.behaviour.answers.iter().find(|(of, _)| *of == name);
        if let Some((_, body)) = canned {
            return ("200 OK".into(), String::new(), body.clone());
        }
        let is_open = name == "GetSystemDateAndTime" || self.behaviour.asks == Asks::Nothing;
        if !is_open && !self.is_authorized(request) {
            return self.refusal();
        }
        let is_of_subscription = ["PullMessages", "Renew", "Unsubscribe"].contains(&name.as_str());
        let is_named = request.body.contains(">7</d:Id>")
            && request.body.contains("IsReferenceParameter=\"true\"");
        if is_of_subscription && !is_named {
            return self.fault("ter:InvalidArgVal", "which subscription?");
        }
        match self.result(&name) {
            Some(body) => ("200 OK".into(), String::new(), envelope(&body)),
            None => self.fault("ter:ActionNotSupported", "not supported"),
        }
    }

    fn refusal(&self) -> (String, String, String) {
        let challenge = match self.behaviour.asks {
            Asks::HttpDigest => "WWW-Authenticate: Digest realm=\"onvif\", nonce=\"n1\"\r\n",
            Asks::HttpBasic => "WWW-Authenticate: Basic realm=\"onvif\"\r\n",
            _ => return self.fault("ter:NotAuthorized", "Sender not Authorized"),
        };
        ("401 Unauthorized".into(), challenge.into(), String::new())
    }

    fn fault(&self, subcode: &str, reason: &str) -> (String, String, String) {
        let fault = format!(
            "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>{subcode}</s:Value></s:Subcode></s:Code><s:Reason><s:Text>{reason}</s:Text></s:Reason></s:Fault>"
        );
        let status = self.behaviour.fault_status;
        (status.into(), String::new(), envelope(&fault))
    }

    fn is_authorized(&self, request: &Request) -> bool {
        match self.behaviour.asks {
            Asks::WsseText => request.body.contains("#PasswordText\">s3cret<"),
            Asks::WsseDigest => self.digest_is_right(&request.body),
            Asks::HttpDigest => {
                let hex = |text: &str| -> String {
                    let digest = Md5::digest(text.as_bytes());
                    digest.iter().map(|b| format!("{b:02x}")).collect()
                };
                let uri = request.head.split(' ').nth(1).unwrap();
                let (ha1, ha2) = (hex("admin:onvif:s3cret"), hex(&format!("POST:{uri}")));
                let response = hex(&format!("{ha1}:n1:{ha2}"));
                request.head.contains(&format!("response=\"{response}\""))
            }
            Asks::HttpBasic => request.head.contains("Basic YWRtaW46czNjcmV0"),
            Asks::Nothing | Asks::Refuses => false,
        }
    }

    /// Within ten seconds of its own clock, and the right digest.
    fn digest_is_right(&self, body: &str) -> bool {
        let text = |name: &str| -> Option<String> {
            let from = body.find(&format!("<{name}"))?;
            let rest = &body[from..];
            let start = rest.find('>')? + 1;
            Some(rest[start..rest.find("</")?].to_owned())
        };
        let (Some(created), Some(nonce), Some(password)) = (
            text("wsu:Created"),
            text("wsse:Nonce"),
            text("wsse:Password"),
        ) else {
            return false;
        };
        let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(&BASE64.decode(nonce).unwrap());
        hash.update(created.as_bytes());
        hash.update(b"s3cret");
        let drift_ms = self.now().unix_ms() - Timestamp::parse(&created).unwrap().unix_ms();
        password == BASE64.encode(hash.finish())
            && drift_ms.abs() < 10_000
            && body.contains("<wsse:Username>admin</wsse:Username>")
    }

    fn now(&self) -> Timestamp {
        wall_time().plus_ms(self.behaviour.clock_offset_s * 1000)
    }

    fn result(&self, name: &str) -> Option<String> {
        let own = self.address.ip().to_string();
        let host = self.behaviour.host.unwrap_or(&own);
        let http = format!("http://{host}:{}", self.address.port());
        let rtsp = format!("rtsp://{host}:{}", self.behaviour.rtsp_port);
        Some(match name {
            "GetSystemDateAndTime" => self.date_and_time(),
            "GetDeviceInformation" => "<x:GetDeviceInformationResponse xmlns:x='d'><x:Manufacturer>HIKVISION</x:Manufacturer><x:Model>DS-2CD2042WD</x:Model><x:FirmwareVersion>V5.4.5</x:FirmwareVersion><x:SerialNumber>SN0001</x:SerialNumber><x:HardwareId>88</x:HardwareId></x:GetDeviceInformationResponse>".into(),
            "GetServices" if self.behaviour.has_media2 => format!("<GetServicesResponse><Service><Namespace>http://www.onvif.org/ver20/media/wsdl</Namespace><XAddr>{http}/onvif/media2</XAddr></Service></GetServicesResponse>"),
            "GetCapabilities" => format!("<GetCapabilitiesResponse><Capabilities><Media><XAddr>{http}/onvif/Media</XAddr></Media><PTZ><XAddr>{http}/onvif/PTZ</XAddr></PTZ></Capabilities></GetCapabilitiesResponse>"),
            "GetProfiles" => format!("<GetProfilesResponse>{}{}</GetProfilesResponse>", profile("p2", 640, 360), profile("p1", 1920, 1080)),
            "GetStreamUri" => format!("<GetStreamUriResponse><MediaUri><Uri>{rtsp}/live?profile=1&amp;x=2</Uri></MediaUri></GetStreamUriResponse>"),
            "GetSnapshotUri" => format!("<GetSnapshotUriResponse><MediaUri><Uri>{http}/snap.jpg</Uri></MediaUri></GetSnapshotUriResponse>"),
            "GetNetworkInterfaces" => "<GetNetworkInterfacesResponse><NetworkInterfaces token='eth0'><Info><HwAddress>44:19:B6:4D:00:11</HwAddress></Info></NetworkInterfaces></GetNetworkInterfacesResponse>".into(),
            "CreatePullPointSubscription" => format!("<CreatePullPointSubscriptionResponse xmlns:d='urn:d'><SubscriptionReference><Address>{http}/onvif/Subscription</Address><ReferenceParameters><d:Id>7</d:Id></ReferenceParameters></SubscriptionReference></CreatePullPointSubscriptionResponse>"),
            "PullMessages" => "<PullMessagesResponse><NotificationMessage><Topic>tns1:RuleEngine/CellMotionDetector/Motion</Topic><Message><Message UtcTime='2026-01-02T03:04:05Z' PropertyOperation='Changed'><Data><SimpleItem Name='IsMotion' Value='true'/></Data></Message></Message></NotificationMessage></PullMessagesResponse>".into(),
            "Renew" | "Unsubscribe" | "SetSynchronizationPoint" => format!("<{name}Response/>"),
            "GetNodes" => "<GetNodesResponse><PTZNode token='n'><SupportedPTZSpaces><ContinuousPanTiltVelocitySpace/></SupportedPTZSpaces><MaximumNumberOfPresets>8</MaximumNumberOfPresets></PTZNode></GetNodesResponse>".into(),
            _ => return None,
        })
    }

    fn date_and_time(&self) -> String {
        let now = self.now().to_string();
        let part = |from: usize, to: usize| &now[from..to];
        format!(
            "<GetSystemDateAndTimeResponse><SystemDateAndTime><UTCDateTime><Time><Hour>{}</Hour><Minute>{}</Minute><Second>{}</Second></Time><Date><Year>{}</Year><Month>{}</Month><Day>{}</Day></Date></UTCDateTime></SystemDateAndTime></GetSystemDateAndTimeResponse>",
            part(11, 13),
            part(14, 16),
            part(17, 19),
            part(0, 4),
            part(5, 7),
            part(8, 10),
        )
    }
}

fn profile(token: &str, width: u32, height: u32) -> String {
    format!(
        "<Profiles token='{token}'><Name>{token}</Name><VideoSourceConfiguration><SourceToken>v1</SourceToken></VideoSourceConfiguration><VideoEncoderConfiguration><Encoding>H264</Encoding><Resolution><Width>{width}</Width><Height>{height}</Height></Resolution><RateControl><FrameRateLimit>25</FrameRateLimit></RateControl></VideoEncoderConfiguration><PTZConfiguration/></Profiles>"
    )
}

pub(crate) fn envelope(body: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body>{body}</s:Body></s:Envelope>"
    )
}

/// Name of the element in the Body.
fn call_name(request: &Request) -> String {
    let body = request.body.split("<s:Body><").nth(1).unwrap_or_default();
    let end = body.find([' ', '>', '/']).unwrap_or(body.len());
    body[..end].to_owned()
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request {
        head,
        body: String::from_utf8(body).unwrap(),
    })
}
