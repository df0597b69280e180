//! OhmVision Edge: finds every camera on a site, works out how to connect to it, proves that
//! pictures arrive, watches that, and reports. Data flows one way: discover -> identify -> probe ->
//! record -> report.

pub mod model;

pub mod policy;
pub mod vendor;
pub mod wire;

pub mod probe;
pub mod store;

pub mod brake;
pub mod detect;
pub mod discover;
pub mod site;

pub mod api;
pub mod monitor;
pub mod mqtt;

pub mod config;
pub mod control;
pub mod exit;
pub mod fleet;
pub mod logging;
pub mod supervise;
pub mod sys;

pub mod cli;
pub mod daemon;
