//! What is wrong with an entry, in words.
//!
//! The build script includes this file too, so it knows nothing of the rest of the crate.

use super::raw::{RawMaker, RawTemplate};
use super::tables::{Field, Piece, Slot, pieces};

/// Most bytes in one text of an entry.
const TEXT_BYTES_MAX: usize = 4096;
/// Most `<...>` in one fingerprint.
const WILDCARDS_MAX: usize = 3;

/// `AA:BB:CC`, `AA:BB:CC:D` or `AA:BB:CC:DD:E` as a left-aligned 48-bit prefix and its length.
pub fn parse_oui(text: &str) -> Option<(u64, u8)> {
    let digits: String = text.chars().filter(|c| *c != ':' && *c != '-').collect();
    let bits = match digits.len() {
        6 => 24,
        7 => 28,
        9 => 36,
        _ => return None,
    };
    let value = u64::from_str_radix(&digits, 16).ok()?;
    Some((value << (48 - bits), bits as u8))
}

/// Every mistake in one entry.
pub fn check(maker: &RawMaker, is_new: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let is_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if maker.id.is_empty() || maker.id.len() > 32 || !maker.id.chars().all(is_id) {
        faults.push("`id` is 1 to 32 lower-case letters, digits and underscores".to_owned());
    }
    if is_new && maker.name.as_deref().is_none_or(str::is_empty) {
        faults.push("a new manufacturer needs a `name`".to_owned());
    }
    for (field, value) in maker.fields() {
        if value.len() > TEXT_BYTES_MAX {
            faults.push(format!("{field:?} has more than {TEXT_BYTES_MAX} bytes"));
        }
        if field != Field::Quirks && value.chars().any(|c| c.is_control() && c != '\n') {
            faults.push(format!("{field:?} holds a control character"));
        }
        if is_pattern(field) {
            let many = value
                .lines()
                .filter(|line| line.matches('<').count() > WILDCARDS_MAX);
            faults.extend(
                many.map(|line| format!("`{line}` has more than {WILDCARDS_MAX} wildcards")),
            );
        }
    }
    for (_, ports) in maker.services() {
        if ports.contains(&0) {
            faults.push("a port is 1 to 65535".to_owned());
        }
    }
    for oui in maker.mac_oui.iter().flatten() {
        match parse_oui(oui) {
            None => faults.push(format!("`{oui}` is not a MAC prefix such as 00:BC:99")),
            Some((prefix, _)) if prefix & (0x03 << 40) != 0 => {
                faults.push(format!(
                    "`{oui}` is a local or multicast prefix that no maker owns"
                ));
            }
            Some(_) => {}
        }
    }
    let slots = [
        (Slot::RtspStream, &maker.rtsp),
        (Slot::HttpStream, &maker.http_stream),
        (Slot::Snapshot, &maker.snapshot),
        (Slot::OtherStream, &maker.other_stream),
    ];
    for (slot, list) in slots {
        for template in list.iter().flatten() {
            let fault = check_template(slot, template);
            faults.extend(fault.map(|fault| format!("template `{}`: {fault}", template.url)));
        }
    }
    faults
}

fn is_pattern(field: Field) -> bool {
    (Field::HttpServer..=Field::DhcpVendorClass).contains(&field) || field == Field::OnvifScopes
}

/// What is wrong with a template, if anything.
fn check_template(slot: Slot, template: &RawTemplate) -> Option<String> {
    let url = template.url.as_str();
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let allowed: &[&str] = match slot {
        Slot::RtspStream => &["rtsp", "rtsps"],
        Slot::HttpStream | Slot::Snapshot => &["http", "https"],
        Slot::OtherStream => &[scheme],
    };
    if scheme.is_empty() || !allowed.contains(&scheme) {
        return Some(format!("it begins with {}://", allowed.join(":// or ")));
    }
    if url.len() > 512
        || url
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || "<>".contains(c))
    {
        return Some("at most 512 bytes, no blanks, no angle brackets".to_owned());
    }
    if slot != Slot::OtherStream && !url.contains("{ip}") {
        return Some("{ip} stands for the device's address".to_owned());
    }
    if template.port == Some(0) {
        return Some("a port is 1 to 65535".to_owned());
    }
    let authority = url
        .split_once("//")
        .and_then(|(_, rest)| rest.split('/').next())
        .unwrap_or_default();
    if authority.contains('@')
        && slot != Slot::OtherStream
        && !authority.starts_with("{user}:{pass}@")
    {
        return Some("a login is written {user}:{pass}@, never in clear".to_owned());
    }
    for piece in pieces(url) {
        let Piece::Variable(name) = piece else {
            continue;
        };
        let (word, width) = name.split_once(':').unwrap_or((name, ""));
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let is_width = matches!(width, "" | "02" | "03");
        if word.is_empty() || !word.chars().all(is_word) || !is_width {
            return Some(format!(
                "{{{name}}} is not a variable such as {{channel}} or {{channel:02}}"
            ));
        }
    }
    literal_password(url).map(|name| format!("`{name}=` takes {{pass}}, never a password"))
}

/// The name of a parameter that holds a password in clear.
fn literal_password(url: &str) -> Option<&str> {
    let parts = url.split(['?', '&', '/', '_', ';']);
    let pairs = parts.filter_map(|part| part.split_once('='));
    let secret = ["password", "pass", "pwd", "passwd", "loginpas", "p"];
    pairs
        .filter(|(name, _)| {
            secret.contains(&name.trim_start_matches('-').to_ascii_lowercase().as_str())
        })
        .find(|(_, value)| !value.is_empty() && !value.starts_with('{'))
        .map(|(name, _)| name)
}
