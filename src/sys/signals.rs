//! Signals that end or reload the daemon.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that matter.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    /// # Errors
    /// The system takes no handler.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    pub async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.term.recv() => Signalled::End("SIGTERM"),
            _ = self.int.recv() => Signalled::End("SIGINT"),
            _ = self.hup.recv() => Signalled::Reload,
        }
    }

    /// The next signal that ends; reloads on the way are passed over.
    pub async fn end(&mut self) -> &'static str {
        loop {
            if let Signalled::End(name) = self.next().await {
                return name;
            }
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signalled {
    End(&'static str),
    Reload,
}
