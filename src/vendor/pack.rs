//! Entries in, tables out; every mistake is named. Runs at build time for the built-in makers and at
//! start for the operator's.
//!
//! The build script includes this file too, so it knows nothing of the rest of the crate.

use std::borrow::Cow;
use std::collections::HashMap;

use super::check::{check, parse_oui};
use super::raw::{RawGeneric, RawMaker, RawTemplate};
use super::tables::{
    Category, Evidence, FieldRow, MakerRow, OuiRow, PortRow, Role, Slot, Span, Tables, TemplateRow,
    Text,
};

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which of the entries, from 0.
    pub entry: usize,
    /// One sentence that names the maker, the key and what would be right.
    pub message: String,
}

/// Looks up the maker that an entry overrides.
pub type Base<'b> = &'b dyn Fn(&str) -> Option<(&'b Tables, &'b MakerRow)>;

/// Packs `makers`, sorted by id, with `generic` as the paths for unknown makers.
///
/// # Errors
/// Every mistake in every entry.
pub fn pack(
    makers: &[RawMaker],
    generic: &RawGeneric,
    base: Base<'_>,
) -> Result<Tables, Vec<Problem>> {
    let mut problems = Vec::new();
    for (entry, maker) in makers.iter().enumerate() {
        let is_new = base(&maker.id).is_none();
        let found = check(maker, is_new).into_iter();
        let name = |fault| format!("manufacturer `{}`: {fault}", maker.id);
        problems.extend(found.map(|fault| Problem {
            entry,
            message: name(fault),
        }));
        if makers[..entry].iter().any(|other| other.id == maker.id) {
            let message = name("this id stands here twice".to_owned());
            problems.push(Problem { entry, message });
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut order: Vec<&RawMaker> = makers.iter().collect();
    order.sort_by(|a, b| a.id.cmp(&b.id));
    let mut packer = Packer::default();
    for maker in order {
        packer.maker(maker, base(&maker.id));
    }
    let start = packer.templates.len();
    packer.templates(Slot::RtspStream, &generic.rtsp);
    packer.templates(Slot::HttpStream, &generic.http_stream);
    packer.templates(Slot::Snapshot, &generic.snapshot);
    let generic = span(start, packer.templates.len());
    packer
        .finish(generic)
        .map_err(|message| vec![Problem { entry: 0, message }])
}

#[derive(Default)]
struct Packer {
    text: String,
    known: HashMap<String, Text>,
    fields: Vec<FieldRow>,
    templates: Vec<TemplateRow>,
    ports: Vec<PortRow>,
    ouis: Vec<OuiRow>,
    makers: Vec<MakerRow>,
}

impl Packer {
    fn text(&mut self, value: &str) -> Text {
        if value.is_empty() {
            return Text::default();
        }
        if let Some(text) = self.known.get(value) {
            return *text;
        }
        let text = Text {
            at: u32::try_from(self.text.len()).unwrap_or(u32::MAX),
            len: u16::try_from(value.len()).unwrap_or(0),
        };
        self.text.push_str(value);
        self.known.insert(value.to_owned(), text);
        text
    }

    fn maker(&mut self, raw: &RawMaker, base: Option<(&Tables, &MakerRow)>) {
        let fields = self.maker_fields(raw, base);
        let ports = self.maker_ports(raw, base);
        let templates = self.maker_templates(raw, base);
        let index = u16::try_from(self.makers.len()).unwrap_or(u16::MAX);
        for oui in raw.mac_oui.iter().flatten() {
            if let Some((prefix, bits)) = parse_oui(oui) {
                self.ouis.push(OuiRow {
                    prefix,
                    bits,
                    maker: index,
                });
            }
        }
        let old = base.map(|(_, row)| row);
        let first = raw.channels.as_ref().and_then(|c| c.first);
        self.makers.push(MakerRow {
            category: raw
                .category
                .or(old.map(|o| o.category))
                .unwrap_or(Category::Generic),
            locks_accounts: raw
                .locks_accounts
                .or(old.map(|o| o.locks_accounts))
                .unwrap_or(false),
            mac_oui_shared: raw
                .mac_oui_shared
                .or(old.map(|o| o.mac_oui_shared))
                .unwrap_or(false),
            first_channel: first.or(old.map(|o| o.first_channel)).unwrap_or(1),
            fields,
            templates,
            ports,
        });
    }

    fn maker_fields(&mut self, raw: &RawMaker, base: Option<(&Tables, &MakerRow)>) -> Span {
        let start = self.fields.len();
        let given = raw.fields();
        for (field, value) in &given {
            let text = self.text(value);
            self.fields.push(FieldRow {
                field: *field,
                text,
            });
        }
        if let Some((tables, row)) = base {
            for old in row.fields.of(&tables.fields) {
                if given.iter().all(|(field, _)| *field != old.field) {
                    let text = self.text(tables.text(old.text));
                    self.fields.push(FieldRow {
                        field: old.field,
                        text,
                    });
                }
            }
        }
        span(start, self.fields.len())
    }

    fn maker_ports(&mut self, raw: &RawMaker, base: Option<(&Tables, &MakerRow)>) -> Span {
        let start = self.ports.len();
        let given = raw.services();
        for (service, list) in &given {
            let rows = list.iter().map(|port| PortRow {
                service: *service,
                port: *port,
            });
            self.ports.extend(rows);
        }
        if let Some((tables, row)) = base {
            let old = row.ports.of(&tables.ports).iter().copied();
            self.ports
                .extend(old.filter(|o| given.iter().all(|(service, _)| *service != o.service)));
        }
        span(start, self.ports.len())
    }

    fn maker_templates(&mut self, raw: &RawMaker, base: Option<(&Tables, &MakerRow)>) -> Span {
        let start = self.templates.len();
        let lists = [
            (Slot::RtspStream, &raw.rtsp),
            (Slot::HttpStream, &raw.http_stream),
            (Slot::Snapshot, &raw.snapshot),
            (Slot::OtherStream, &raw.other_stream),
        ];
        for (slot, list) in lists {
            match (list, base) {
                (Some(list), _) => self.templates(slot, list),
                (None, Some((tables, row))) => {
                    for old in row.templates.of(&tables.templates) {
                        if old.slot == slot {
                            let url = self.text(tables.text(old.url));
                            let kind = self.text(tables.text(old.kind));
                            let note = self.text(tables.text(old.note));
                            self.templates.push(TemplateRow {
                                url,
                                kind,
                                note,
                                ..*old
                            });
                        }
                    }
                }
                (None, None) => {}
            }
        }
        span(start, self.templates.len())
    }

    fn templates(&mut self, slot: Slot, list: &[RawTemplate]) {
        for raw in list {
            let row = TemplateRow {
                slot,
                role: raw.role.unwrap_or(match slot {
                    Slot::RtspStream => Role::Any,
                    _ => Role::Main,
                }),
                evidence: raw.ev.unwrap_or(Evidence::Documented),
                nvr: raw.nvr,
                port: raw.port.unwrap_or(0),
                url: self.text(&raw.url),
                kind: self.text(raw.kind.as_deref().unwrap_or_default()),
                note: self.text(raw.r#gen.as_deref().unwrap_or_default()),
            };
            self.templates.push(row);
        }
    }

    fn finish(mut self, generic: Span) -> Result<Tables, String> {
        self.ouis.sort_unstable();
        let tie = self
            .ouis
            .windows(2)
            .find(|w| w[0].prefix == w[1].prefix && w[0].bits == w[1].bits);
        if let Some(tie) = tie {
            return Err(format!(
                "MAC prefix {:012X} stands in two entries",
                tie[0].prefix
            ));
        }
        let rows = [
            self.fields.len(),
            self.templates.len(),
            self.ports.len(),
            self.makers.len(),
        ];
        if rows.iter().any(|rows| *rows > usize::from(u16::MAX)) {
            return Err(
                "the manufacturer entries are too many: at most 65 535 rows of a kind".to_owned(),
            );
        }
        Ok(Tables {
            text: Cow::Owned(self.text),
            fields: Cow::Owned(self.fields),
            templates: Cow::Owned(self.templates),
            ports: Cow::Owned(self.ports),
            ouis: Cow::Owned(self.ouis),
            makers: Cow::Owned(self.makers),
            generic,
        })
    }
}

fn span(start: usize, end: usize) -> Span {
    Span {
        at: u16::try_from(start).unwrap_or(u16::MAX),
        len: u16::try_from(end - start).unwrap_or(0),
    }
}
