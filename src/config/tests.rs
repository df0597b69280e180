use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::keys::{KEYS, Key};
use super::*;

const SHIPPED: &str = include_str!("../../config/ohmvision.toml");

fn of_file(text: &str) -> Sources {
    Sources {
        file: Some(("ohmvision.toml".into(), text.to_owned())),
        ..Sources::default()
    }
}

fn with_environment(variables: &[(&str, &str)]) -> Sources {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sources {
        environment: variables.iter().map(owned).collect(),
        ..Sources::default()
    }
}

fn with_stored(stored: serde_json::Value) -> Sources {
    Sources {
        stored: stored.as_object().unwrap().clone(),
        ..Sources::default()
    }
}

fn mistakes(sources: &Sources) -> String {
    Config::load(sources).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = Config::default();
    assert_eq!(config, Config::load(&Sources::default()).unwrap().config);
    assert_eq!(config.server.listen, "127.0.0.1:8000".parse().unwrap());
    assert_eq!(config.server.body_bytes_max, 1_048_576);
    assert_eq!(config.health.interval, Duration::from_secs(60));
    assert_eq!(config.health.timeout, Duration::from_millis(5000));
    assert_eq!(
        config.health.verify_frames_every,
        Some(Duration::from_secs(600))
    );
    assert_eq!(config.discovery.background_interval, None);
    assert_eq!(
        config.storage.history_retention,
        Duration::from_secs(30 * 86_400)
    );
    assert_eq!(config.reconnect.jitter, 0.1);
    assert_eq!(config.mqtt.url, None);
    let allowed = &config.security.allowed_networks;
    assert!(allowed.allows("192.168.1.9:554".parse().unwrap()));
    assert!(!allowed.allows("127.0.0.1:554".parse().unwrap()));
}

/// The text with every `#key = value` uncommented.
fn uncommented(text: &str) -> String {
    let is_key = |line: &str| {
        line.strip_prefix('#')
            .is_some_and(|l| l.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let line = |line: &str| format!("{}\n", if is_key(line) { &line[1..] } else { line });
    text.lines().map(line).collect()
}

#[test]
fn the_shipped_file_shows_every_key_with_its_default() {
    let quiet = Config::load(&of_file(SHIPPED)).unwrap();
    assert!(
        quiet
            .entries()
            .all(|(_, entry)| entry.origin == Origin::Default)
    );
    let loud = Config::load(&of_file(&uncommented(SHIPPED))).unwrap();
    assert_eq!(loud.config, quiet.config);
    for ((key, entry), (_, default)) in loud.entries().zip(quiet.entries()) {
        assert_eq!(
            entry.origin.layer(),
            "file",
            "{} is not in the file",
            key.path
        );
        assert_eq!(entry.value, default.value, "{}", key.path);
    }
}

#[test]
fn the_shipped_file_explains_each_key_in_the_order_of_the_table() {
    let mut rest = SHIPPED;
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            rest = rest
                .split_once(&format!("\n[{section}]\n"))
                .expect(section)
                .1;
        }
        let block = format!("# {}\n#{} = {}\n", key.doc, key.name(), key.default);
        rest = rest
            .strip_prefix(block.as_str())
            .unwrap_or_else(|| panic!("expected here:\n{block}\nfound:\n{rest}"));
    }
}

#[test]
fn what_is_printed_is_what_was_read() {
    let text = "[gateway]\nlabels = { b = \"2\", a = \"\\\"1\\\"\" }\n[health]\ninterval_s = 0x10\n\
                [discovery]\nnetworks = [\"10.0.0.0/8\"]\n[reconnect]\njitter = 0.25\n";
    let loaded = Config::load(&of_file(text)).unwrap();
    let again = Config::load(&of_file(&loaded.print(false))).unwrap();
    assert_eq!(again.config, loaded.config);
    let with_origins = loaded.print(true);
    assert_eq!(
        Config::load(&of_file(&with_origins)).unwrap().config,
        loaded.config
    );
    assert!(
        with_origins.contains("# ohmvision.toml:4\n"),
        "{with_origins}"
    );
    assert!(with_origins.contains("# default\n"));
}

#[test]
fn later_layers_win() {
    let sources = Sources {
        stored: with_stored(
            json!({"health": {"interval_s": 20, "timeout_ms": 2000, "concurrent_max": null}}),
        )
        .stored,
        environment: with_environment(&[
            ("OHMVISION_HEALTH_INTERVAL_S", "30"),
            ("OHMVISION_URL", "http://x"),
        ])
        .environment,
        command_line: vec![("--listen", "server.listen", "127.0.0.1:0".to_owned())],
        ..of_file(
            "[health]\ninterval_s = 10\ntimeout_ms = 1000\nconcurrent_max = 8\n[server]\nlisten = \"127.0.0.1:1\"\n",
        )
    };
    let loaded = Config::load(&sources).unwrap();
    let health = &loaded.config.health;
    assert_eq!(health.interval, Duration::from_secs(30));
    assert_eq!(health.timeout, Duration::from_millis(2000));
    assert_eq!(health.concurrent_max, 8);
    assert_eq!(loaded.config.server.listen.port(), 0);
    let layer = |path| loaded.entry(path).unwrap().origin.layer();
    assert_eq!(layer("health.interval_s"), "environment");
    assert_eq!(layer("health.timeout_ms"), "stored");
    assert_eq!(layer("health.concurrent_max"), "file");
    assert_eq!(layer("server.listen"), "command_line");
    assert_eq!(layer("log.filter"), "default");
    assert_eq!(
        loaded
            .entry("health.interval_s")
            .unwrap()
            .origin
            .to_string(),
        "environment OHMVISION_HEALTH_INTERVAL_S"
    );
}

#[test]
fn each_mistake_has_its_sentence() {
    for (text, expected) in [
        (
            "[health]\n\ninterval_s = 2",
            "ohmvision.toml:3: `health.interval_s` must be from 5 to 3600 seconds, not 2",
        ),
        (
            "[health]\ninterval_s = -1",
            "ohmvision.toml:2: `health.interval_s` must be from 5 to 3600 seconds, not -1",
        ),
        (
            "[health]\ninterval_s = \"60\"",
            "ohmvision.toml:2: `health.interval_s` must be a whole number from 5 to 3600 seconds, not the text \"60\"",
        ),
        (
            "[health]\ninterval_s = 7.5",
            "ohmvision.toml:2: `health.interval_s` must be a whole number from 5 to 3600 seconds, not 7.5",
        ),
        (
            "[health]\ninterval_s = 99999999999999999999",
            "ohmvision.toml:2: `health.interval_s` must be a whole number from 5 to 3600 seconds, not a number beyond 64 bits",
        ),
        (
            "[health]\nintervall_s = 60",
            "ohmvision.toml:2: `health.intervall_s` is no key, did you mean \"interval_s\"?",
        ),
        (
            "[health]\ninterval = 60",
            "ohmvision.toml:2: `health.interval` is no key, did you mean \"interval_s\"?",
        ),
        (
            "[health]\nlisten = \"\"",
            "ohmvision.toml:2: `health.listen` is no key of [health]: it belongs below [server]",
        ),
        (
            "[storage]\nx = 1",
            "ohmvision.toml:2: `storage.x` is no key: [storage] knows checkpoint_interval_s, raw_retention_h, history_retention_d",
        ),
        (
            "[health.sub]\na = 1",
            "ohmvision.toml:1: `health.sub` is no key: [health] knows interval_s, timeout_ms, frame_timeout_ms, verify_frames_every_s, failures_to_offline, concurrent_max",
        ),
        (
            "\n[helth]\ninterval_s = 60",
            "ohmvision.toml:2: `helth` is no section, did you mean \"health\"?",
        ),
        ("[nonsense]", "ohmvision.toml:1: `nonsense` is no section"),
        (
            "interval_s = 60",
            "ohmvision.toml:1: `interval_s` stands outside a section: it belongs below [health]",
        ),
        (
            "health = 3",
            "ohmvision.toml:1: `health` is a section: write [health] and its keys below",
        ),
        (
            "[[log]]",
            "ohmvision.toml:1: `log` is a section: write [log] and its keys below",
        ),
        (
            "[manufacturer]\nid = \"x\"",
            "ohmvision.toml:1: `manufacturer` is a list of entries: write [[manufacturer]]",
        ),
        (
            "[server]\ntls = \"selfsigned\"",
            "ohmvision.toml:2: `server.tls` must be \"off\", \"self-signed\" or \"files\", not \"selfsigned\", did you mean \"self-signed\"?",
        ),
        (
            "[server]\ntls = false",
            "ohmvision.toml:2: `server.tls` must be a text, \"off\", \"self-signed\" or \"files\", not false",
        ),
        (
            "[server]\nmetrics_public = \"yes\"",
            "ohmvision.toml:2: `server.metrics_public` must be true or false, not the text \"yes\"",
        ),
        (
            "[server]\nlisten = \"localhost\"",
            "ohmvision.toml:2: `server.listen` must be an IP address with a port, such as \"127.0.0.1:8000\", not \"localhost\"",
        ),
        (
            "[server]\nlisten = \"0.0.0.0:8000\"",
            "ohmvision.toml:2: `server.listen` is 0.0.0.0:8000, which other machines can reach, while `server.tls` is \"off\": set it to \"self-signed\" or \"files\", or `server.allow_plain_http = true` if tokens may travel readable",
        ),
        (
            "[server]\ntls = \"files\"\ntls_cert = \"/c.pem\"",
            "ohmvision.toml:2: `server.tls` is \"files\", so `server.tls_key` must name a file",
        ),
        (
            "[server]\ntls_key = \"key.pem\"",
            "ohmvision.toml:2: `server.tls_key` must be an absolute path, such as \"/etc/ohmvision/name\"",
        ),
        (
            "[server]\nallowed_hosts = [\"a.lan\", \"http://b\"]",
            "ohmvision.toml:2: `server.allowed_hosts` must be a host name without scheme or port, not \"http://b\"",
        ),
        (
            "[webhooks]\nlisten = \"127.0.0.1:8000\"",
            "ohmvision.toml:2: `webhooks.listen` takes the same port: `server.listen` and `webhooks.listen` need two",
        ),
        (
            "[discovery]\nbackground_interval_s = 5",
            "ohmvision.toml:2: `discovery.background_interval_s` must be 0 (off) or from 60 to 604800 seconds, not 5",
        ),
        (
            "[discovery]\nnetworks = \"10.0.0.0/8\"",
            "ohmvision.toml:2: `discovery.networks` must be a list of texts, such as [\"a\", \"b\"], not the text \"10.0.0.0/8\"",
        ),
        (
            "[discovery]\nnetworks = [1]",
            "ohmvision.toml:2: `discovery.networks` must be a list of texts, such as [\"a\", \"b\"], not a list that holds something other than texts",
        ),
        (
            "[discovery]\ninterfaces = [\"a b\"]",
            "ohmvision.toml:2: `discovery.interfaces` must be an interface name, such as \"eth0\", not \"a b\"",
        ),
        (
            "[reconnect]\njitter = 0.6",
            "ohmvision.toml:2: `reconnect.jitter` must be from 0 to 0.5, not 0.6",
        ),
        (
            "[reconnect]\njitter = nan",
            "ohmvision.toml:2: `reconnect.jitter` must be from 0 to 0.5, not NaN",
        ),
        (
            "[reconnect]\nfirst_delay_s = 400",
            "ohmvision.toml:2: `reconnect.first_delay_s` is at odds with the other: `reconnect.first_delay_s` must not be longer than `reconnect.max_delay_s`",
        ),
        (
            "[health]\ninterval_s = 5\ntimeout_ms = 6000",
            "ohmvision.toml:3: `health.timeout_ms` is at odds with the other: `health.timeout_ms` must not be longer than `health.interval_s`",
        ),
        (
            "[storage]\nhistory_retention_d = 1\nraw_retention_h = 48",
            "ohmvision.toml:3: `storage.raw_retention_h` is at odds with the other: `storage.raw_retention_h` must not be longer than `storage.history_retention_d`",
        ),
        (
            "[mqtt]\npassword = \"hunter2\"",
            "ohmvision.toml:2: `mqtt.password` is no key: secrets are kept in files, set `mqtt.password_file`",
        ),
        (
            "[mqtt]\nurl = \"mqtt://u:hunter2@b\"",
            "ohmvision.toml:2: `mqtt.url` must not carry a login: use mqtt.username and mqtt.password_file",
        ),
        (
            "[mqtt]\nversion = \"4\"",
            "ohmvision.toml:2: `mqtt.version` must be \"5\" or \"3.1.1\", not \"4\"",
        ),
        (
            "[mqtt]\nallowed_commands = [\"scann\"]",
            "ohmvision.toml:2: `mqtt.allowed_commands` has no command \"scann\", did you mean \"scan\"?",
        ),
        (
            "[gateway]\nlabels = { Region = \"x\" }",
            "ohmvision.toml:2: `gateway.labels` has the label \"Region\": a label is of a-z 0-9 _ -",
        ),
        (
            "[gateway]\nname = \"a\\nb\"",
            "ohmvision.toml:2: `gateway.name` must be one line without control characters",
        ),
        (
            "[gateway]\nname = 2026-01-01",
            "ohmvision.toml:2: `gateway.name` must be a text in quotes, not a date",
        ),
        (
            "[log]\nfilter = \"inof\"",
            "ohmvision.toml:2: `log.filter` has the unknown level \"inof\", did you mean \"info\"?",
        ),
    ] {
        assert_eq!(mistakes(&of_file(text)), expected, "{text}");
    }
}

#[test]
fn syntax_errors_have_a_line_and_hide_nothing_else() {
    for (text, line) in [
        ("[health]\ninterval_s = ", 2),
        ("[health]\ninterval_s = 60\ninterval_s = 60", 3),
        ("[health\n", 1),
        ("[log]\nfilter = \"info", 2),
    ] {
        let shown = mistakes(&of_file(text));
        let start = format!("ohmvision.toml:{line}: not valid TOML: ");
        assert!(
            shown.starts_with(&start) && shown.lines().count() == 1,
            "{text}: {shown}"
        );
    }
    let shown = mistakes(&of_file(
        "[health]\ninterval_s = 2\n[log]\nfilter = \n[helth]\n",
    ));
    let lines: Vec<&str> = shown
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        lines,
        ["ohmvision.toml:2", "ohmvision.toml:4", "ohmvision.toml:5"],
        "{shown}"
    );
}

#[test]
fn all_mistakes_at_once_and_each_at_its_line() {
    let sources = Sources {
        environment: with_environment(&[
            ("OHMVISION_HEALTH_TIMEOUT_MS", "soon"),
            ("OHMVISION_HEALTH_INTERVALL_S", "30"),
            ("OHMVISION_MQTT_PASSWORD", "hunter2"),
            ("OHMVISON_LOG_FILTER", "debug"),
        ])
        .environment,
        ..of_file(
            "[health]\ninterval_s = 2\n[security]\nallowed_networks = [\n  \"private\",\n  \"lan\",\n  \
             \"10.0.0.0/33\",\n]\n[mqttt]\n",
        )
    };
    let shown = mistakes(&sources);
    let starts = [
        "ohmvision.toml:2: `health.interval_s`",
        "ohmvision.toml:6: `security.allowed_networks` `lan`",
        "ohmvision.toml:7: `security.allowed_networks` `10.0.0.0/33`",
        "ohmvision.toml:9: `mqttt` is no section, did you mean \"mqtt\"?",
        "environment OHMVISION_HEALTH_INTERVALL_S: `health.intervall_s` is no key, did you mean",
        "environment OHMVISION_HEALTH_TIMEOUT_MS: `health.timeout_ms` must be a whole number",
        "environment OHMVISION_MQTT_PASSWORD: `mqtt.password` is no key: secrets",
    ];
    for (line, start) in shown.lines().zip(starts) {
        assert!(line.starts_with(start), "{line}\n{start}");
    }
    assert_eq!(shown.lines().count(), starts.len(), "{shown}");
    assert!(!shown.contains("hunter2"));
}

#[test]
fn environment_notations() {
    let sources = with_environment(&[
        ("OHMVISION_DISCOVERY_NETWORKS", "10.0.0.0/8, 192.168.0.0/16"),
        ("OHMVISION_SECURITY_ALLOWED_NETWORKS", "private,loopback"),
        ("OHMVISION_GATEWAY_LABELS", "region=north, floor=2"),
        ("OHMVISION_SERVER_METRICS_PUBLIC", "true"),
        ("OHMVISION_RECONNECT_JITTER", "0"),
        ("OHMVISION_MQTT_URL", ""),
        ("OHMVISION_MQTT_ALLOWED_COMMANDS", ""),
        ("OHMVISION_TOKEN", "x"),
        ("OHMVISION_SKIP", "x"),
    ]);
    let config = Config::load(&sources).unwrap().config;
    assert_eq!(config.discovery.networks.len(), 2);
    assert!(
        config
            .security
            .allowed_networks
            .allows("127.0.0.1:1".parse().unwrap())
    );
    assert_eq!(
        config.gateway.labels.get("floor").map(String::as_str),
        Some("2")
    );
    assert!(config.server.metrics_public && config.mqtt.url.is_none());
    assert!(config.mqtt.allowed_commands.is_empty());
    assert_eq!(config.reconnect.jitter, 0.0);
    let typo = mistakes(&with_environment(&[("OHMVISION_HELTH_INTERVAL_S", "5")]));
    assert_eq!(
        typo,
        "environment OHMVISION_HELTH_INTERVAL_S: no setting has this name, did you mean \"OHMVISION_HEALTH_INTERVAL_S\"?"
    );
}

#[test]
fn a_wrong_stored_setting_does_not_keep_the_gateway_down() {
    let sources = Sources {
        stored: with_stored(json!({
            "health": {"interval_s": 1, "timeout_ms": 3000, "gone": true},
            "log": {"filter": "debug"},
            "reconnect": 3,
        }))
        .stored,
        ..of_file("[health]\nfailures_to_offline = 3\n")
    };
    let loaded = Config::load(&sources).unwrap();
    let aside: Vec<&str> = loaded
        .set_aside
        .iter()
        .map(|error| error.key.as_str())
        .collect();
    assert_eq!(aside, ["health.gone", "health.interval_s", "reconnect"]);
    assert_eq!(loaded.config.health.timeout, Duration::from_millis(3000));
    assert_eq!(loaded.config.log.filter, "debug");
    let strict = Config::load_strictly(&sources).unwrap_err();
    assert_eq!(strict.0.len(), 3);
    assert_eq!(strict.0[0].origin.to_string(), "stored settings");
}

#[test]
fn a_stored_setting_that_contradicts_the_file_gives_way() {
    let sources = Sources {
        stored: with_stored(
            json!({"health": {"timeout_ms": 9000}, "server": {"listen": "0.0.0.0:8000"}}),
        )
        .stored,
        ..of_file("[health]\ninterval_s = 5\n")
    };
    let loaded = Config::load(&sources).unwrap();
    assert_eq!(loaded.set_aside.len(), 2);
    assert_eq!(loaded.config.health.timeout, Duration::from_millis(5000));
    assert!(loaded.config.server.listen.ip().is_loopback());
}

#[test]
fn listening_to_the_network_wants_tls_or_a_word() {
    for extra in [
        "tls = \"self-signed\"",
        "allow_plain_http = true",
        "tls = \"files\"\ntls_cert = \"/c\"\ntls_key = \"/k\"",
    ] {
        let text = format!("[server]\nlisten = \"[::]:8000\"\n{extra}\n");
        assert!(Config::load(&of_file(&text)).is_ok(), "{extra}");
    }
    assert!(Config::load(&of_file("[server]\nlisten = \"[::1]:8000\"")).is_ok());
    assert!(Config::load(&of_file("[server]\nlisten = \"[::ffff:127.0.0.1]:8000\"")).is_ok());
    assert!(Config::load(&of_file("[server]\nlisten = \"192.168.1.5:8000\"")).is_err());
}

#[test]
fn manufacturers_are_kept_with_their_line() {
    let text = "[log]\nfilter = \"info\"\n\n[[manufacturer]]\nid = \"acme\"\nports = { rtsp = [554] }\n\n[[manufacturer]]\nid = \"b\"\n";
    let loaded = Config::load(&of_file(text)).unwrap();
    let [(acme, first), (_, second)] = loaded.manufacturers.as_slice() else {
        panic!()
    };
    assert_eq!((*first, *second), (4, 8));
    assert_eq!(acme["id"].as_str(), Some("acme"));
    assert_eq!(acme["ports"]["rtsp"][0].as_integer(), Some(554));
}

#[test]
fn a_reload_names_what_waits_for_a_restart() {
    let old = Config::load(&of_file("[health]\ninterval_s = 60\n")).unwrap();
    let same = Config::load(&with_environment(&[("OHMVISION_HEALTH_INTERVAL_S", "60")])).unwrap();
    assert!(changes(&old, &same).is_empty());
    let new = Config::load(&of_file("[health]\ninterval_s = 30\n[server]\nlisten = \"127.0.0.1:9000\"\n[[manufacturer]]\nid = \"x\"\n")).unwrap();
    let changes = changes(&old, &new);
    assert_eq!(changes.live, ["health.interval_s"]);
    assert_eq!(changes.restart, ["server.listen"]);
    assert!(changes.manufacturers);
}

#[test]
fn the_table_is_sound() {
    let mut names: Vec<String> = KEYS.iter().map(Key::environment).collect();
    names.sort();
    names.dedup();
    assert_eq!(
        names.len(),
        KEYS.len(),
        "two keys share an environment name"
    );
    for key in KEYS {
        assert!(
            !key.section().is_empty() && !key.name().is_empty(),
            "{}",
            key.path
        );
        assert!(
            key.doc.ends_with('.') && !key.doc.contains('\n'),
            "{}",
            key.path
        );
    }
    let sections: Vec<&str> = keys::sections().collect();
    let mut unique = sections.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(
        unique.len(),
        sections.len(),
        "a section is not in one piece"
    );
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| Sources::of_process(Some(path)).unwrap_err().to_string();
    let missing = folder.path().join("none.toml");
    assert_eq!(
        message(&missing),
        format!(
            "{}:1: cannot read the configuration: there is no such file",
            missing.display()
        )
    );
    assert!(message(folder.path()).ends_with("this is a folder, not a file"));
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, b"[log]\nfilter = \"\xff\"").unwrap();
    assert!(message(&binary).ends_with("line 2 is not UTF-8 text"));
    let large = folder.path().join("large.toml");
    std::fs::write(&large, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert!(message(&large).ends_with("larger than 1024 KiB"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Config::load(&of_file(&text));
    }

    #[test]
    fn no_mutation_of_the_shipped_file_makes_it_panic(
        at in any::<prop::sample::Index>(), cut in 0..40usize, insert in "[\\[\\]=\"'#a-z0-9.\n{}, -]{0,6}",
    ) {
        let mut text: Vec<char> = uncommented(SHIPPED).chars().collect();
        let start = at.index(text.len());
        let end = (start + cut).min(text.len());
        text.splice(start..end, insert.chars());
        let text: String = text.into_iter().collect();
        if let Err(errors) = Config::load(&of_file(&text)) {
            prop_assert!(!errors.0.is_empty());
        }
    }

    #[test]
    fn no_value_makes_it_panic(index in any::<prop::sample::Index>(), value in "\\PC{0,30}") {
        let name = index.get(KEYS).environment();
        if let Err(errors) = Config::load(&with_environment(&[(&name, &value)])) {
            prop_assert!(!errors.0.is_empty());
        }
    }
}
