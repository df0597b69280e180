//! Tries a broker once, step by step, for the one who sets it up: each step by its name.

use std::time::Duration;

use tokio::time::timeout;

use super::client::{self, Happening, Link, LinkError, Message};
use super::report::json;
use super::topics::Topics;
use super::{Settings, dial};

/// For the broker's answer to one step.
const STEP: Duration = Duration::from_secs(5);

/// One step and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub name: &'static str,
    /// What was found, or what is wrong and what to do.
    pub result: Result<String, String>,
}

/// Name, TCP, TLS, login, publish, subscribe; ends at the first that fails. Uses a client id of its
/// own, so that a running gateway stays connected.
pub async fn run(settings: &Settings, gateway: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let _ = walk(settings, gateway, &mut steps).await;
    steps
}

/// Notes a step; `None` ends the walk.
fn note<T>(
    steps: &mut Vec<Step>,
    name: &'static str,
    done: Result<(T, String), String>,
) -> Option<T> {
    let (value, result) = match done {
        Ok((value, found)) => (Some(value), Ok(found)),
        Err(why) => (None, Err(why)),
    };
    steps.push(Step { name, result });
    value
}

async fn walk(settings: &Settings, gateway: &str, steps: &mut Vec<Step>) -> Option<()> {
    let mqtt = &settings.mqtt;
    let url = mqtt.url.as_ref()?;
    let words = |error: dial::DialError| error.to_string();
    let found = dial::resolve(url, 0).await.map_err(words);
    let peer = note(
        steps,
        "name",
        found.map(|peer| (peer, format!("{} is {}", url.host, peer.ip()))),
    )?;
    let socket = dial::connect(peer).await.map_err(words);
    let socket = note(
        steps,
        "tcp",
        socket.map(|s| (s, format!("{peer} accepts connections"))),
    )?;
    if url.tls {
        let shaken = match dial::tls_config(mqtt) {
            Ok(config) => dial::handshake(config, url, peer, socket).await,
            Err(error) => Err(error),
        };
        let trusted = "the certificate is trusted".to_owned();
        note(steps, "tls", shaken.map_err(words).map(|_| ((), trusted)))?;
    } else {
        drop(socket);
    }
    let password = dial::password(mqtt, settings.password.clone()).map_err(words);
    let way = dial::dial(mqtt, url, 0).await.map_err(words);
    let user = match mqtt.username.as_str() {
        "" => gateway,
        name => name,
    };
    let options = password.and_then(|password| {
        let way = way?;
        Ok((options(settings, gateway, user, password, &way), way))
    });
    let opened = match options {
        Ok((options, way)) => match login(&options).await {
            Ok(opened) => Ok((opened, way)),
            Err(why) => Err(way.fault().map_or(why, |fault| fault.to_string())),
        },
        Err(why) => Err(why),
    };
    let opened = opened.map(|opened| (opened, format!("{user} is let in")));
    let (((client, link), _way), topics) = (
        note(steps, "login", opened)?,
        Topics::new(&mqtt.base_topic, &mqtt.discovery_prefix, gateway),
    );
    let (link, published) = publish(&client, link, &topics).await;
    note(steps, "publish", published.map(|topic| ((), topic)))?;
    let subscribed = subscribe(&client, link?, &topics).await;
    note(steps, "subscribe", subscribed.map(|topic| ((), topic)))
}

fn options(
    settings: &Settings,
    gateway: &str,
    user: &str,
    password: Option<crate::model::Secret>,
    way: &dial::Way,
) -> client::Options {
    client::Options {
        target: way.target.clone(),
        version: settings.mqtt.version,
        client_id: format!("{gateway}-check"),
        username: user.to_owned(),
        password,
        status_topic: None,
        session: 0,
    }
}

async fn login(options: &client::Options) -> Result<(client::Client, Link), String> {
    let (client, link) = client::open(options);
    let answer = until(link, |happening| match happening {
        Happening::Connected { .. } => Some(Ok(String::new())),
        _ => None,
    });
    match answer.await {
        (Some(link), Ok(_)) => Ok((client, link)),
        (_, Err(why)) => Err(why),
        (None, Ok(_)) => Err("the link ended".to_owned()),
    }
}

async fn publish(
    client: &client::Client,
    link: Link,
    topics: &Topics,
) -> (Option<Link>, Result<String, String>) {
    let topic = topics.own("event/connect_check");
    client.publish(Message {
        retain: false,
        ..super::report::retained(topic.clone(), json(&"check"))
    });
    until(link, |happening| match happening {
        Happening::Acknowledged(_, true) => Some(Ok(format!("{topic} is taken"))),
        Happening::Acknowledged(_, false) => Some(Err(format!(
            "the broker does not let this login publish on {topic}: look at its access list"
        ))),
        _ => None,
    })
    .await
}

async fn subscribe(client: &client::Client, link: Link, topics: &Topics) -> Result<String, String> {
    let filters = topics.subscriptions();
    let count = filters.len();
    client.subscribe(filters);
    let answer = until(link, |happening| match happening {
        Happening::Subscribed { refused: 0 } => Some(Ok(format!("{count} filters are taken"))),
        Happening::Subscribed { refused } => Some(Err(format!(
            "the broker refuses {refused} of {count} subscriptions: commands will not come through; look at its access list"
        ))),
        _ => None,
    });
    let (link, result) = answer.await;
    client.disconnect();
    if let Some(mut link) = link {
        // The goodbye goes out with the next turn; the result stands whether it does or not.
        let _ = timeout(Duration::from_millis(500), link.next()).await;
    }
    result
}

/// Moves the link until `wanted` says something.
async fn until(
    link: Link,
    mut wanted: impl FnMut(Happening) -> Option<Result<String, String>>,
) -> (Option<Link>, Result<String, String>) {
    let moving = async {
        let mut link = link;
        loop {
            match link.next().await {
                Ok(happening) => {
                    if let Some(result) = wanted(happening) {
                        return (Some(link), result);
                    }
                }
                Err(error) => return (None, Err(error.to_string())),
            }
        }
    };
    let late = || (None, Err(LinkError::Timeout.to_string()));
    timeout(STEP, moving).await.unwrap_or_else(|_| late())
}
