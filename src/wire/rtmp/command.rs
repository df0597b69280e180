//! What a server answers, and what its refusals mean.

use super::{COMMAND, COMMAND_AMF3};
use crate::wire::amf::{self, Value};

/// A command from the server (section 7.2).
#[derive(Debug, Clone, PartialEq)]
pub struct Command<'a> {
    values: Vec<Value<'a>>,
}

/// The information object of an answer or of `onStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    pub is_error: bool,
    /// `NetStream.Play.Start` and its like.
    pub code: String,
    pub description: String,
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such application or stream.
    NotFound,
    /// Who asks may not.
    Login,
    /// A login by RTMP's own challenges (`authmod=adobe`, `authmod=llnw`), which we do not speak.
    Challenge,
    Busy,
    Other,
}

impl<'a> Command<'a> {
    /// Reads a message's body; `None` when it is no command.
    pub fn parse(kind: u8, body: &'a [u8]) -> Option<Self> {
        let body = match kind {
            COMMAND => body,
            // AMF3 commands begin with a zero and go on in AMF0.
            COMMAND_AMF3 => body.strip_prefix(&[0]).unwrap_or(body),
            _ => return None,
        };
        let values = amf::read_all(body);
        let is_command = matches!(values.first(), Some(Value::Text(_)));
        is_command.then_some(Self { values })
    }

    pub fn is(&self, name: &str) -> bool {
        self.values.first() == Some(&Value::text(name))
    }

    /// Which of our commands it answers; some servers say 0 for each.
    pub fn transaction(&self) -> Option<f64> {
        self.values.get(1)?.as_number()
    }

    /// The number behind the command object: the stream that was created.
    pub fn stream(&self) -> Option<u32> {
        let number = self.values.get(3)?.as_number()?;
        (1.0..=f64::from(u32::MAX))
            .contains(&number)
            .then_some(number as u32)
    }

    /// The last object among the arguments, where it has a code.
    pub fn status(&self) -> Status {
        let text = |name: &str| {
            let objects = self.values.iter().skip(2).rev();
            let mut found = objects.filter_map(|object| object.get(name)?.as_text());
            found.next().unwrap_or_default().into_owned()
        };
        Status {
            is_error: self.is("_error") || text("level") == "error",
            code: text("code"),
            description: text("description"),
        }
    }
}

impl Status {
    /// Does it end what was asked for? Some servers report faults as mere statuses.
    pub fn is_refusal(&self) -> bool {
        const ENDS: [&str; 5] = [
            ".StreamNotFound",
            ".Failed",
            ".Rejected",
            ".Closed",
            ".InvalidApp",
        ];
        self.is_error || ENDS.iter().any(|end| self.code.ends_with(end))
    }

    /// The stream was there and is not any more.
    pub fn ends_stream(&self) -> bool {
        const ENDS: [&str; 3] = [".UnpublishNotify", ".Stop", ".Complete"];
        self.is_refusal() || ENDS.iter().any(|end| self.code.ends_with(end))
    }

    /// By code where that is clear, else by the words of the description.
    pub fn refusal(&self) -> Refusal {
        let words = self.description.to_ascii_lowercase();
        let has = |list: &[&str]| list.iter().any(|word| words.contains(word));
        if words.contains("authmod=") {
            return match words.contains("reason=authfailed") || words.contains("reason=nosuchuser")
            {
                true => Refusal::Login,
                false => Refusal::Challenge,
            };
        }
        if has(&[
            "auth",
            "password",
            "login",
            "permission",
            "denied",
            "forbidden",
            "not allowed",
        ]) {
            return Refusal::Login;
        }
        if self.code.ends_with(".StreamNotFound") || self.code.ends_with(".InvalidApp") {
            return Refusal::NotFound;
        }
        if has(&[
            "not found",
            "no such",
            "does not exist",
            "no stream",
            "not exist",
            "invalid app",
        ]) {
            return Refusal::NotFound;
        }
        if has(&["busy", "too many", "limit", "maximum"]) {
            return Refusal::Busy;
        }
        Refusal::Other
    }
}
