//! Logins inside URLs: found where they stand, and taken out.

use zeroize::Zeroizing;

use super::{MASK, PasswordPart, percent_decode};
use crate::model::Secret;

/// What stands where a login was.
pub(super) const PLACEHOLDERS: [&str; 3] = ["{user}", "{pass}", "{hash}"];
const PASSWORD_NAMES: [&str; 6] = ["password", "pass", "pwd", "loginpas", "passwd", "p"];
const USER_NAMES: [&str; 6] = ["username", "user", "usr", "loginuse", "uname", "u"];

pub(super) fn split_userinfo(userinfo: Option<&str>) -> (Option<String>, PasswordPart) {
    let Some(userinfo) = userinfo else {
        return (None, PasswordPart::Absent);
    };
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (user, password_part(&percent_decode(password))),
        None => (userinfo, PasswordPart::Absent),
    };
    ((!user.is_empty()).then(|| percent_decode(user)), password)
}

pub(super) fn password_part(text: &str) -> PasswordPart {
    if text == MASK {
        PasswordPart::Masked
    } else {
        PasswordPart::Given(Secret::new(text))
    }
}

/// A path without its login, and the login.
pub(super) struct Found {
    pub path: String,
    pub username: Option<String>,
    pub password: Option<Zeroizing<String>>,
}

/// Finds `name=value` pairs that hold a login, anywhere in path and query, and puts placeholders in
/// their place. Empty values and placeholders stay.
pub(super) fn extract_secrets(path: &str) -> Found {
    let mut found = Found {
        path: String::new(),
        username: None,
        password: None,
    };
    let is_delimiter = |c: char| "/?&;_".contains(c);
    let mut rest = path;
    let mut at_start = true;
    while !rest.is_empty() {
        let pair = at_start.then(|| named_value(rest)).flatten();
        at_start = false;
        let Some((placeholder, name_len, value_len)) = pair else {
            let c = rest.chars().next().unwrap_or('/');
            found.path.push(c);
            rest = &rest[c.len_utf8()..];
            at_start = is_delimiter(c);
            continue;
        };
        let (name, value, after) = (
            &rest[..name_len],
            &rest[name_len..name_len + value_len],
            &rest[name_len + value_len..],
        );
        found.path.push_str(name);
        if value.is_empty() || PLACEHOLDERS.contains(&value) {
            found.path.push_str(value);
        } else {
            found.path.push_str(placeholder);
            let value = Zeroizing::new(percent_decode(value));
            match placeholder {
                "{pass}" if found.password.is_none() => found.password = Some(value),
                "{user}" if found.username.is_none() => found.username = Some(value.to_string()),
                _ => {}
            }
        }
        rest = after;
    }
    found
}

/// `password=...` at the start of `text`: its placeholder, the length up to and with `=`, and of the value.
fn named_value(text: &str) -> Option<(&'static str, usize, usize)> {
    let equals = text.find('=')?;
    let name = text.get(..equals)?.to_ascii_lowercase();
    let placeholder = if PASSWORD_NAMES.contains(&name.as_str()) {
        "{pass}"
    } else if USER_NAMES.contains(&name.as_str()) {
        "{user}"
    } else {
        return None;
    };
    let value = &text[equals + 1..];
    let mut end = value.find(['&', '/', '?', ';', '#']).unwrap_or(value.len());
    // `user=admin_password=x_channel=1`: an underscore ends the value where a `name=` follows.
    for (i, _) in value[..end].match_indices('_') {
        let next = &value[i + 1..end];
        let word = next
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(next.len());
        if word > 0 && next[word..].starts_with('=') {
            end = i;
            break;
        }
    }
    Some((placeholder, equals + 1, end))
}

/// Rebuilds `path` with whole segments and values replaced where `replace` says so.
pub(super) fn map_pieces(path: &str, replace: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(path.len());
    for piece in path.split_inclusive(['/', '?', '&', '=', ';']) {
        let body = piece.trim_end_matches(['/', '?', '&', '=', ';']);
        out.push_str(replace(body).unwrap_or(body));
        out.push_str(&piece[body.len()..]);
    }
    out
}
