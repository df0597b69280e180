//! Does a value fit a schema of the document? The few words of JSON Schema that the document uses;
//! a word that is not known here fails, so that none is passed over.

use serde_json::Value;

/// Where and why `value` does not fit.
pub(super) fn misfit(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let schema_map = schema.as_object()?;
    for (word, wanted) in schema_map {
        let fits = match word.as_str() {
            "description" | "format" | "default" | "writeOnly" | "properties" | "required" => true,
            "$ref" => {
                let pointer = wanted.as_str()?.strip_prefix('#')?;
                let found = document.pointer(pointer);
                let found = found.unwrap_or_else(|| panic!("{pointer} leads nowhere"));
                match misfit(document, found, value) {
                    None => true,
                    misfit => return misfit,
                }
            }
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|t| has_type(t, value)),
                one => has_type(one, value),
            },
            "enum" => wanted.as_array()?.contains(value),
            "const" => wanted == value,
            "oneOf" => {
                let fitting = wanted
                    .as_array()?
                    .iter()
                    .filter(|s| misfit(document, s, value).is_none());
                fitting.count() == 1
            }
            "minimum" => value.as_f64().is_none_or(|v| wanted.as_f64().unwrap() <= v),
            "maximum" => value.as_f64().is_none_or(|v| v <= wanted.as_f64().unwrap()),
            "minLength" => chars(value).is_none_or(|n| wanted.as_u64().unwrap() <= n),
            "maxLength" => chars(value).is_none_or(|n| n <= wanted.as_u64().unwrap()),
            "maxItems" => value
                .as_array()
                .is_none_or(|a| a.len() as u64 <= wanted.as_u64().unwrap()),
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    if let Some(misfit) = misfit(document, wanted, item) {
                        return Some(format!("[{i}]{misfit}"));
                    }
                }
                true
            }
            "additionalProperties" => true,
            other => panic!("`{other}` is not known to this test"),
        };
        if !fits {
            return Some(format!(": {value} is against {word} {wanted}"));
        }
    }
    value.as_object().and_then(|map| {
        let properties = schema.get("properties");
        let missing = schema["required"].as_array().into_iter().flatten();
        let mut missing = missing.filter(|name| !map.contains_key(name.as_str().unwrap()));
        if let Some(name) = missing.next() {
            return Some(format!(": {name} is missing"));
        }
        for (name, inner) in map {
            let known = properties.and_then(|p| p.get(name));
            let schema = match (known, schema.get("additionalProperties")) {
                (Some(known), _) => known,
                (None, Some(Value::Bool(false))) => {
                    return Some(format!(": {name} is not described"));
                }
                (None, Some(rest @ Value::Object(_))) => rest,
                (None, _) => continue,
            };
            if let Some(misfit) = misfit(document, schema, inner) {
                return Some(format!(".{name}{misfit}"));
            }
        }
        None
    })
}

fn has_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("the type `{other}`"),
    }
}

fn chars(value: &Value) -> Option<u64> {
    value.as_str().map(|t| t.chars().count() as u64)
}
