//! One value of a setting, wherever it was written: TOML, JSON, an environment variable.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use toml::de::DeValue;

/// A value before it is known whether the key wants such a one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    Text(String),
    Switch(bool),
    Integer(i64),
    Number(f64),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
    /// Something that no key takes, described for the error message.
    Other(&'static str),
}

const MIXED_LIST: &str = "a list that holds something other than texts";
const MIXED_TABLE: &str = "a table that holds something other than texts";
/// First number beyond `i64`.
const I64_END: f64 = 9_223_372_036_854_775_808.0;
const HUGE: &str = "a number beyond 64 bits";

impl Value {
    /// Reads a TOML value.
    pub fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Boolean(switch) => Self::Switch(*switch),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Other(HUGE), Self::Integer),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or(Self::Other(HUGE), Self::Number),
            DeValue::Array(items) => {
                let texts = items.iter().map(|item| item.get_ref().as_str());
                texts
                    .map(|text| text.map(str::to_owned))
                    .collect::<Option<_>>()
                    .map_or(Self::Other(MIXED_LIST), Self::List)
            }
            DeValue::Table(table) => {
                let pair = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                    let key: &toml::de::DeString<'_> = key.get_ref();
                    Some((key.to_string(), value.get_ref().as_str()?.to_owned()))
                };
                table
                    .iter()
                    .map(pair)
                    .collect::<Option<_>>()
                    .map_or(Self::Other(MIXED_TABLE), Self::Map)
            }
            DeValue::Datetime(_) => Self::Other("a date"),
        }
    }

    /// Reads a JSON value, as settings are stored and patched.
    pub fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let text = |value: &Json| value.as_str().map(str::to_owned);
        match value {
            Json::String(text) => Self::Text(text.clone()),
            Json::Bool(switch) => Self::Switch(*switch),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Self::Integer(integer),
                (None, Some(number)) if number.abs() < I64_END => Self::Number(number),
                _ => Self::Other(HUGE),
            },
            Json::Array(items) => items
                .iter()
                .map(text)
                .collect::<Option<_>>()
                .map_or(Self::Other(MIXED_LIST), Self::List),
            Json::Object(fields) => fields
                .iter()
                .map(|(key, value)| Some((key.clone(), text(value)?)))
                .collect::<Option<_>>()
                .map_or(Self::Other(MIXED_TABLE), Self::Map),
            Json::Null => Self::Other("null"),
        }
    }

    /// What this is, for "must be ..., not ...".
    pub fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("the text {}", super::texts::shown(text)),
            Self::Switch(switch) => switch.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a table".to_owned(),
            Self::Other(what) => (*what).to_owned(),
        }
    }
}

/// As TOML.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => quoted(f, text),
            Self::Switch(switch) => switch.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Number(number) => write!(f, "{number:?}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    quoted(f, item)?;
                }
                f.write_str("]")
            }
            Self::Map(fields) => {
                f.write_str("{")?;
                for (i, (key, value)) in fields.iter().enumerate() {
                    f.write_str(if i == 0 { " " } else { ", " })?;
                    quoted(f, key)?;
                    f.write_str(" = ")?;
                    quoted(f, value)?;
                }
                f.write_str(if fields.is_empty() { "}" } else { " }" })
            }
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// A TOML basic string.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(toml: &str) -> Value {
        Value::from_toml(DeValue::parse(toml).unwrap().get_ref())
    }

    #[test]
    fn reads_both_notations_alike() {
        for (toml, json) in [
            ("\"a\"", "\"a\""),
            ("true", "true"),
            ("1_000", "1000"),
            ("0xff", "255"),
            ("0.5", "0.5"),
            ("[\"a\", \"b\"]", "[\"a\",\"b\"]"),
            ("{ a = \"b\" }", "{\"a\":\"b\"}"),
            ("[1]", "[1]"),
            ("99999999999999999999", "99999999999999999999"),
        ] {
            let json = Value::from_json(&serde_json::from_str(json).unwrap());
            assert_eq!(read(toml), json, "{toml}");
        }
        assert_eq!(read("2026-01-01"), Value::Other("a date"));
    }

    proptest! {
        #[test]
        fn what_it_writes_it_reads(
            text in any::<String>(),
            list in proptest::collection::vec(any::<String>(), 0..3),
            map in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..3),
            integer in any::<i64>(),
            number in -1e9..1e9f64,
        ) {
            for value in [
                Value::Text(text), Value::List(list), Value::Map(map),
                Value::Integer(integer), Value::Number(number),
            ] {
                prop_assert_eq!(read(&value.to_string()), value);
            }
        }
    }
}
