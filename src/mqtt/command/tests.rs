use super::*;
use proptest::prelude::*;
use uuid::Uuid;

const CAMERA: Subject = Subject::Camera(Uuid::nil());

fn asked(body: Value) -> Init {
    match read(body.to_string().as_bytes()).unwrap() {
        Said::Init(init) => init,
        other => panic!("{other:?}"),
    }
}

fn refused(name: &str, subject: Subject, body: Value) -> &'static str {
    let allowed = ["check_now", "scan", "camera_add"].map(str::to_owned);
    let now = Some(Timestamp::from_unix_s(1_800_000_000));
    let judged = judge(name, subject, &asked(body), &allowed, now);
    judged.map_or_else(|r| r.code, |t| t.name)
}

#[test]
fn each_refusal_has_its_code() {
    let init = json!({"status": "init"});
    assert_eq!(refused("check_now", CAMERA, init.clone()), "check_now");
    assert_eq!(refused("chek_now", CAMERA, init.clone()), "unknown_command");
    assert_eq!(
        refused("restart", Subject::Gateway, init.clone()),
        "not_allowed"
    );
    assert_eq!(
        refused("check_now", Subject::Gateway, init.clone()),
        "wrong_place"
    );
    assert_eq!(refused("scan", CAMERA, init), "wrong_place");
    let late = json!({"status": "init", "expires_at": "2027-01-15T00:00:00Z"});
    assert_eq!(refused("scan", Subject::Gateway, late), "expired");
    let clear = json!({"status": "init", "params": {"ip_address": "10.0.0.1", "password": "x"}});
    assert_eq!(
        refused("camera_add", Subject::Gateway, clear),
        "plaintext_secret"
    );
}

#[test]
fn a_clock_that_may_be_wrong_judges_nothing() {
    let late = asked(json!({"status": "init", "expires_at": "2001-01-01T00:00:00Z"}));
    let allowed = ["scan".to_owned()];
    assert!(judge("scan", Subject::Gateway, &late, &allowed, None).is_ok());
}

#[test]
fn secrets_in_clear_are_found_wherever_they_are() {
    for body in [
        json!({"password": "x"}),
        json!({"credentials": [{"username": "a", "password": "x"}]}),
        json!({"onvif_password": ""}),
        json!({"primary_stream_url": "rtsp://admin:pw@10.0.0.1/live"}),
        json!({"urls": ["rtsp://a:b@h"]}),
    ] {
        assert!(plain_secret(&body, 0).is_some(), "{body}");
    }
    for body in [
        json!({"password": {"sealed": "AAAA"}}),
        json!({"password": null}),
        json!({"primary_stream_url": "rtsp://admin@10.0.0.1/a:b@c"}),
        json!({"primary_stream_url": "rtsp://admin:***@10.0.0.1/live"}),
    ] {
        assert_eq!(plain_secret(&body, 0), None, "{body}");
    }
}

#[test]
fn what_is_malformed_is_told_in_words() {
    for (body, word) in [
        ("{", "JSON"),
        ("[]", "object"),
        ("{\"status\":\"go\"}", "init"),
        ("{\"status\":\"init\",\"expires\":1}", "expires_at"),
        ("{\"status\":\"init\",\"expires_at\":1}", "2027"),
        ("{\"status\":\"init\",\"params\":[]}", "params"),
        (
            "{\"status\":\"init\",\"selector\":{\"labels\":{\"a\":1}}}",
            "selector",
        ),
    ] {
        let refusal = read(body.as_bytes()).unwrap_err();
        assert_eq!(refusal.code, "malformed");
        assert!(refusal.reason.contains(word), "{body}: {}", refusal.reason);
    }
    assert_eq!(read(b""), Ok(Said::Over));
    assert_eq!(
        read(b"{\"status\":\"successful\",\"result\":1}"),
        Ok(Said::Over)
    );
    assert_eq!(read(executing(3).as_bytes()), Ok(Said::Executing));
}

#[test]
fn a_selector_chooses_gateways() {
    let labels = [("region".to_owned(), "north".to_owned())].into();
    let fits = |selector: Value| {
        let init = asked(json!({"status": "init", "selector": selector}));
        init.selector.unwrap().fits("Mill", &labels)
    };
    assert!(fits(json!({})) && fits(json!({"site": "Mill"})));
    assert!(fits(json!({"labels": {"region": "north"}})));
    assert!(!fits(json!({"site": "Yard"})));
    assert!(!fits(
        json!({"site": "Mill", "labels": {"region": "south"}})
    ));
}

proptest! {
    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn any_text_can_be_looked_through(text in "\\PC{0,80}") {
        let _ = plain_secret(&json!({"a": [text]}), 0);
    }
}
