//! Orders to the daemon itself: show, change and reload its configuration, begin anew. Given by the API
//! and over MQTT, carried out by the one who owns the configuration.

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait.
const WAITING_MAX: usize = 8;

/// `GET /api/config`.
#[derive(Debug, Clone, Serialize)]
pub struct ConfigView {
    pub gateway_id: String,
    /// `{"section": {"key": value}}`, the shape of a change.
    pub config: Value,
    /// `{"section.key": {"layer", "place"}}`
    pub origins: Value,
    /// Keys whose value takes effect at the next start.
    pub at_next_start: Vec<&'static str>,
    /// A password for the broker is stored; a file of the configuration goes before it.
    pub has_mqtt_password: bool,
    /// A change that takes itself back.
    pub trial: Option<TrialView>,
    /// The last one was taken back.
    pub reverted: bool,
}

/// A change of how the gateway is reached, until it has proved itself.
#[derive(Debug, Clone, Serialize)]
pub struct TrialView {
    /// `broker`, `caller`: who must be reached.
    pub needs: Vec<&'static str>,
    /// Seconds until the change is taken back; null while it waits for the next start.
    pub reverts_in_s: Option<u64>,
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Field and sentence, every mistake.
    #[error("{}", sentence(.0))]
    Invalid(Vec<(String, String)>),
    #[error("{key} is set by {by} and cannot be changed here")]
    Fixed { key: String, by: String },
    #[error("{0}")]
    Unreadable(String),
    #[error("{0}")]
    Store(String),
    #[error("the gateway is stopping")]
    Stopping,
}

fn sentence(errors: &[(String, String)]) -> String {
    let one = |(key, problem): &(String, String)| format!("{key} {problem}");
    errors.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// An answer is awaited.
pub type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// What may be ordered.
#[derive(Debug)]
pub enum Order {
    Show(Reply<ConfigView>),
    /// RFC 7396 on the stored settings; `mqtt.password` is taken too and never shown.
    Change(Map<String, Value>, Reply<ConfigView>),
    Reload(Reply<ConfigView>),
    /// Ends the daemon in order; the service manager begins it anew.
    Restart(Reply<()>),
}

/// Gives orders.
#[derive(Debug, Clone)]
pub struct Control(mpsc::Sender<Order>);

impl Control {
    /// With the side that carries them out.
    pub fn new() -> (Self, mpsc::Receiver<Order>) {
        let (give, take) = mpsc::channel(WAITING_MAX);
        (Self(give), take)
    }

    pub async fn show(&self) -> Result<ConfigView, ControlError> {
        self.give(Order::Show).await
    }

    /// # Errors
    /// Every mistake in the change, a fixed key, the store's.
    pub async fn change(&self, changes: Map<String, Value>) -> Result<ConfigView, ControlError> {
        self.give(|reply| Order::Change(changes, reply)).await
    }

    /// # Errors
    /// The sources cannot be read or are wrong; what runs stays.
    pub async fn reload(&self) -> Result<ConfigView, ControlError> {
        self.give(Order::Reload).await
    }

    pub async fn restart(&self) -> Result<(), ControlError> {
        self.give(Order::Restart).await
    }

    async fn give<T>(&self, order: impl FnOnce(Reply<T>) -> Order) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        let given = self.0.send(order(reply)).await;
        given.map_err(|_| ControlError::Stopping)?;
        answer.await.unwrap_or(Err(ControlError::Stopping))
    }
}
