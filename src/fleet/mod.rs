//! Many gateways and one operator: what their topics tell, and the documents that say what each shall be
//! (carried out there by `mqtt::desired`). Deciding code, but for `link`, which speaks with the broker.

pub mod files;
pub mod link;
pub mod rollout;
pub mod selector;
pub mod view;
