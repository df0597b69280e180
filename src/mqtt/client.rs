//! The one file that knows the MQTT library. Both protocol versions look the same from outside.
//!
//! What the library leaves to its user is done by `session`: it forgets queued messages when a link
//! breaks, may hang on a packet id that it believes in use, and reconnects at once. So each link is
//! made anew, and whoever publishes keeps what must not be lost until it is acknowledged.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5 as packets5;
use rumqttc::v5::{self, mqttbytes::QoS as QoS5};
use rumqttc::{NetworkOptions, QoS, Transport};
use tokio_util::sync::ReusableBoxFuture;

use crate::config::MqttVersion;
use crate::model::Secret;

/// Published messages without an acknowledgement at most.
pub const IN_FLIGHT_MAX: usize = 100;
/// Requests that may wait for the link; publishing stops before it is full.
const QUEUE: usize = IN_FLIGHT_MAX + 16;
/// A broker that was silent for this long is asked for a sign of life.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// From dialling to the broker's welcome.
const CONNECT_S: u64 = 10;
/// Largest message that is taken.
pub const INCOMING_BYTES_MAX: u32 = 256 * 1024;
/// Largest message that is sent where the broker names no limit.
pub const OUTGOING_BYTES_MAX: u32 = 256 * 1024;

/// Where the broker is reached.
#[derive(Debug, Clone)]
pub enum Target {
    Tcp(SocketAddr),
    /// A local socket behind which the TLS relay waits.
    Relay(String),
}

/// What a link is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    pub target: Target,
    pub version: MqttVersion,
    pub client_id: String,
    pub username: String,
    pub password: Option<Secret>,
    /// The will: this topic says `offline`, retained.
    pub status_topic: Option<String>,
    /// Number of the session, a user property of the will and of `status`.
    pub session: u64,
}

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Json,
    Text,
    Jpeg,
}

/// One message, QoS 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Bytes,
    pub retain: bool,
    pub content: Content,
}

/// What the broker did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    Connected {
        /// Largest packet that the broker takes.
        packet_bytes_max: Option<u32>,
    },
    /// The next message of the queue went out with this id.
    Sent(u16),
    /// The broker answered for the message with this id; `false`: it does not take it.
    Acknowledged(u16, bool),
    /// Answer to a subscription: how many filters were refused.
    Subscribed {
        refused: usize,
    },
    Received {
        topic: String,
        payload: Bytes,
        retain: bool,
    },
    /// Our goodbye went out.
    Farewell,
    Nothing,
}

/// Why a link ended or did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("the broker refuses the login: {0}")]
    Login(String),
    #[error("the broker refuses the connection: {0}")]
    Refused(String),
    #[error(
        "another client has connected with the id {0}: do two gateways have the same identity, or is another ohmvision running with this state?"
    )]
    TakenOver(String),
    #[error("a message of more than {INCOMING_BYTES_MAX} bytes came in on a topic of ours")]
    TooLarge,
    #[error("the broker did not answer within {CONNECT_S} s")]
    Timeout,
    #[error("cannot connect: {0}")]
    NoConnection(std::io::ErrorKind),
    #[error("{0}")]
    Lost(String),
}

/// Hands messages to the link; never waits.
#[derive(Debug)]
pub enum Client {
    V5(v5::AsyncClient, u64),
    V4(rumqttc::AsyncClient),
}

/// The link itself: nothing moves unless [`Link::next`] is awaited.
///
/// The library's wait is kept here between two calls: dropped half way it would lose messages.
pub struct Link {
    wait: ReusableBoxFuture<'static, (EventLoop, Result<Happening, LinkError>)>,
    /// Happened together with the last one.
    more: VecDeque<Happening>,
    client_id: String,
}

enum EventLoop {
    V5(Box<v5::EventLoop>),
    V4(Box<rumqttc::EventLoop>),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

/// Makes a link; it dials when it is first awaited.
pub fn open(options: &Options) -> (Client, Link) {
    match options.version {
        MqttVersion::V5 => open5(options),
        MqttVersion::V311 => open4(options),
    }
}

/// Host and port as the library wants them.
fn address(target: &Target) -> (String, u16) {
    match target {
        Target::Tcp(SocketAddr::V6(v6)) => (format!("[{}]", v6.ip()), v6.port()),
        Target::Tcp(SocketAddr::V4(v4)) => (v4.ip().to_string(), v4.port()),
        Target::Relay(name) => (name.clone(), 0),
    }
}

fn network() -> NetworkOptions {
    let mut network = NetworkOptions::new();
    // The kernel joins small messages while earlier ones are on their way: at most a round trip later, and a
    // fifth less to do for both sides when much is told.
    network.set_connection_timeout(CONNECT_S);
    network
}

fn open5(options: &Options) -> (Client, Link) {
    let (host, port) = address(&options.target);
    let mut with = v5::MqttOptions::new(&options.client_id, host, port);
    if matches!(options.target, Target::Relay(_)) {
        with.set_transport(Transport::unix());
    }
    with.set_network_options(network())
        .set_connection_timeout(CONNECT_S)
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_start(true)
        .set_session_expiry_interval(Some(0))
        .set_max_packet_size(Some(INCOMING_BYTES_MAX))
        .set_topic_alias_max(Some(0))
        .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX as u16);
    if let Some(password) = &options.password {
        with.set_credentials(&options.username, password.expose());
    }
    let properties = packets5::LastWillProperties {
        user_properties: session_property(options.session),
        delay_interval: None,
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
    };
    if let Some(topic) = &options.status_topic {
        with.set_last_will(packets5::LastWill::new(
            topic,
            super::payloads::OFFLINE,
            QoS5::AtLeastOnce,
            true,
            Some(properties),
        ));
    }
    let (client, link) = v5::AsyncClient::new(with, QUEUE);
    let link = EventLoop::V5(Box::new(link));
    (
        Client::V5(client, options.session),
        Link::new(link, options),
    )
}

fn open4(options: &Options) -> (Client, Link) {
    let (host, port) = address(&options.target);
    let mut with = rumqttc::MqttOptions::new(&options.client_id, host, port);
    if matches!(options.target, Target::Relay(_)) {
        with.set_transport(Transport::unix());
    }
    with.set_keep_alive(KEEP_ALIVE)
        .set_clean_session(true)
        .set_max_packet_size(INCOMING_BYTES_MAX as usize, OUTGOING_BYTES_MAX as usize)
        .set_inflight(IN_FLIGHT_MAX as u16);
    if let Some(password) = &options.password {
        with.set_credentials(&options.username, password.expose());
    }
    if let Some(topic) = &options.status_topic {
        with.set_last_will(rumqttc::LastWill::new(
            topic,
            super::payloads::OFFLINE,
            QoS::AtLeastOnce,
            true,
        ));
    }
    let (client, mut link) = rumqttc::AsyncClient::new(with, QUEUE);
    link.set_network_options(network());
    let link = EventLoop::V4(Box::new(link));
    (Client::V4(client), Link::new(link, options))
}

fn session_property(session: u64) -> Vec<(String, String)> {
    vec![("session".to_owned(), session.to_string())]
}

impl Client {
    /// Queues a message; `false` when the queue is full.
    pub fn publish(&self, message: Message) -> bool {
        let Message {
            topic,
            payload,
            retain,
            content,
        } = message;
        match self {
            Self::V5(client, session) => {
                let mut properties = packets5::PublishProperties::default();
                match content {
                    Content::Json => {
                        properties.content_type = Some("application/json".to_owned());
                        let schema = super::payloads::SCHEMA.to_string();
                        properties.user_properties = vec![("schema".to_owned(), schema)];
                    }
                    Content::Jpeg => properties.content_type = Some("image/jpeg".to_owned()),
                    Content::Text => properties.user_properties = session_property(*session),
                }
                let qos = QoS5::AtLeastOnce;
                client
                    .try_publish_with_properties(topic, qos, retain, payload, properties)
                    .is_ok()
            }
            Self::V4(client) => client
                .try_publish(topic, QoS::AtLeastOnce, retain, payload)
                .is_ok(),
        }
    }

    /// Queues one subscription to all filters; `false` when the queue is full.
    pub fn subscribe(&self, filters: Vec<String>) -> bool {
        match self {
            Self::V5(client, _) => {
                let filter = |path| {
                    let mut filter = packets5::Filter::new(path, QoS5::AtLeastOnce);
                    // What we write on a command's topic ourselves is no news.
                    filter.nolocal = true;
                    filter
                };
                client
                    .try_subscribe_many(filters.into_iter().map(filter))
                    .is_ok()
            }
            Self::V4(client) => {
                let filter = |path| rumqttc::SubscribeFilter::new(path, QoS::AtLeastOnce);
                client
                    .try_subscribe_many(filters.into_iter().map(filter))
                    .is_ok()
            }
        }
    }

    /// Queues the farewell, after which the broker drops the will.
    pub fn disconnect(&self) {
        let _ = match self {
            Self::V5(client, _) => client.try_disconnect().is_ok(),
            Self::V4(client) => client.try_disconnect().is_ok(),
        };
    }
}

impl Link {
    fn new(events: EventLoop, options: &Options) -> Self {
        Self {
            wait: ReusableBoxFuture::new(events.poll()),
            more: VecDeque::new(),
            client_id: options.client_id.clone(),
        }
    }

    /// What happens next. A wait that is dropped goes on with the next call. After an error the link is over.
    ///
    /// # Errors
    /// Why the link ended, or did not come about.
    pub async fn next(&mut self) -> Result<Happening, LinkError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// What happened already; `None` where that would have to be waited for.
    pub async fn now(&mut self) -> Option<Result<Happening, LinkError>> {
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(happened) => Poll::Ready(Some(happened)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Happening, LinkError>> {
        if let Some(happening) = self.more.pop_front() {
            return Poll::Ready(Ok(happening));
        }
        let (mut events, happened) = ready!(self.wait.poll(cx));
        // Acknowledgements come many at a time.
        events.drain(&mut self.more);
        self.wait.set(events.poll());
        Poll::Ready(happened.map_err(|error| match error {
            LinkError::TakenOver(_) => LinkError::TakenOver(self.client_id.clone()),
            error => error,
        }))
    }
}

impl EventLoop {
    async fn poll(mut self) -> (Self, Result<Happening, LinkError>) {
        let happened = match &mut self {
            Self::V5(events) => events.poll().await.map(read5).map_err(error5),
            Self::V4(events) => events.poll().await.map(read4).map_err(error4),
        };
        (self, happened)
    }

    /// What the library holds ready.
    fn drain(&mut self, more: &mut VecDeque<Happening>) {
        match self {
            Self::V5(events) => more.extend(events.state.events.drain(..).map(read5)),
            Self::V4(events) => more.extend(events.state.events.drain(..).map(read4)),
        }
    }
}

fn read5(event: v5::Event) -> Happening {
    use packets5::{Packet, PubAckReason, SubscribeReasonCode};
    match event {
        v5::Event::Outgoing(rumqttc::Outgoing::Publish(id)) => Happening::Sent(id),
        v5::Event::Outgoing(rumqttc::Outgoing::Disconnect) => Happening::Farewell,
        v5::Event::Outgoing(_) => Happening::Nothing,
        v5::Event::Incoming(packet) => match packet {
            Packet::ConnAck(welcome) => Happening::Connected {
                packet_bytes_max: welcome.properties.and_then(|p| p.max_packet_size),
            },
            Packet::PubAck(ack) => {
                let is_taken = matches!(
                    ack.reason,
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers
                );
                Happening::Acknowledged(ack.pkid, is_taken)
            }
            Packet::SubAck(ack) => {
                let is_refused =
                    |code: &&SubscribeReasonCode| !matches!(code, SubscribeReasonCode::Success(_));
                Happening::Subscribed {
                    refused: ack.return_codes.iter().filter(is_refused).count(),
                }
            }
            Packet::Publish(message) => Happening::Received {
                topic: String::from_utf8_lossy(&message.topic).into_owned(),
                payload: message.payload,
                retain: message.retain,
            },
            _ => Happening::Nothing,
        },
    }
}

fn read4(event: rumqttc::Event) -> Happening {
    use rumqttc::{Packet, SubscribeReasonCode};
    match event {
        rumqttc::Event::Outgoing(rumqttc::Outgoing::Publish(id)) => Happening::Sent(id),
        rumqttc::Event::Outgoing(rumqttc::Outgoing::Disconnect) => Happening::Farewell,
        rumqttc::Event::Outgoing(_) => Happening::Nothing,
        rumqttc::Event::Incoming(packet) => match packet {
            Packet::ConnAck(_) => Happening::Connected {
                packet_bytes_max: None,
            },
            Packet::PubAck(ack) => Happening::Acknowledged(ack.pkid, true),
            Packet::SubAck(ack) => {
                let is_refused =
                    |code: &&SubscribeReasonCode| **code == SubscribeReasonCode::Failure;
                Happening::Subscribed {
                    refused: ack.return_codes.iter().filter(is_refused).count(),
                }
            }
            Packet::Publish(message) => Happening::Received {
                topic: message.topic,
                payload: message.payload,
                retain: message.retain,
            },
            _ => Happening::Nothing,
        },
    }
}

fn error5(error: v5::ConnectionError) -> LinkError {
    use packets5::{ConnectReturnCode as Code, DisconnectReasonCode};
    use v5::{ConnectionError as E, StateError};
    match error {
        E::ConnectionRefused(
            code @ (Code::BadUserNamePassword | Code::NotAuthorized | Code::Banned),
        ) => LinkError::Login(words(&code)),
        E::ConnectionRefused(code) => LinkError::Refused(words(&code)),
        E::Timeout(_) => LinkError::Timeout,
        E::Io(error) => LinkError::NoConnection(error.kind()),
        E::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            ..
        }) => LinkError::TakenOver(String::new()),
        E::MqttState(StateError::ServerDisconnect {
            reason_code,
            reason_string,
        }) => {
            let more = reason_string.map_or(String::new(), |text| format!(" ({text})"));
            LinkError::Lost(format!(
                "the broker said goodbye: {}{more}",
                words(&reason_code)
            ))
        }
        E::MqttState(StateError::Deserialization(
            v5::mqttbytes::Error::PayloadSizeLimitExceeded { .. },
        )) => LinkError::TooLarge,
        E::MqttState(StateError::ConnectionAborted) => closed(),
        other => LinkError::Lost(first_line(&other.to_string())),
    }
}

fn error4(error: rumqttc::ConnectionError) -> LinkError {
    use rumqttc::{ConnectReturnCode as Code, ConnectionError as E, StateError};
    match error {
        E::ConnectionRefused(code @ (Code::BadUserNamePassword | Code::NotAuthorized)) => {
            LinkError::Login(words(&code))
        }
        E::ConnectionRefused(code) => LinkError::Refused(words(&code)),
        E::NetworkTimeout | E::FlushTimeout => LinkError::Timeout,
        E::Io(error) => LinkError::NoConnection(error.kind()),
        E::MqttState(StateError::Deserialization(
            rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded(_),
        )) => LinkError::TooLarge,
        E::MqttState(StateError::ConnectionAborted) => closed(),
        other => LinkError::Lost(first_line(&other.to_string())),
    }
}

/// The broker hung up without a word.
pub fn closed() -> LinkError {
    LinkError::Lost("the broker closed the connection".to_owned())
}

/// `BadUserNamePassword` -> `bad user name password`
fn words(code: &impl std::fmt::Debug) -> String {
    let mut out = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn first_line(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_in_words() {
        let code = packets5::ConnectReturnCode::BadUserNamePassword;
        assert_eq!(words(&code), "bad user name password");
    }

    #[test]
    fn an_ipv6_address_gets_brackets() {
        let target = Target::Tcp("[fd00::2]:1883".parse().unwrap());
        assert_eq!(address(&target), ("[fd00::2]".to_owned(), 1883));
    }
}
