//! From dialling to the broker's welcome.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::super::client::{self, Happening, Link, LinkError};
use super::super::outbox::Outbox;
use super::super::published::Published;
use super::super::topics::Topics;
use super::super::{Counters, Failure, Reporter, Settings, dial};
use super::Session;
use crate::store::StoreError;

/// From the connection to the broker's welcome.
const WELCOME: Duration = Duration::from_secs(15);

pub(super) type Opened<'a> = (Session<'a>, dial::Way, Link);

pub(super) async fn open(
    reporter: &Reporter,
    settings: Arc<Settings>,
    turn: u32,
) -> Result<Opened<'_>, Failure> {
    let site = &reporter.parts.site;
    let mqtt = &settings.mqtt;
    let url = mqtt
        .url
        .as_ref()
        .ok_or(LinkError::Lost("no broker is set".to_owned()))?;
    let password = dial::password(mqtt, settings.password.clone())?;
    let way = dial::dial(mqtt, url, turn as usize).await?;
    let topics = Topics::new(
        &mqtt.base_topic,
        &mqtt.discovery_prefix,
        &reporter.parts.gateway,
    );
    let number = reporter.counters.sessions.load(Ordering::Relaxed) + 1;
    let (client, link) = client::open(&client::Options {
        target: way.target.clone(),
        version: mqtt.version,
        client_id: reporter.parts.gateway.clone(),
        username: match mqtt.username.as_str() {
            "" => reporter.parts.gateway.clone(),
            name => name.to_owned(),
        },
        password,
        status_topic: Some(topics.status()),
        session: number,
    });
    let welcomed = welcome(link, way.peer).await;
    let (link, bytes_max) = welcomed.map_err(|error| match way.fault() {
        Some(fault) => Failure::Dial(fault),
        None => error.into(),
    })?;
    reporter.count(|c: &Counters| &c.sessions);
    let stored = |error: StoreError| Failure::Store(error.to_string());
    let outbox = Outbox::open(site).await.map_err(stored)?;
    let published = Published::load(site.store()).await.map_err(stored)?;
    let now = Instant::now();
    let session = Session {
        reporter,
        topics,
        client,
        number,
        bytes_max,
        ready: VecDeque::new(),
        handed: VecDeque::new(),
        in_flight: HashMap::new(),
        outbox,
        published,
        is_saved: true,
        told: HashMap::new(),
        due: BTreeSet::new(),
        cams_changed: false,
        cams_at: now,
        pictures: HashMap::new(),
        round: None,
        health_at: now,
        again_at: None,
        warned: false,
        settings,
    };
    Ok((session, way, link))
}

/// Waits until the broker lets us in; the largest message it takes comes with that.
async fn welcome(mut link: Link, peer: std::net::SocketAddr) -> Result<(Link, usize), LinkError> {
    let answered = async {
        loop {
            if let Happening::Connected { packet_bytes_max } = link.next().await? {
                let most = client::OUTGOING_BYTES_MAX.min(packet_bytes_max.unwrap_or(u32::MAX));
                return Ok((link, most as usize));
            }
        }
    };
    let answered = timeout(WELCOME, answered).await;
    answered
        .unwrap_or(Err(LinkError::Timeout))
        .map_err(|error| match error {
            LinkError::NoConnection(kind) => LinkError::Lost(dial::connect_words(peer, kind)),
            other => other,
        })
}
