use super::*;
use serde_json::from_value;

const UID: &str = "01935a8f-0000-7000-8000-000000000001";

fn topics() -> Topics {
    Topics::new("ohmvision", "homeassistant", "gw-0123456789ab")
}

fn camera(more: Value) -> Camera {
    let mut camera = json!({
        "id": 12, "uid": UID, "name": "Entrée Principale", "enabled": true,
        "manufacturer": "hikvision", "model": "DS-2CD2143G2-I", "firmware_version": "5.7.3",
        "serial_number": "D1", "mac_address": "44-19-B6-00-00-01", "revision": 3,
        "created_at": "2026-11-23T10:00:00Z", "updated_at": "2026-11-23T10:00:00Z",
    });
    camera
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    from_value(camera).unwrap()
}

fn announced(allowed: &[&str], more: Value) -> Value {
    let topics = topics();
    let allowed: Vec<String> = allowed.iter().map(|c| (*c).to_owned()).collect();
    let announce = Announce {
        topics: &topics,
        gateway_name: "Entrance box",
        site: "north",
        allowed: &allowed,
    };
    announce.camera(&camera(more))
}

#[test]
fn a_camera_is_a_device_below_the_gateway() {
    let document = announced(&["check_now"], json!({}));
    assert_eq!(
        document["device"],
        json!({
            "identifiers": [format!("ohmvision_{UID}")],
            "name": "Entrée Principale",
            "via_device": "ohmvision_gw-0123456789ab",
            "connections": [["mac", "44:19:b6:00:00:01"]],
            "manufacturer": "hikvision",
            "model": "DS-2CD2143G2-I",
            "sw_version": "5.7.3",
            "serial_number": "D1",
        })
    );
    assert_eq!(document["origin"]["name"], "OhmVision Edge");
    let health = &document["components"]["health"];
    assert_eq!(
        health["unique_id"],
        format!("ohmvision_gw-0123456789ab_{UID}_health")
    );
    assert_eq!(
        health["default_entity_id"],
        "sensor.entree_principale_health"
    );
    assert_eq!(document["components"]["connectivity"]["name"], Value::Null);
}

#[test]
fn health_stays_when_the_camera_goes() {
    let document = announced(&[], json!({}));
    let status = json!([{"topic": "ohmvision/gw-0123456789ab/status"}]);
    assert_eq!(document["availability"], status);
    for key in ["connectivity", "health", "uptime", "last_error"] {
        let entity = &document["components"][key];
        assert_eq!(entity.get("availability"), None, "{key}");
    }
    let response = &document["components"]["response_time"];
    assert_eq!(response["availability_mode"], "all");
    assert_eq!(response["availability"].as_array().unwrap().len(), 2);
}

#[test]
fn only_allowed_controls_are_announced() {
    let keys = |allowed: &[&str]| -> Vec<String> {
        let document = announced(allowed, json!({}));
        let components = document["components"].as_object().unwrap();
        let is_control = |e: &&Value| e.get("command_topic").is_some();
        let controls = components.iter().filter(|(_, e)| is_control(e));
        controls.map(|(key, _)| key.clone()).collect()
    };
    assert!(keys(&[]).is_empty());
    assert_eq!(keys(&["check_now"]), ["check_now"]);
    assert_eq!(
        keys(&["check_now", "reconnect", "monitoring", "scan"]),
        ["check_now", "monitoring", "reconnect"]
    );
}

#[test]
fn what_is_not_known_is_left_out() {
    let document = announced(
        &[],
        json!({"mac_address": "not one", "model": null, "serial_number": null}),
    );
    let device = document["device"].as_object().unwrap();
    for key in ["connections", "model", "serial_number"] {
        assert!(!device.contains_key(key), "{key}");
    }
    let unnamed = announced(&["scan"], json!({"name": "大门"}));
    assert_eq!(
        unnamed["components"]["health"]["default_entity_id"],
        "sensor.camera_00000001_health"
    );
}

#[test]
fn every_entity_is_whole() {
    let topics = topics();
    let allowed: Vec<String> = ["scan", "restart", "check_now", "reconnect", "monitoring"]
        .iter()
        .map(|c| (*c).to_owned())
        .collect();
    let announce = Announce {
        topics: &topics,
        gateway_name: "Entrance box",
        site: "north",
        allowed: &allowed,
    };
    let both = [announce.gateway(), announce.camera(&camera(json!({})))];
    let mut unique = std::collections::BTreeSet::new();
    for document in &both {
        assert!(document.to_string().len() < 10 * 1024);
        for (key, entity) in document["components"].as_object().unwrap() {
            let platform = entity["platform"].as_str().unwrap();
            let id = entity["default_entity_id"].as_str().unwrap();
            assert!(id.starts_with(&format!("{platform}.")), "{key}");
            assert!(unique.insert(entity["unique_id"].to_string()), "{key}");
            let speaks = ["state_topic", "command_topic"]
                .iter()
                .any(|t| entity[*t].is_string());
            assert!(speaks, "{key}");
        }
    }
}

#[test]
fn every_kind_of_event_is_announced_once() {
    let topics = topics();
    let announce = Announce {
        topics: &topics,
        gateway_name: "Entrance box",
        site: "north",
        allowed: &[],
    };
    let kinds = |document: Value| -> Vec<Value> {
        document["components"]["events"]["event_types"]
            .as_array()
            .unwrap()
            .clone()
    };
    let mut all = kinds(announce.gateway());
    all.extend(kinds(announce.camera(&camera(json!({})))));
    assert_eq!(all.len(), KINDS.len() + Observed::ALL.len());
    assert!(
        all.contains(&json!("camera_removed"))
            && all.contains(&json!("gave_up"))
            && all.contains(&json!("motion"))
    );
}
