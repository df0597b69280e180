//! Manufacturers as data: URL templates, ports, fingerprints, MAC prefixes, quirks. To add a maker,
//! add one file to `makers/`; an operator overrides or adds one in the configuration.
//!
//! [`Catalogue`] is the way in. The built-in entries are packed at build time (`build.rs`) into
//! tables without pointers, so they cost no heap and no private memory.

mod addresses;
mod bodies;
mod candidates;
mod catalogue;
mod check;
mod generate;
mod identify;
mod maker;
mod pack;
pub mod raw;
mod recorder;
mod secrets;
mod tables;
mod template;

#[cfg(test)]
mod bodies_tests;
#[cfg(test)]
mod table_tests;

pub use addresses::FACTORY_ADDRESSES;
pub use bodies::{
    Lists, MakerBody, MakerSummary, MakersBody, NamedUrl, NvrBody, TemplatesBody, maker_body,
    manufacturers_body, templates_body,
};
pub use candidates::{Candidate, Site};
pub use catalogue::{Catalogue, UnknownMaker};
pub use generate::{ClearUrl, GenerateError, GenerateUrls, GeneratedUrls, generate_urls};
pub use identify::{Hint, Strength, parse_mac};
pub use maker::Maker;
pub use pack::Problem;
pub use raw::RawMaker;
pub use recorder::{recorder_snapshot, recorder_streams};
pub use secrets::FoundLogin;
pub use tables::{Category, Evidence, Field, Service, Slot};
pub use template::{Place, Template};
