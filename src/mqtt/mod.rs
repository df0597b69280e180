//! Reports to an MQTT broker and takes commands from it. Nothing is sent before `mqtt.url` is set.
//!
//! What stands in topics is made by `topics`, `payloads` and `discovery`, which touch nothing.

pub mod client;
pub mod discovery;
pub mod payloads;
pub mod slug;
pub mod topics;
