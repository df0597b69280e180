//! Logins that a maker puts into path or query under names of its own.

use super::catalogue::Catalogue;
use super::maker::Maker;
use super::tables::{Piece, pieces};
use super::template::Template;
use crate::model::{ParsedUrl, PasswordPart, Secret, StreamUrl, percent_decode};

/// What a URL's path or query gave away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundLogin {
    pub username: Option<String>,
    pub password: Option<Secret>,
}

/// A path taken apart by one template: the same path with placeholders, and the login.
type Located = (String, FoundLogin);

impl Catalogue {
    /// [`Self::locate_secrets`] for a URL that came from outside: what is found and was not said before
    /// becomes its login. Without the maker's name, or with a wrong one, every maker's templates count:
    /// better a secret too many hidden than one shown.
    pub fn locate_login(&self, parsed: &mut ParsedUrl, maker: Option<&str>) {
        let named = maker.and_then(|name| self.find(name).ok());
        let others = match named {
            Some(_) => Vec::new(),
            None => self.makers(),
        };
        let mut makers = std::iter::once(named).chain(others.into_iter().map(Some));
        let found = makers.find_map(|maker| self.locate_secrets(&mut parsed.url, maker));
        let Some(found) = found else { return };
        parsed.username = parsed.username.take().or(found.username);
        if let (PasswordPart::Absent, Some(password)) = (&parsed.password, found.password) {
            parsed.password = PasswordPart::Given(password);
        }
    }

    /// Finds the user name and password in path and query where the maker's templates, else those for
    /// unknown makers, say that they stand; puts placeholders in their place. `None` where there is
    /// nothing in clear. Call it after [`StreamUrl::parse`], which knows the usual parameter names.
    pub fn locate_secrets(
        &self,
        url: &mut StreamUrl,
        maker: Option<Maker<'_>>,
    ) -> Option<FoundLogin> {
        let own = maker.map(Maker::templates).unwrap_or_default();
        let templates = own.into_iter().chain(self.generic_templates());
        let secret = templates.filter(Template::has_login_in_path);
        let (path, login) = secret
            .filter_map(|template| locate(template.url(), &url.path))
            .next()?;
        url.path = path;
        Some(login)
    }
}

/// Takes `path` apart by a template; `None` where it does not fit or holds nothing in clear.
fn locate(template: &str, path: &str) -> Option<Located> {
    let (_, rest) = template.split_once("://")?;
    let pieces: Vec<Piece<'_>> = pieces(&rest[rest.find('/')?..]).collect();
    let located = walk(&pieces, path)?;
    (located.1 != FoundLogin::default()).then_some(located)
}

/// Matches the pieces from the front; what follows the last one stays as it is.
fn walk(pieces: &[Piece<'_>], path: &str) -> Option<Located> {
    let Some((first, rest)) = pieces.split_first() else {
        return Some((path.to_owned(), FoundLogin::default()));
    };
    let name = match first {
        Piece::Literal(text) => {
            let head = path
                .get(..text.len())
                .filter(|head| head.eq_ignore_ascii_case(text))?;
            let (after, login) = walk(rest, &path[text.len()..])?;
            return Some((format!("{head}{after}"), login));
        }
        Piece::Variable(name) => *name,
    };
    let placeholder = format!("{{{name}}}");
    if let Some(after) = path.strip_prefix(&placeholder) {
        let (after, login) = walk(rest, after)?;
        return Some((format!("{placeholder}{after}"), login));
    }
    let end = match rest.first() {
        Some(Piece::Literal(text)) => find_ignoring_case(path, text)?,
        Some(Piece::Variable(_)) => return None,
        None => path.find(['&', '/', '?', ';']).unwrap_or(path.len()),
    };
    let (value, after) = path.split_at(end);
    if value.contains(['/', '?'])
        || (name.starts_with("channel") && !value.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    let (after, mut login) = walk(rest, after)?;
    if value.is_empty() || value.starts_with('{') {
        return Some((format!("{value}{after}"), login));
    }
    match name {
        "user" => login.username = Some(percent_decode(value)),
        // A hash cannot be turned back: it is the secret itself, as it stands.
        "pass" | "hash" => login.password = Some(Secret::new(percent_decode(value))),
        _ => return Some((format!("{value}{after}"), login)),
    }
    let placeholder = if name == "user" { "{user}" } else { "{pass}" };
    Some((format!("{placeholder}{after}"), login))
}

fn find_ignoring_case(text: &str, needle: &str) -> Option<usize> {
    let mut starts = text.char_indices().map(|(i, _)| i);
    starts.find(|i| {
        text.get(*i..i + needle.len())
            .is_some_and(|part| part.eq_ignore_ascii_case(needle))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Credentials;

    fn locate_in(maker: Option<&str>, text: &str) -> (String, Option<FoundLogin>) {
        let catalogue = Catalogue::builtin();
        let maker = maker.map(|maker| catalogue.find(maker).unwrap());
        let mut url = StreamUrl::parse(text).unwrap().url;
        let found = catalogue.locate_secrets(&mut url, maker);
        (url.path, found)
    }

    fn login(username: &str, password: &str) -> Option<FoundLogin> {
        Some(FoundLogin {
            username: Some(username.to_owned()),
            password: Some(Secret::new(password)),
        })
    }

    #[test]
    fn finds_what_the_usual_names_miss() {
        let (path, found) = locate_in(Some("xiongmai"), "rtsp://10.0.0.5/1/admin:s%20cret/main");
        assert_eq!(
            (path.as_str(), found),
            ("/1/{user}:{pass}/main", login("admin", "s cret"))
        );
        let (path, found) = locate_in(
            Some("instar"),
            "http://10.0.0.5/mjpegstream.cgi?-chn=11&-usr=joe&-pwd=hunter2",
        );
        assert_eq!(
            (path.as_str(), found),
            (
                "/mjpegstream.cgi?-chn=11&-usr={user}&-pwd={pass}",
                login("joe", "hunter2")
            )
        );
        let (path, found) = locate_in(
            None,
            "http://10.0.0.5/snapshot.jpg?account=joe&password={pass}&x=1",
        );
        assert_eq!(path, "/snapshot.jpg?account={user}&password={pass}&x=1");
        assert_eq!(found.unwrap().username.as_deref(), Some("joe"));
    }

    #[test]
    fn leaves_everything_else_alone() {
        for url in [
            "rtsp://10.0.0.5/Streaming/Channels/101",
            "rtsp://10.0.0.5/",
            "rtsp://10.0.0.5/a/b:c/main",
        ] {
            let before = StreamUrl::parse(url).unwrap().url.path;
            assert_eq!(locate_in(Some("xiongmai"), url), (before, None), "{url}");
        }
    }

    #[test]
    fn every_template_that_hides_a_login_is_found_again() {
        let catalogue = Catalogue::builtin();
        let login = Credentials::new("someone", "hunter2");
        let mut seen = 0;
        for maker in catalogue.makers() {
            for template in maker.templates() {
                let place = crate::vendor::Place::new("10.0.0.5");
                let Some(url) = template
                    .expand(&place)
                    .unwrap()
                    .filter(StreamUrl::has_placeholders)
                else {
                    continue;
                };
                let clear = format!(
                    "{}://10.0.0.5{}",
                    url.scheme.as_str(),
                    *url.wire_path(Some(&login))
                );
                let mut again = StreamUrl::parse(&clear).unwrap().url;
                catalogue.locate_secrets(&mut again, Some(maker));
                assert!(
                    !again.path.contains("hunter2"),
                    "{}: {}",
                    maker.id(),
                    again.path
                );
                assert!(
                    !again.path.contains("someone"),
                    "{}: {}",
                    maker.id(),
                    again.path
                );
                seen += 1;
            }
        }
        assert!(seen > 30, "{seen}");
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics(path in "/\\PC{0,60}") {
            let catalogue = Catalogue::builtin();
            let maker = catalogue.by_id("xiongmai");
            let mut url = StreamUrl::parse("rtsp://10.0.0.5/").unwrap().url;
            url.path = path;
            let _ = catalogue.locate_secrets(&mut url, maker);
        }
    }
}
