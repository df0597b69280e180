//! Where a redirect leads (RFC 3986 section 5, RFC 9110 section 10.2.2).

use zeroize::Zeroizing;

use crate::model::{Credentials, StreamUrl};

/// A redirect's aim: the address as it may be shown, and the path as it goes onto the wire.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::probe) struct Aim {
    pub url: StreamUrl,
    pub path: Zeroizing<String>,
    /// The path or query repeats this login.
    pub carries_login: bool,
}

/// Resolves a `Location` against the URL that answered with it and the path that was sent.
///
/// # Errors
/// The part of a sentence that says why it leads nowhere, without the address.
pub(in crate::probe) fn resolve(
    base: &StreamUrl,
    base_path: &str,
    location: &str,
    login: Option<&Credentials>,
) -> Result<Aim, &'static str> {
    let location = location.trim();
    let location = location.split('#').next().unwrap_or_default();
    let (mut url, path) = match split(location) {
        Some((scheme, authority, path)) => {
            let scheme = scheme.unwrap_or(base.scheme.as_str());
            // A login that comes from the device is none of ours.
            let host = authority.rsplit('@').next().unwrap_or_default();
            let parsed = StreamUrl::parse(&format!("{scheme}://{host}/"));
            (
                parsed.map_err(|_| "to an address that is no URL")?.url,
                absolute(path),
            )
        }
        None => (base.clone(), relative(base_path, location)),
    };
    // Placeholders for whatever looks like a secret: what the device sent may repeat the login.
    let shown = StreamUrl::parse(&format!("http://h{path}"));
    url.path = shown.map_err(|_| "to an address that is no URL")?.url.path;
    let mut plain = StreamUrl {
        path: path.clone(),
        ..url.clone()
    };
    if let Some(login) = login {
        plain.hide_login(login);
        url.hide_login(login);
    }
    Ok(Aim {
        carries_login: plain.path != path,
        url,
        path: Zeroizing::new(path),
    })
}

/// Scheme (where given), authority and the rest of an absolute reference.
fn split(location: &str) -> Option<(Option<&str>, &str, &str)> {
    let (scheme, rest) = match location.strip_prefix("//") {
        Some(rest) => (None, rest),
        None => {
            let (scheme, rest) = location.split_once("://")?;
            let is_word = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
            if scheme.is_empty() || !scheme.bytes().all(is_word) {
                return None; // `/go?to=http://...`
            }
            (Some(scheme), rest)
        }
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Some((scheme, authority, path))
}

fn absolute(path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    }
}

fn relative(base_path: &str, reference: &str) -> String {
    let base = base_path.split('?').next().unwrap_or_default();
    if reference.is_empty() {
        return base_path.to_owned();
    }
    if reference.starts_with('?') {
        return absolute(&format!("{base}{reference}"));
    }
    let (path, query) = match reference.find('?') {
        Some(at) => reference.split_at(at),
        None => (reference, ""),
    };
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    let joined = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{folder}/{path}"),
    };
    let mut pieces: Vec<&str> = vec![];
    for piece in joined.split('/').skip(1) {
        match piece {
            "." => {}
            ".." => drop(pieces.pop()),
            piece => pieces.push(piece),
        }
    }
    format!("/{}{query}", pieces.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aim(location: &str) -> Aim {
        let base = StreamUrl::parse("http://192.0.2.7:8080/cgi/a/x.cgi?q=1")
            .unwrap()
            .url;
        let login = Credentials::new("admin", "s3cret");
        resolve(&base, "/cgi/a/x.cgi?q=1", location, Some(&login)).unwrap()
    }

    #[test]
    fn every_form_of_reference() {
        for (location, want) in [
            ("/snap.jpg", "http://192.0.2.7:8080/snap.jpg"),
            ("y.cgi?z=/..", "http://192.0.2.7:8080/cgi/a/y.cgi?z=/.."),
            ("../y", "http://192.0.2.7:8080/cgi/y"),
            ("../../../y", "http://192.0.2.7:8080/y"),
            ("./y#top", "http://192.0.2.7:8080/cgi/a/y"),
            ("?q=2", "http://192.0.2.7:8080/cgi/a/x.cgi?q=2"),
            ("//192.0.2.9/y", "http://192.0.2.9/y"),
            ("https://192.0.2.7/y", "https://192.0.2.7/y"),
            ("HTTP://u:p@192.0.2.9:81?y", "http://192.0.2.9:81/?y"),
            ("/go?to=http://x/", "http://192.0.2.7:8080/go?to=http://x/"),
            ("", "http://192.0.2.7:8080/cgi/a/x.cgi?q=1"),
        ] {
            assert_eq!(aim(location).url.to_string(), want, "{location}");
        }
    }

    #[test]
    fn a_repeated_login_is_seen_and_never_shown() {
        let echoed = aim("/snap?x=s3cret");
        assert_eq!(
            (echoed.url.path.as_str(), echoed.carries_login),
            ("/snap?x={pass}", true)
        );
        let other = aim("/snap?p=1");
        assert_eq!(
            (other.path.as_str(), other.carries_login),
            ("/snap?p=1", false)
        );
        assert_eq!(other.url.path, "/snap?p={pass}");
    }

    proptest::proptest! {
        #[test]
        fn no_location_panics(location in "[ -~]{0,40}") {
            let base = StreamUrl::parse("http://h/a/b").unwrap().url;
            if let Ok(aim) = resolve(&base, "/a/b", &location, None) {
                proptest::prop_assert!(aim.path.starts_with('/'));
            }
        }
    }
}
