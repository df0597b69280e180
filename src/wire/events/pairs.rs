//! Names and texts of a message whose form does not matter: a form, a query, XML, JSON.

use serde_json::Value;

use crate::model::percent_decode;
use crate::wire::xml::{Step, walk};

/// Pairs that are kept of one message.
const PAIRS_MAX: usize = 256;
/// Longest text that is kept, characters.
const CHARS_MAX: usize = 200;
/// Depth of nested JSON that is looked at.
const DEPTH_MAX: usize = 16;

/// In the order of the message; the names are local ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub fn one(name: &str, text: &str) -> Self {
        let mut pairs = Self::default();
        pairs.push(name, text);
        pairs
    }

    /// `a=1&b=2`, or one to a line; percent-encoding and `+` read as forms write them.
    pub fn of_form(text: &str) -> Self {
        let mut pairs = Self::default();
        for part in text.split(['&', '\n', '\r', ';']) {
            if let Some((name, value)) = part.split_once('=') {
                let decoded = |t: &str| percent_decode(&t.trim().replace('+', " "));
                pairs.push(&decoded(name), &decoded(value));
            }
        }
        pairs
    }

    /// Elements with text, and attributes; up to where the document breaks.
    pub fn of_xml(document: &[u8]) -> Self {
        let mut pairs = Self::default();
        // What could be read before a fault is worth having.
        let _ = walk(document, |step| match step {
            Step::Leaf(leaf) if !leaf.text.is_empty() => pairs.push(leaf.name(), leaf.text),
            Step::Attribute(a) => pairs.push(a.name, a.text),
            _ => {}
        });
        pairs
    }

    /// Every text, number and truth value, by the name nearest to it.
    pub fn of_json(value: &Value) -> Self {
        let mut pairs = Self::default();
        pairs.add_json("", value, 0);
        pairs
    }

    fn add_json(&mut self, name: &str, value: &Value, depth: usize) {
        match value {
            Value::Object(map) if depth < DEPTH_MAX => {
                // Plain fields first: those of the message itself count more than nested ones.
                let is_nested = |v: &Value| v.is_object() || v.is_array();
                for wanted in [false, true] {
                    for (key, inner) in map.iter().filter(|(_, v)| is_nested(v) == wanted) {
                        self.add_json(key, inner, depth + 1);
                    }
                }
            }
            Value::Array(items) if depth < DEPTH_MAX => {
                for item in items.iter().take(PAIRS_MAX) {
                    self.add_json(name, item, depth + 1);
                }
            }
            Value::String(text) => self.push(name, text),
            Value::Number(number) => self.push(name, &number.to_string()),
            Value::Bool(is) => self.push(name, if *is { "true" } else { "false" }),
            _ => {}
        }
    }

    pub fn push(&mut self, name: &str, text: &str) {
        if self.0.len() < PAIRS_MAX {
            let text = text.trim().chars().take(CHARS_MAX).collect();
            self.0.push((name.to_owned(), text));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, t)| (n.as_str(), t.as_str()))
    }

    /// The first text of this name, whatever its case; empty ones are none.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .iter()
            .find(|(n, text)| n.eq_ignore_ascii_case(name) && !text.is_empty());
        found.map(|(_, text)| text)
    }

    /// The first of several names that has a text.
    pub fn any(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    pub fn number<T: std::str::FromStr>(&self, names: &[&str]) -> Option<T> {
        self.any(names).and_then(|text| text.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_xml_and_json() {
        let form = Pairs::of_form("type=line+crossing&mac=00%3A11\nEvent=x");
        assert_eq!(form.get("TYPE"), Some("line crossing"));
        assert_eq!(form.any(&["nothing", "mac"]), Some("00:11"));
        let xml = Pairs::of_xml(b"<a><n:b c='2'>x</n:b><d/><e>half");
        assert_eq!(
            xml.iter().collect::<Vec<_>>(),
            [("c", "2"), ("b", "x")],
            "what stands before the fault"
        );
        let json = serde_json::json!({"a": {"channel": 7}, "channel": 2, "on": true});
        let json = Pairs::of_json(&json);
        assert_eq!(json.number::<u32>(&["channel"]), Some(2));
        assert_eq!(json.get("on"), Some("true"));
    }

    #[test]
    fn bounded() {
        let many: String = (0..2000)
            .map(|i| format!("a{i}={}&", "x".repeat(900)))
            .collect();
        let pairs = Pairs::of_form(&many);
        assert_eq!(pairs.0.len(), PAIRS_MAX);
        assert_eq!(pairs.get("a0").unwrap().len(), CHARS_MAX);
        let mut deep = serde_json::json!(1);
        for _ in 0..100 {
            deep = serde_json::json!([deep]);
        }
        assert!(Pairs::of_json(&deep).is_empty());
    }
}
