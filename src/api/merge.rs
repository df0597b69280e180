//! JSON merge-patch (RFC 7396) on the record of a camera.

use serde_json::{Map, Value};

/// Applies `patch` to `target`: objects merge, `null` removes, anything else replaces.
pub fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(inner) => {
                let slot = target.entry(name.as_str()).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(slot) = slot {
                    merge(slot, inner);
                }
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
}

/// What a `PATCH` of a camera comes to: the whole record, ready to be read like the body of a `PUT`.
///
/// Two things differ from the bare rule: `null` stays where it says more than "absent" (it removes a
/// password that the record does not show), and a new `connection_config.timeout` displaces the
/// `timeout_ms` that it is an alias of.
pub fn patched(record: &Map<String, Value>, patch: &Map<String, Value>) -> Map<String, Value> {
    let mut whole = record.clone();
    merge(&mut whole, patch);
    for (name, _) in patch.iter().filter(|(_, value)| value.is_null()) {
        whole.insert(name.clone(), Value::Null);
    }
    let says = |key: &str| {
        let config = patch.get("connection_config").and_then(Value::as_object);
        config.is_some_and(|c| c.contains_key(key))
    };
    if says("timeout")
        && !says("timeout_ms")
        && let Some(Value::Object(config)) = whole.get_mut("connection_config")
    {
        config.remove("timeout_ms");
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn follows_the_table_of_rfc_7396() {
        for (target, patch, want) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!({"a": 1}),
                json!({"a": {"b": {"c": null}}}),
                json!({"a": {"b": {}}}),
            ),
        ] {
            let mut got = object(target.clone());
            merge(&mut got, &object(patch.clone()));
            assert_eq!(Value::Object(got), want, "{target} + {patch}");
        }
    }

    #[test]
    fn a_null_password_is_still_said() {
        let whole = patched(
            &object(json!({"name": "a"})),
            &object(json!({"password": null})),
        );
        assert_eq!(Value::Object(whole), json!({"name": "a", "password": null}));
    }

    #[test]
    fn the_alias_displaces_what_it_stands_for() {
        let record = object(json!({"connection_config": {"timeout_ms": 3000, "retry": 2}}));
        let whole = patched(
            &record,
            &object(json!({"connection_config": {"timeout": 5}})),
        );
        assert_eq!(
            Value::Object(whole),
            json!({"connection_config": {"timeout": 5, "retry": 2}})
        );
    }
}
