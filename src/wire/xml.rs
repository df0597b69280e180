//! XML as devices write it, read once from front to back into the few texts that are asked for.
//! Elements match on their local names, since prefixes differ between makers; nothing is expanded but
//! the five entities of XML itself and character references.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Depth of nested elements that is read.
const DEPTH_MAX: usize = 64;
/// Attributes of one element that are read.
const ATTRIBUTES_MAX: usize = 32;
/// Elements of one document that are read.
const ELEMENTS_MAX: usize = 20_000;

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    #[error("the text is not UTF-8")]
    NotUtf8,
    #[error("the XML is broken at byte {at}")]
    Broken { at: u64 },
    #[error("the XML has more than {ELEMENTS_MAX} elements or is nested deeper than {DEPTH_MAX}")]
    TooLarge,
}

/// One element with text, as it ends: its path of local names, outermost first.
#[derive(Debug)]
pub struct Leaf<'p> {
    pub path: &'p [String],
    /// Trimmed; entities replaced.
    pub text: &'p str,
}

impl Leaf<'_> {
    /// The local name.
    pub fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// True where this element lies, at any depth, in one of this name.
    pub fn is_in(&self, name: &str) -> bool {
        self.path.iter().any(|step| step == name)
    }
}

/// An attribute; declarations of namespaces are left out.
#[derive(Debug)]
pub struct Attribute<'p> {
    /// The path of its element.
    pub path: &'p [String],
    /// The local name.
    pub name: &'p str,
    /// Entities replaced.
    pub text: &'p str,
}

/// What is met on the way.
#[derive(Debug)]
pub enum Step<'p> {
    /// An element begins; its path, itself included.
    Open(&'p [String]),
    /// Right behind the beginning of its element.
    Attribute(Attribute<'p>),
    /// An element with text, or without anything, ends.
    Leaf(Leaf<'p>),
    /// An element with others inside ends.
    Close(&'p [String]),
}

/// Walks a document.
///
/// # Errors
/// [`XmlError`]; what was visited before stays visited.
pub fn walk(document: &[u8], mut visit: impl FnMut(Step<'_>)) -> Result<(), XmlError> {
    let text = std::str::from_utf8(document).map_err(|_| XmlError::NotUtf8)?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut path: Vec<String> = Vec::new();
    let mut content = String::new();
    let mut has_children = Vec::new();
    let mut elements = 0;
    loop {
        let at = reader.buffer_position();
        match reader.read_event().map_err(|_| XmlError::Broken { at })? {
            Event::Start(start) => {
                elements += 1;
                if path.len() == DEPTH_MAX || elements > ELEMENTS_MAX {
                    return Err(XmlError::TooLarge);
                }
                if let Some(parent) = has_children.last_mut() {
                    *parent = true;
                }
                path.push(local(start.name().as_ref()));
                has_children.push(false);
                content.clear();
                visit(Step::Open(&path));
                attributes(&start, &path, &mut visit);
            }
            Event::Empty(empty) => {
                elements += 1;
                if elements > ELEMENTS_MAX {
                    return Err(XmlError::TooLarge);
                }
                if let Some(parent) = has_children.last_mut() {
                    *parent = true;
                }
                path.push(local(empty.name().as_ref()));
                visit(Step::Open(&path));
                attributes(&empty, &path, &mut visit);
                visit(Step::Leaf(Leaf {
                    path: &path,
                    text: "",
                }));
                path.pop();
            }
            Event::End(_) => {
                match has_children.pop() {
                    None => return Err(XmlError::Broken { at }),
                    Some(true) => visit(Step::Close(&path)),
                    Some(false) => visit(Step::Leaf(Leaf {
                        path: &path,
                        text: content.trim(),
                    })),
                }
                path.pop();
                content.clear();
            }
            Event::Text(text) => content.push_str(&text),
            Event::CData(text) => content.push_str(&text),
            Event::GeneralRef(entity) => content.extend(replaced(&entity)),
            Event::Eof if path.is_empty() && elements > 0 => return Ok(()),
            Event::Eof => return Err(XmlError::Broken { at }),
            _ => {}
        }
    }
}

/// The elements inside the first one of this name, as they are written, with `attributes` and whatever
/// namespaces they use from outside declared on each: fit to stand elsewhere.
///
/// # Errors
/// As [`walk`].
pub fn raw_children(
    document: &[u8],
    name: &str,
    attributes: &str,
) -> Result<Vec<String>, XmlError> {
    let text = std::str::from_utf8(document).map_err(|_| XmlError::NotUtf8)?;
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader::from_str(text);
    let mut found = Vec::new();
    // Declarations of each open element.
    let mut scopes: Vec<Vec<(String, String)>> = Vec::new();
    // Depth of the one that is looked for, and where its child begins.
    let (mut inside, mut begun) = (None, None::<(usize, String)>);
    let mut elements = 0;
    loop {
        let at = reader.buffer_position();
        let event = reader.read_event().map_err(|_| XmlError::Broken { at })?;
        let (start, end) = (at as usize, reader.buffer_position() as usize);
        match event {
            Event::Start(tag) | Event::Empty(tag) if elements == ELEMENTS_MAX => {
                drop(tag);
                return Err(XmlError::TooLarge);
            }
            Event::Start(tag) => {
                elements += 1;
                if scopes.len() == DEPTH_MAX {
                    return Err(XmlError::TooLarge);
                }
                let is_child = inside == Some(scopes.len());
                let own = declarations(&tag);
                if is_child && begun.is_none() {
                    begun = Some((start, opened(&tag, &own, &scopes, attributes)));
                }
                if inside.is_none() && local(tag.name().as_ref()) == name {
                    inside = Some(scopes.len() + 1);
                }
                scopes.push(own);
            }
            Event::Empty(tag) => {
                elements += 1;
                if inside == Some(scopes.len()) {
                    let own = declarations(&tag);
                    found.push(rewritten(
                        text,
                        start,
                        end,
                        &opened(&tag, &own, &scopes, attributes),
                    ));
                }
            }
            Event::End(_) => {
                scopes.pop();
                match inside {
                    Some(depth) if depth == scopes.len() => {
                        if let Some((start, head)) = begun.take() {
                            found.push(rewritten(text, start, end, &head));
                        }
                    }
                    Some(depth) if depth > scopes.len() => return Ok(found),
                    _ => {}
                }
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

/// `xmlns` attributes of an element, raw.
fn declarations(tag: &BytesStart<'_>) -> Vec<(String, String)> {
    let mut all = tag.attributes();
    all.with_checks(false);
    let all = all.map_while(Result::ok).take(ATTRIBUTES_MAX);
    all.map(|a| (a.key.as_ref().to_owned(), a.value.to_string()))
        .filter(|(key, _)| key == "xmlns" || key.starts_with("xmlns:"))
        .collect()
}

/// The beginning of a tag, `<name`, with what it needs from outside.
fn opened(
    tag: &BytesStart<'_>,
    own: &[(String, String)],
    scopes: &[Vec<(String, String)>],
    attributes: &str,
) -> String {
    let mut declared: Vec<&str> = own.iter().map(|(key, _)| key.as_str()).collect();
    let mut head = format!("<{} {attributes}", tag.name().as_ref());
    for (key, value) in scopes.iter().rev().flatten() {
        if !declared.contains(&key.as_str()) {
            declared.push(key);
            head.push_str(&format!(" {key}=\"{}\"", value.replace('"', "&quot;")));
        }
    }
    head
}

/// An element's own text with another beginning of its tag.
fn rewritten(text: &str, start: usize, end: usize, head: &str) -> String {
    let source = text.get(start..end).unwrap_or_default();
    let name = source.find([' ', '\t', '\r', '\n', '>', '/']);
    let rest = name.and_then(|at| source.get(at..)).unwrap_or_default();
    format!("{head}{rest}")
}

/// Visits the attributes of an element, up to the first that is broken.
fn attributes(element: &BytesStart<'_>, path: &[String], visit: &mut impl FnMut(Step<'_>)) {
    let mut all = element.attributes();
    all.with_checks(false);
    for attribute in all.map_while(Result::ok).take(ATTRIBUTES_MAX) {
        let key = attribute.key.as_ref();
        if key == "xmlns" || key.starts_with("xmlns:") {
            continue;
        }
        let text = quick_xml::escape::unescape(&attribute.value);
        visit(Step::Attribute(Attribute {
            path,
            name: key.rsplit(':').next().unwrap_or(key),
            text: text.as_deref().unwrap_or(&attribute.value),
        }));
    }
}

/// The character of one of XML's own entities or of a character reference; others are left out.
fn replaced(entity: &quick_xml::events::BytesRef<'_>) -> Option<char> {
    match &**entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => entity.resolve_char_ref().ok().flatten(),
    }
}

fn local(name: &str) -> String {
    name.rsplit(':').next().unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(document: &str) -> Result<Vec<(String, String)>, XmlError> {
        let mut found = Vec::new();
        walk(document.as_bytes(), |step| {
            if let Step::Leaf(leaf) = step {
                found.push((leaf.path.join("/"), leaf.text.to_owned()));
            }
        })?;
        Ok(found)
    }

    #[test]
    fn local_names_entities_and_cdata() {
        let found =
            leaves("<s:a xmlns:s='x'><b> 1 &amp; &#50;</b><t:c><![CDATA[<d>]]></t:c><e/></s:a>")
                .unwrap();
        let wanted = [("a/b", "1 & 2"), ("a/c", "<d>"), ("a/e", "")];
        assert!(
            found
                .iter()
                .map(|(p, t)| (p.as_str(), t.as_str()))
                .eq(wanted),
            "{found:?}"
        );
    }

    #[test]
    fn attributes_without_prefixes_and_declarations() {
        let document =
            "<a xmlns='x' xmlns:t=\"y\" t:token='P &amp; 1'><b c=\"2\"/><d e=f g='3'/></a>";
        let mut found = Vec::new();
        walk(document.as_bytes(), |step| {
            if let Step::Attribute(a) = step {
                found.push(format!("{} {}={}", a.path.join("/"), a.name, a.text));
            }
        })
        .unwrap();
        assert_eq!(found, ["a token=P & 1", "a/b c=2"]);
    }

    #[test]
    fn nothing_is_expanded() {
        let bomb = "<!DOCTYPE a [<!ENTITY x 'yyyy'>]><a>&x;&x;z</a>";
        assert_eq!(leaves(bomb).unwrap(), [("a".to_owned(), "z".to_owned())]);
    }

    #[test]
    fn too_much_is_refused() {
        let deep = "<a>".repeat(100);
        assert_eq!(leaves(&deep), Err(XmlError::TooLarge));
        let many = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        assert_eq!(leaves(&many), Err(XmlError::TooLarge));
        assert!(matches!(leaves("<a><b></a>"), Err(XmlError::Broken { .. })));
        assert!(matches!(leaves("not xml"), Err(XmlError::Broken { .. })));
        assert_eq!(walk(&[0xff, 0xfe], |_| ()), Err(XmlError::NotUtf8));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = walk(&bytes, |_| ());
        }

        #[test]
        fn no_markup_panics(text in "[<>/a-c:=\"'&;#!\\[\\]? x]{0,80}") {
            let _ = walk(text.as_bytes(), |_| ());
        }
    }
}
