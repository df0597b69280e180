//! AMF0, the values of RTMP commands and of FLV metadata (Adobe, "Action Message Format -- AMF 0",
//! 2007). Read in place, bounded in depth and number; what is cut off is read as far as it goes.

use std::borrow::Cow;

/// Values in one another; deeper ones are not read.
const DEPTH_MAX: u32 = 8;
/// Values of one message, those inside of others counted too.
const VALUES_MAX: u32 = 1024;

const NUMBER: u8 = 0;
const BOOLEAN: u8 = 1;
const STRING: u8 = 2;
const OBJECT: u8 = 3;
const NULL: u8 = 5;
const UNDEFINED: u8 = 6;
const REFERENCE: u8 = 7;
const ECMA_ARRAY: u8 = 8;
const OBJECT_END: u8 = 9;
const STRICT_ARRAY: u8 = 10;
const DATE: u8 = 11;
const LONG_STRING: u8 = 12;

/// One value. Texts are UTF-8 by the specification, not by all senders.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Number(f64),
    Boolean(bool),
    Text(&'a [u8]),
    /// Object or ECMA array.
    Object(Vec<(&'a [u8], Value<'a>)>),
    Array(Vec<Value<'a>>),
    Null,
    /// Undefined, a date or a reference: nothing that we ask for.
    Other,
}

impl<'a> Value<'a> {
    pub fn text(text: &'a str) -> Self {
        Self::Text(text.as_bytes())
    }

    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(bytes) => Some(String::from_utf8_lossy(bytes)),
            _ => None,
        }
    }

    /// The property of this name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        let Self::Object(properties) = self else {
            return None;
        };
        let mut found = properties.iter().filter(|(key, _)| *key == name.as_bytes());
        found.next().map(|(_, value)| value)
    }
}

/// The values of a message's body, up to its end or the first that cannot be read.
pub fn read_all(bytes: &[u8]) -> Vec<Value<'_>> {
    let mut reader = Reader {
        rest: bytes,
        values_left: VALUES_MAX,
    };
    std::iter::from_fn(|| reader.value(DEPTH_MAX)).collect()
}

struct Reader<'a> {
    rest: &'a [u8],
    values_left: u32,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth_left: u32) -> Option<Value<'a>> {
        self.values_left = self.values_left.checked_sub(1)?;
        let depth_left = depth_left.checked_sub(1)?;
        let [marker] = self.array()?;
        Some(match marker {
            NUMBER => Value::Number(f64::from_be_bytes(self.array()?)),
            BOOLEAN => Value::Boolean(self.array::<1>()? != [0]),
            STRING => Value::Text(self.short_text()?),
            LONG_STRING => {
                let length = u32::from_be_bytes(self.array()?);
                Value::Text(self.take(usize::try_from(length).ok()?)?)
            }
            OBJECT => Value::Object(self.properties(depth_left)),
            ECMA_ARRAY => {
                // An estimate of the sender's; the end marker counts.
                self.array::<4>()?;
                Value::Object(self.properties(depth_left))
            }
            STRICT_ARRAY => {
                let length = u32::from_be_bytes(self.array()?);
                let values = (0..length).map_while(|_| self.value(depth_left));
                let values: Vec<Value<'a>> = values.collect();
                if values.len() < length as usize {
                    // Nothing behind it can be read either.
                    self.rest = &[];
                }
                Value::Array(values)
            }
            NULL => Value::Null,
            UNDEFINED => Value::Other,
            REFERENCE => self.take(2).map(|_| Value::Other)?,
            // A number and a time zone.
            DATE => self.take(10).map(|_| Value::Other)?,
            _ => return None,
        })
    }

    /// Names and values up to the end marker; what was cut off is left out.
    fn properties(&mut self, depth_left: u32) -> Vec<(&'a [u8], Value<'a>)> {
        let mut properties = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(&[0, 0, OBJECT_END]) {
                self.rest = rest;
                return properties;
            }
            let property = self
                .short_text()
                .and_then(|name| Some((name, self.value(depth_left)?)));
            match property {
                Some(property) => properties.push(property),
                None => {
                    // Nothing behind it can be read either.
                    self.rest = &[];
                    return properties;
                }
            }
        }
    }

    fn short_text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(usize::from(length))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*array)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Appends a value. Names longer than 65535 bytes are cut off, as the format cannot hold them.
pub fn write(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Number(number) => {
            out.push(NUMBER);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(flag) => out.extend_from_slice(&[BOOLEAN, u8::from(*flag)]),
        Value::Text(text) => match u16::try_from(text.len()) {
            Ok(_) => {
                out.push(STRING);
                write_name(out, text);
            }
            Err(_) => {
                out.push(LONG_STRING);
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(text);
            }
        },
        Value::Object(properties) => {
            out.push(OBJECT);
            for (name, value) in properties {
                write_name(out, name);
                write(out, value);
            }
            out.extend_from_slice(&[0, 0, OBJECT_END]);
        }
        Value::Array(values) => {
            out.push(STRICT_ARRAY);
            let length = u32::try_from(values.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            values.iter().for_each(|value| write(out, value));
        }
        Value::Null => out.push(NULL),
        Value::Other => out.push(UNDEFINED),
    }
}

fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend(name.iter().take(usize::from(length)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_as_servers_write_it() {
        let bytes = b"\x02\0\x07_result\0\x3f\xf0\0\0\0\0\0\0\x05\x03\0\x04code\x02\0\x02ok\0\x01n\x01\x01\0\0\x09";
        let values = read_all(bytes);
        assert_eq!(values.len(), 4);
        assert_eq!(values[0].as_text().as_deref(), Some("_result"));
        assert_eq!(values[1].as_number(), Some(1.0));
        assert_eq!(values[2], Value::Null);
        assert_eq!(values[3].get("code"), Some(&Value::text("ok")));
        assert_eq!(values[3].get("n"), Some(&Value::Boolean(true)));
        assert_eq!(values[3].get("x"), None);
    }

    #[test]
    fn an_array_without_its_end_keeps_what_came() {
        let bytes =
            b"\x08\xff\xff\xff\xff\0\x05width\0\x40\x9e\0\0\0\0\0\0\0\x06height\0\x40\x90\xe0";
        let values = read_all(bytes);
        assert_eq!(values[0].get("width").unwrap().as_number(), Some(1920.0));
        assert_eq!(values[0].get("height"), None);
    }

    #[test]
    fn unusual_values_are_passed_over() {
        let bytes = b"\x0b\0\0\0\0\0\0\0\0\0\0\x06\x07\0\x01\x0c\0\0\0\x02hi\x0a\0\0\0\x01\x05";
        let want = [
            Value::Other,
            Value::Other,
            Value::Other,
            Value::text("hi"),
            Value::Array(vec![Value::Null]),
        ];
        assert_eq!(read_all(bytes), want);
    }

    #[test]
    fn depth_and_number_have_a_bound() {
        let deep = b"\x0a\0\0\0\x01".repeat(100_000);
        let mut depth = 0;
        let mut values = read_all(&deep);
        while let Some(Value::Array(inner)) = values.pop() {
            depth += 1;
            values = inner;
        }
        assert_eq!(depth, DEPTH_MAX);
        let wide = [b"\x0a\xff\xff\xff\xff".as_slice(), &[NULL; 100_000]].concat();
        let Some(Value::Array(inner)) = read_all(&wide).pop() else {
            panic!("an array");
        };
        assert_eq!(inner.len() as u32, VALUES_MAX - 1);
    }

    #[test]
    fn long_texts_have_a_form_of_their_own() {
        let long = "x".repeat(70_000);
        let mut out = Vec::new();
        write(&mut out, &Value::text(&long));
        assert_eq!(read_all(&out), [Value::text(&long)]);
    }

    fn any_value() -> impl Strategy<Value = Value<'static>> {
        const TEXTS: [&str; 4] = ["", "code", "level", "x\u{fc}"];
        let text = prop::sample::select(TEXTS.as_slice());
        let leaf = prop_oneof![
            any::<u32>().prop_map(|n| Value::Number(f64::from(n) / 8.0)),
            any::<bool>().prop_map(Value::Boolean),
            text.clone().prop_map(Value::text),
            Just(Value::Null),
            Just(Value::Other),
        ];
        leaf.prop_recursive(3, 24, 4, move |inner| {
            let name = prop::sample::select(&TEXTS[1..]).prop_map(str::as_bytes);
            prop_oneof![
                prop::collection::vec((name, inner.clone()), 0..4).prop_map(Value::Object),
                prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read_all(&bytes);
        }

        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(any_value(), 0..5)) {
            let mut out = Vec::new();
            values.iter().for_each(|value| write(&mut out, value));
            prop_assert_eq!(read_all(&out), values);
        }
    }
}
