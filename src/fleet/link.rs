//! The operator's link to the broker of a fleet: one session, everything retained heard first.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::view::Fleet;
use crate::mqtt::client::{self, Client, Content, Happening, Message};
use crate::mqtt::{Settings, dial};

/// From dialling to the broker's answer to the subscription.
const OPEN: Duration = Duration::from_secs(15);
/// What is retained has come when nothing came for this long.
const QUIET: Duration = Duration::from_millis(400);
/// Longest wait for it.
const SETTLE: Duration = Duration::from_secs(30);
/// Messages that are published without an answer.
const OUT_MAX: usize = client::IN_FLIGHT_MAX - 16;

/// One message that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    pub topic: String,
    pub payload: Bytes,
}

/// An open link.
pub struct Link {
    client: Client,
    events: client::Link,
    /// Keeps the TLS relay.
    _way: dial::Way,
    unanswered: usize,
    heard: VecDeque<Heard>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// A sentence that names the step.
    pub async fn open(settings: &Settings, filters: Vec<String>) -> Result<Self, String> {
        let mqtt = &settings.mqtt;
        let url = mqtt
            .url
            .as_ref()
            .ok_or("no broker is named: give --broker, or set mqtt.url")?;
        let words = |error: dial::DialError| error.to_string();
        let password = dial::password(mqtt, settings.password.clone()).map_err(words)?;
        let way = dial::dial(mqtt, url, 0).await.map_err(words)?;
        let client_id = format!("ohmvision-fleet-{}", uuid::Uuid::now_v7().simple());
        let (client, events) = client::open(&client::Options {
            target: way.target.clone(),
            version: mqtt.version,
            client_id,
            username: mqtt.username.clone(),
            password,
            status_topic: None,
            session: 0,
        });
        let mut link = Self {
            client,
            events,
            _way: way,
            unanswered: 0,
            heard: VecDeque::new(),
        };
        let until = Instant::now() + OPEN;
        let late = || format!("the broker did not answer within {} s", OPEN.as_secs());
        loop {
            match link.step(until).await? {
                Some(Happening::Connected { .. }) => break,
                Some(_) => {}
                None => return Err(late()),
            }
        }
        link.subscribe(filters, until).await?;
        Ok(link)
    }

    /// Listens to more.
    ///
    /// # Errors
    /// The link is lost, or the broker refuses.
    pub async fn subscribe(&mut self, filters: Vec<String>, until: Instant) -> Result<(), String> {
        self.client.subscribe(filters);
        loop {
            match self.step(until).await? {
                Some(Happening::Subscribed { refused: 0 }) => return Ok(()),
                Some(Happening::Subscribed { refused }) => {
                    return Err(format!(
                        "the broker refuses {refused} of the topics: look at its access list"
                    ));
                }
                Some(_) => {}
                None => return Err("the broker did not answer the subscription".to_owned()),
            }
        }
    }

    /// Hears what is retained of the fleet.
    ///
    /// # Errors
    /// The link is lost.
    pub async fn settle(&mut self, base: &str) -> Result<Fleet, String> {
        let mut fleet = Fleet::default();
        let end = Instant::now() + SETTLE;
        loop {
            let quiet = (Instant::now() + QUIET).min(end);
            match self.next(quiet).await? {
                Some(heard) => {
                    fleet.hear(base, &heard.topic, &heard.payload);
                }
                None => return Ok(fleet),
            }
        }
    }

    /// The next message; `None` when there is none until then.
    ///
    /// # Errors
    /// The link is lost.
    pub async fn next(&mut self, until: Instant) -> Result<Option<Heard>, String> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(Some(heard));
            }
            if self.step(until).await?.is_none() {
                return Ok(None);
            }
        }
    }

    /// Publishes, retained or not, QoS 1; waits only while too many are without an answer.
    ///
    /// # Errors
    /// The link is lost, or the broker refuses a message.
    pub async fn publish(
        &mut self,
        topic: String,
        payload: String,
        retain: bool,
    ) -> Result<(), String> {
        let until = Instant::now() + OPEN;
        while self.unanswered >= OUT_MAX {
            if self.step(until).await?.is_none() {
                return Err("the broker does not acknowledge messages".to_owned());
            }
        }
        self.unanswered += 1;
        let message = Message {
            topic,
            payload: payload.into(),
            retain,
            content: Content::Json,
        };
        match self.client.publish(message) {
            true => Ok(()),
            false => Err("too many messages wait for the broker".to_owned()),
        }
    }

    /// Waits until everything published is acknowledged.
    ///
    /// # Errors
    /// The link is lost, or the broker refuses a message.
    pub async fn flush(&mut self) -> Result<(), String> {
        let until = Instant::now() + OPEN;
        while self.unanswered > 0 {
            if self.step(until).await?.is_none() {
                return Err("the broker does not acknowledge messages".to_owned());
            }
        }
        Ok(())
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        let _ = self.flush().await;
        self.client.disconnect();
        let until = Instant::now() + Duration::from_secs(1);
        while let Ok(Some(happening)) = self.step(until).await {
            if happening == Happening::Farewell {
                return;
            }
        }
    }

    /// The next thing that happens; messages are put aside. A wait that ends early goes on at the next call.
    async fn step(&mut self, until: Instant) -> Result<Option<Happening>, String> {
        let Ok(happened) = timeout_at(until, self.events.next()).await else {
            return Ok(None);
        };
        match happened.map_err(|error| error.to_string())? {
            Happening::Received { topic, payload, .. } => {
                self.heard.push_back(Heard { topic, payload });
                Ok(Some(Happening::Nothing))
            }
            Happening::Acknowledged(_, is_taken) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                match is_taken {
                    true => Ok(Some(Happening::Nothing)),
                    false => Err(
                        "the broker does not let this login publish: look at its access list"
                            .to_owned(),
                    ),
                }
            }
            happening => Ok(Some(happening)),
        }
    }
}
