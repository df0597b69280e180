//! Many gateways and one operator: the documents that say what each shall be, and what it says back.
//! Deciding code alone; `mqtt::desired` carries out, `cli::fleet` writes.

pub mod desired;
pub mod differences;
