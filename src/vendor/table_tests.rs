//! Checks over the whole table of built-in makers.

use super::*;
use crate::model::{Credentials, Scheme, StreamUrl};

const KNOWN: [&str; 10] = [
    "ip",
    "port",
    "user",
    "pass",
    "hash",
    "channel",
    "channel0",
    "channel:02",
    "channel:03",
    "profile",
];

#[test]
fn ids_are_sorted_and_names_are_unique() {
    let catalogue = Catalogue::builtin();
    let makers = catalogue.makers();
    assert_eq!(makers.len(), 84);
    assert!(makers.windows(2).all(|pair| pair[0].id() < pair[1].id()));
    let mut names: Vec<(String, &str)> = Vec::new();
    for maker in makers {
        assert!(
            !maker.name().is_empty() && !maker.family().is_empty(),
            "{}",
            maker.id()
        );
        assert!(
            !maker.text(Field::CredentialsFactory).is_empty(),
            "{}",
            maker.id()
        );
        for name in maker.names() {
            let plain: String = name
                .to_lowercase()
                .chars()
                .filter(|c| !" -_".contains(*c))
                .collect();
            let other = names
                .iter()
                .find(|(known, id)| *known == plain && *id != maker.id());
            assert!(
                other.is_none(),
                "`{name}` of {} is also {other:?}",
                maker.id()
            );
            names.push((plain, maker.id()));
        }
    }
}

#[test]
fn every_maker_of_the_specification_is_there() {
    let catalogue = Catalogue::builtin();
    for name in [
        "Hikvision",
        "Dahua",
        "Axis",
        "Bosch",
        "Hanwha",
        "Avigilon",
        "Foscam",
        "TP-Link",
        "Tapo",
        "Kasa",
        "Reolink",
        "Xiaomi",
        "Mi Home",
        "Vivotek",
        "Uniview",
        "Google Nest",
        "Amazon Ring",
        "Arlo",
        "Wyze",
        "Sony",
        "Panasonic",
        "Mobotix",
        "Generic",
        "Samsung Techwin",
    ] {
        assert!(catalogue.find(name).is_ok(), "{name}");
    }
}

#[test]
fn every_template_parses_and_what_is_known_expands_and_round_trips() {
    let catalogue = Catalogue::builtin();
    let login = Credentials::new("admin", "p@ss:w/rd?#%");
    let (mut expanded, mut total) = (0, 0);
    for maker in catalogue.makers() {
        for template in maker.templates() {
            total += 1;
            let is_known = |piece: tables::Piece<'_>| match piece {
                tables::Piece::Variable(name) => KNOWN.contains(&name),
                tables::Piece::Literal(text) => !text.contains(['{', '}']),
            };
            let known = template.scheme().is_some() && tables::pieces(template.url()).all(is_known);
            let place = Place {
                channel: 7,
                profile: Some("2"),
                ..Place::new("192.168.1.100")
            };
            let url = template
                .expand(&place)
                .unwrap_or_else(|e| panic!("{}: {e}", template.url()));
            assert_eq!(url.is_some(), known, "{}: {}", maker.id(), template.url());
            let Some(url) = url else {
                continue;
            };
            expanded += 1;
            let text = url.to_string();
            let again = StreamUrl::parse(&text).unwrap();
            assert_eq!(again.url, url, "{text}");
            assert_eq!(
                again.username.filter(|name| name != "{user}"),
                None,
                "{text}"
            );
            let full = url.with_login(Some(&login));
            assert!(!full.contains("p@ss"), "{}", template.url());
            let parsed =
                StreamUrl::parse(&full).unwrap_or_else(|e| panic!("{}: {e}", template.url()));
            if !template.url().contains("{hash}") {
                assert_eq!(
                    parsed.credentials().as_ref(),
                    Some(&login),
                    "{}",
                    template.url()
                );
            }
            if matches!(url.scheme, Scheme::Rtsp) {
                assert!(
                    text.starts_with(&format!("rtsp://192.168.1.100:{}/", url.port)),
                    "{text}"
                );
            }
        }
    }
    assert!(total > 430 && expanded > 400, "{expanded} of {total}");
}

#[test]
fn what_people_see_keeps_its_variables() {
    let catalogue = Catalogue::builtin();
    for maker in catalogue.makers() {
        for template in maker.templates() {
            let shown = template.display(Some(1));
            assert!(
                !shown.contains("{channel") && !shown.contains("{port}"),
                "{shown}"
            );
            assert!(
                !shown.contains(":80/") && !shown.contains(":443/")
                    || template.slot() == Slot::OtherStream,
                "{shown}"
            );
        }
    }
}

#[test]
fn recorders_have_a_rule_and_templates_with_a_channel() {
    let catalogue = Catalogue::builtin();
    let mut recorders = 0;
    for maker in catalogue.makers() {
        for template in maker.nvr_templates() {
            assert!(template.url().contains("{channel"), "{}", template.url());
            recorders += 1;
        }
    }
    assert!(recorders > 30, "{recorders}");
    for id in [
        "hikvision",
        "dahua",
        "reolink",
        "uniview",
        "hanwha",
        "tvt",
        "xiongmai",
    ] {
        let maker = catalogue.by_id(id).unwrap();
        assert!(!maker.nvr_templates().is_empty(), "{id}");
        assert!(!maker.text(Field::ChannelRule).is_empty(), "{id}");
    }
}

#[test]
fn mac_prefixes_lead_back_to_their_maker() {
    let catalogue = Catalogue::builtin();
    let mut count = 0;
    for tables in catalogue.tables() {
        assert!(
            tables
                .ouis
                .windows(2)
                .all(|w| (w[0].prefix, w[0].bits) < (w[1].prefix, w[1].bits))
        );
        for row in tables.ouis.iter() {
            let mac: [u8; 6] = std::array::from_fn(|i| (row.prefix >> (40 - 8 * i)) as u8);
            let hint = catalogue.by_oui(mac).unwrap();
            let owner = &tables.makers[usize::from(row.maker)];
            assert_eq!(hint.maker.id(), tables.field(owner, Field::Id));
            count += 1;
        }
    }
    assert!(count > 480, "{count}");
}

#[test]
fn makers_that_lock_accounts_say_so() {
    let catalogue = Catalogue::builtin();
    for id in [
        "hikvision",
        "dahua",
        "reolink",
        "tapo",
        "vigi",
        "ubiquiti",
        "amcrest",
        "hilook_hiwatch",
        "hanwha",
        "tplink",
    ] {
        assert!(catalogue.by_id(id).unwrap().locks_accounts(), "{id}");
    }
    for maker in catalogue.makers() {
        let told = !maker.text(Field::CredentialsLock).is_empty();
        assert!(!told || maker.locks_accounts(), "{}", maker.id());
    }
    assert!(!catalogue.by_id("axis").unwrap().locks_accounts());
}

#[test]
fn weak_fingerprints_stand_in_a_list_and_no_pattern_matches_everything() {
    use Field::*;
    let catalogue = Catalogue::builtin();
    for maker in catalogue.makers() {
        let lists = [
            HttpServer,
            HttpRealm,
            RtspServer,
            RtspRealm,
            Title,
            TlsSubject,
            OnvifScopes,
        ];
        let patterns: Vec<&str> = lists
            .into_iter()
            .flat_map(|field| maker.lines(field))
            .collect();
        for weak in maker.lines(Weak) {
            assert!(patterns.contains(&weak), "{}: {weak}", maker.id());
        }
        for pattern in patterns {
            let literal = pattern.split('<').next().unwrap_or_default().len();
            let fixed = pattern.starts_with("<12 hex") || pattern.ends_with("Network Camera");
            assert!(literal >= 3 || fixed, "{}: {pattern}", maker.id());
        }
    }
}

proptest::proptest! {
    #[test]
    fn the_pieces_of_a_template_make_it_up(text in "[a-z{}:/]{0,40}") {
        let again: String = tables::pieces(&text)
            .map(|piece| match piece {
                tables::Piece::Literal(text) => text.to_owned(),
                tables::Piece::Variable(name) => format!("{{{name}}}"),
            })
            .collect();
        proptest::prop_assert_eq!(again, text);
    }
}
