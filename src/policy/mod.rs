//! Decisions: values and `now` in, values out. No sockets, files, clocks or logs here.

pub mod backoff;
pub mod bucket;
pub mod closest;
pub mod follow;
pub mod ledger;
pub mod lifecycle;
pub mod networks;
pub mod ongoing;
pub mod rank;
pub mod rhythm;
pub mod round_trip;
pub mod score;
pub mod uptime;
