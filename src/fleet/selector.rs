//! Which gateways are meant, as people write it: `site=paris,role=nvr`.

use serde_json::{Map, Value, json};

use crate::mqtt::command::Selector;

/// Reads `name=value,..`; `site` is the site, all others are labels. Empty or `all`: every gateway.
///
/// # Errors
/// A sentence.
pub fn parse(text: &str) -> Result<Selector, String> {
    let mut selector = Selector::default();
    let text = text.trim();
    if text.is_empty() || text == "all" {
        return Ok(selector);
    }
    for part in text.split(',') {
        let pair = part.trim().split_once('=');
        let (name, value) = pair.ok_or(format!(
            "`{part}` is no selector: write name=value, as in site=paris,role=nvr"
        ))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || value.is_empty() {
            return Err(format!("`{part}` lacks a name or a value"));
        }
        match name {
            "site" if selector.site.is_some() => return Err("`site` stands twice".to_owned()),
            "site" => selector.site = Some(value.to_owned()),
            _ if selector.labels.iter().any(|(known, _)| known == name) => {
                return Err(format!("`{name}` stands twice"));
            }
            _ => selector.labels.push((name.to_owned(), value.to_owned())),
        }
    }
    Ok(selector)
}

/// As it stands in a command to all gateways.
pub fn to_json(selector: &Selector) -> Value {
    let mut value = Map::new();
    if let Some(site) = &selector.site {
        value.insert("site".to_owned(), json!(site));
    }
    if !selector.labels.is_empty() {
        let labels: Map<String, Value> = selector
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        value.insert("labels".to_owned(), Value::Object(labels));
    }
    Value::Object(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read() {
        let selector = parse("site=paris, role=nvr").unwrap();
        assert_eq!(
            to_json(&selector),
            json!({"site": "paris", "labels": {"role": "nvr"}})
        );
        assert_eq!(parse("all"), Ok(Selector::default()));
        for wrong in ["paris", "site=", "=x", "site=a,site=b", "a=1,a=2", "a=1,,"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
