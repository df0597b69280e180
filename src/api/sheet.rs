//! Camera lists as CSV: a spreadsheet's text <-> one JSON object for each camera. Pure.
//!
//! Columns are the field names of a camera; `;`, `,` or tab apart, UTF-8 with or without BOM. `tags`
//! are separated by commas inside their cell, `connection_config` and `cloud_config` are JSON.

use serde_json::{Map, Value};

use super::camera_json::READ_ONLY;
use super::problem::FieldError;
use super::strict::unknown_name;

/// Columns of an export, in this order; an import takes them in any.
pub const COLUMNS: [&str; 24] = [
    "uid",
    "name",
    "tags",
    "enabled",
    "manufacturer",
    "model",
    "firmware_version",
    "serial_number",
    "mac_address",
    "connection_type",
    "primary_stream_url",
    "secondary_stream_url",
    "snapshot_url",
    "ip_address",
    "port",
    "username",
    "password",
    "onvif_username",
    "onvif_password",
    "channel",
    "connection_config",
    "cloud_config",
    "rtsp_url",
    "nvr_id",
];
/// Those that only an import knows.
const IMPORT_ONLY: usize = 2;
/// A spreadsheet takes cells that begin so for formulas.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// One line of a sheet.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// Where it begins, from 1; the header stands before it.
    pub line: u64,
    /// The camera, or what is wrong with the line.
    pub camera: Result<Map<String, Value>, Vec<FieldError>>,
}

/// Why a sheet cannot be read as a whole.
#[derive(Debug, PartialEq)]
pub enum SheetError {
    /// One sentence.
    Unreadable(String),
    /// Columns that are none.
    Header(Vec<FieldError>),
}

/// Reads a sheet of at most `rows_max` cameras.
///
/// # Errors
/// [`SheetError`]; a line that is wrong in itself is an error of its row only.
pub fn read(bytes: &[u8], rows_max: usize) -> Result<Vec<Row>, SheetError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let why = "the sheet is in UTF-16; save it as CSV in UTF-8";
        return Err(SheetError::Unreadable(why.to_owned()));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        SheetError::Unreadable(format!(
            "line {line} is not UTF-8; save the sheet as CSV in UTF-8"
        ))
    })?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .flexible(true)
        .from_reader(text.as_bytes());
    let columns = columns(&mut reader)?;
    let mut rows = Vec::new();
    let mut lines = Lines {
        text,
        byte: 0,
        line: 1,
    };
    for record in reader.records() {
        let record = record.map_err(|e| SheetError::Unreadable(e.to_string()))?;
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue; // spreadsheets leave empty lines at the end
        }
        if rows.len() == rows_max {
            let why = format!("the sheet has more than {rows_max} cameras");
            return Err(SheetError::Unreadable(why));
        }
        rows.push(Row {
            line: lines.at(record.position().map_or(0, csv::Position::byte)),
            camera: camera(&columns, &record),
        });
    }
    Ok(rows)
}

/// Counts lines. The reader's own count is one behind where lines end with CR LF.
struct Lines<'t> {
    text: &'t str,
    byte: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that begins at or after this byte.
    fn at(&mut self, byte: u64) -> u64 {
        let rest = self.text.as_bytes().iter().enumerate().skip(self.byte);
        let target = usize::try_from(byte).unwrap_or(usize::MAX);
        for (i, byte) in rest {
            if target <= i && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.byte = i + 1;
            self.line += u64::from(*byte == b'\n');
        }
        self.line
    }
}

fn columns(reader: &mut csv::Reader<&[u8]>) -> Result<Vec<String>, SheetError> {
    let header = reader
        .headers()
        .map_err(|e| SheetError::Unreadable(e.to_string()))?;
    let names: Vec<String> = header
        .iter()
        .map(|n| n.trim().to_ascii_lowercase())
        .collect();
    let mut errors = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let shown: String = name.chars().take(40).collect();
        if names.iter().take(i).any(|other| other == name) && !name.is_empty() {
            errors.push(FieldError::new(shown, "is a column twice"));
        } else if !name.is_empty() && !is_column(name) {
            let message = unknown_name(name, COLUMNS);
            errors.push(FieldError::new(shown, message));
        }
    }
    let has_address = |n: &&str| names.iter().any(|name| name == n);
    let addresses = ["ip_address", "primary_stream_url", "rtsp_url"];
    if errors.is_empty() && !addresses.iter().any(has_address) {
        let message = "is missing: a sheet needs it, or `primary_stream_url`, and the names of its columns in the first line";
        errors.push(FieldError::new("ip_address", message));
    }
    match errors.is_empty() {
        true => Ok(names),
        false => Err(SheetError::Header(errors)),
    }
}

fn is_column(name: &str) -> bool {
    COLUMNS.contains(&name) || READ_ONLY.contains(&name)
}

/// Whichever stands most often in the first line, outside quotes.
fn delimiter(text: &str) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut is_quoted = false;
    for byte in text.bytes() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => break,
            _ if is_quoted => {}
            _ => counts
                .iter_mut()
                .filter(|(delimiter, _)| *delimiter == byte)
                .for_each(|(_, count)| *count += 1),
        }
    }
    // The first of equals: a comma.
    let most = counts.iter().rev().max_by_key(|(_, count)| *count);
    most.map_or(b',', |(delimiter, _)| *delimiter)
}

fn camera(
    columns: &[String],
    record: &csv::StringRecord,
) -> Result<Map<String, Value>, Vec<FieldError>> {
    let mut map = Map::new();
    let mut errors = Vec::new();
    let surplus = record.iter().skip(columns.len());
    if surplus.into_iter().any(|cell| !cell.trim().is_empty()) {
        let (has, header) = (record.len(), columns.len());
        let message = format!("the line has {has} cells, the header {header}");
        errors.push(FieldError::new("", message));
    }
    for (name, cell) in columns.iter().zip(record) {
        if name.is_empty() {
            continue;
        }
        match value(name, cell) {
            Ok(Some(value)) => drop(map.insert(name.clone(), value)),
            Ok(None) => {}
            Err(message) => errors.push(FieldError::new(name.clone(), message)),
        }
    }
    match errors.is_empty() {
        true => Ok(map),
        false => Err(errors),
    }
}

/// `None`: an empty cell says nothing.
fn value(name: &str, cell: &str) -> Result<Option<Value>, String> {
    // A password may begin or end with a blank.
    let text = match name {
        "password" | "onvif_password" => without_guard(cell),
        _ => without_guard(cell).trim(),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let value = match name {
        "port" | "channel" | "nvr_id" => {
            let number: u32 = text.parse().map_err(|_| "must be a whole number")?;
            Value::from(number)
        }
        "enabled" => Value::from(truth(text)?),
        "tags" => {
            let tags = text.split(',').map(str::trim).filter(|t| !t.is_empty());
            tags.map(Value::from).collect()
        }
        "connection_config" | "cloud_config" => serde_json::from_str(text)
            .map_err(|_| "must be a JSON object such as {\"retry\": 0}")?,
        _ => Value::from(text),
    };
    Ok(Some(value))
}

fn truth(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("must be true or false"),
    }
}

/// Writes cameras as CSV, `,` apart, lines ended as RFC 4180 says.
pub fn write(cameras: &[Map<String, Value>]) -> Vec<u8> {
    let columns = COLUMNS
        .get(..COLUMNS.len() - IMPORT_ONLY)
        .unwrap_or_default();
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    // Writing to memory cannot fail, and every record has as many cells as the header.
    let _ = writer.write_record(columns);
    for camera in cameras {
        let _ = writer.write_record(columns.iter().map(|name| cell(camera.get(*name))));
    }
    writer.into_inner().unwrap_or_default()
}

fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            texts.join(",")
        }
        Some(Value::Object(map)) if map.values().all(Value::is_null) => String::new(),
        Some(other) => other.to_string(),
    };
    // What already has the guard needs another, so that it comes back as it was.
    let is_guarded = text
        .strip_prefix('\'')
        .is_some_and(|t| t.starts_with(GUARDED));
    match text.starts_with(FORMULA) || is_guarded {
        true => format!("'{text}"),
        false => text,
    }
}

const GUARDED: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\''];

fn without_guard(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(GUARDED) => rest,
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn cameras(text: &str) -> Vec<Map<String, Value>> {
        let rows = read(text.as_bytes(), 100).unwrap();
        rows.into_iter().map(|r| r.camera.unwrap()).collect()
    }

    #[test]
    fn whatever_a_spreadsheet_writes() {
        let want = json!({"name": "Hall; main", "ip_address": "10.0.0.1", "port": 554, "tags": ["yard", "north"]});
        for text in [
            "name,ip_address,port,tags\nHall; main,10.0.0.1,554,\"yard, north\"\n",
            "\u{feff}name;ip_address;port;tags\r\n\"Hall; main\";10.0.0.1;554;yard,north\r\n;;;\r\n",
            "Name\tIP_Address\tport\ttags\nHall; main\t10.0.0.1\t554\tyard,north",
            "name,ip_address,port,tags,\nHall; main,10.0.0.1, 554 ,\"yard,north\",\n\n",
        ] {
            assert_eq!(Value::from(cameras(text)), json!([want]), "{text:?}");
        }
        assert!(cameras("ip_address\n").is_empty());
        let lines = read(b"name,ip_address\n\"two\nlines\",10.0.0.1\nx,10.0.0.2\n", 9).unwrap();
        assert_eq!(lines.iter().map(|r| r.line).collect::<Vec<_>>(), [2, 4]);
        let lines = read(b"name,ip_address\r\nx,10.0.0.1\r\n\r\nx,10.0.0.2\r\n", 9).unwrap();
        assert_eq!(lines.iter().map(|r| r.line).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn a_bad_cell_is_an_error_of_its_row() {
        let text = "ip_address,port,enabled,connection_config\n10.0.0.1,5x4,maybe,{\n10.0.0.2,,,,5\n10.0.0.3,,,\n";
        let rows = read(text.as_bytes(), 9).unwrap();
        let fields = |row: &Row| match &row.camera {
            Err(errors) => errors.iter().map(|e| e.field.clone()).collect(),
            Ok(_) => Vec::new(),
        };
        let told: Vec<Vec<String>> = rows.iter().map(fields).collect();
        assert_eq!(told[0], ["port", "enabled", "connection_config"]);
        assert_eq!(told[1], [""]);
        assert!(told[2].is_empty());
    }

    #[test]
    fn a_sheet_that_is_none_is_refused_in_words() {
        let refused = |bytes: &[u8]| match read(bytes, 2) {
            Err(SheetError::Unreadable(why)) => why,
            Err(SheetError::Header(errors)) => format!("{errors:?}"),
            Ok(rows) => panic!("{rows:?}"),
        };
        assert!(refused(b"\xff\xfei\0p\0").contains("UTF-16"));
        assert!(refused(b"ip_address,name\n10.0.0.1,Entr\xe9e\n").contains("line 2"));
        assert!(refused(b"ip_adress\n10.0.0.1\n").contains("ip_address"));
        assert!(refused(b"ip_address,name,name\n").contains("twice"));
        assert!(refused(b"name\nx\n").contains("primary_stream_url"));
        assert!(refused(b"").contains("first line"));
        assert!(refused(b"ip_address\n1\n2\n3\n").contains("more than 2"));
    }

    #[test]
    fn no_cell_is_a_formula() {
        let camera = json!({"name": "=HYPERLINK(\"x\")", "password": "-1'+", "username": "'@", "ip_address": "10.0.0.1"});
        let camera = camera.as_object().unwrap();
        let sheet = String::from_utf8(write(std::slice::from_ref(camera))).unwrap();
        assert!(
            sheet.contains("\"'=HYPERLINK(\"\"x\"\")\",") && sheet.contains(",'-1'+,"),
            "{sheet}"
        );
        assert_eq!(cameras(&sheet), std::slice::from_ref(camera));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, 9);
        }

        #[test]
        fn what_is_written_is_read_back(name in "[^\\s].{0,20}[^\\s]", password in ".{1,20}", port in 1u16..) {
            let camera = json!({"name": name, "password": password, "port": port, "enabled": false, "tags": ["a", "b c"]});
            let mut camera = camera.as_object().unwrap().clone();
            camera.insert("ip_address".to_owned(), "10.0.0.1".into());
            let back = read(&write(std::slice::from_ref(&camera)), 9).unwrap();
            prop_assume!(!name.contains(|c: char| c.is_control()));
            prop_assert_eq!(back[0].camera.as_ref().unwrap(), &camera);
        }
    }
}
