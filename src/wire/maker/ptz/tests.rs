use super::*;
use crate::model::PtzVelocity;
use crate::wire::maker::Verb;

fn moved(pan: f32, tilt: f32, zoom: f32) -> PtzOrder {
    PtzOrder::Move {
        velocity: PtzVelocity { pan, tilt, zoom },
        timeout_ms: 500,
    }
}

/// Path or body of each request.
fn sent(source: PtzSource, order: &PtzOrder) -> Vec<String> {
    let all = requests(source, 2, order, Some("t")).unwrap();
    let shown = |request: &ApiRequest| match &request.body {
        Some((_, body)) if request.verb == Verb::Post => body.to_string(),
        Some((_, body)) => format!("{} {}", request.path, body.as_str()),
        None => request.path.clone(),
    };
    all.iter().map(shown).collect()
}

#[test]
fn hikvision() {
    let of = |order| sent(PtzSource::Isapi, &order);
    assert_eq!(
        of(moved(0.6, -1.0, 0.0)),
        [
            "/ISAPI/PTZCtrl/channels/2/continuous <PTZData><pan>60</pan><tilt>-100</tilt><zoom>0</zoom></PTZData>"
        ]
    );
    assert!(of(PtzOrder::Stop)[0].contains("<pan>0</pan><tilt>0</tilt><zoom>0</zoom>"));
    assert_eq!(
        of(PtzOrder::Preset("3".into())),
        ["/ISAPI/PTZCtrl/channels/2/presets/3/goto "]
    );
    assert_eq!(
        of(PtzOrder::Home),
        ["/ISAPI/PTZCtrl/channels/2/homeposition/goto "]
    );
    let listed = presets(
        PtzSource::Isapi,
        b"<PTZPresetList><PTZPreset><enabled>true</enabled><id>1</id><presetName>Gate</presetName></PTZPreset><PTZPreset><id>2</id><presetName>x</presetName><enabled>false</enabled></PTZPreset></PTZPresetList>",
    );
    assert_eq!(listed, Some(vec![preset("1", "Gate")]));
    assert_eq!(presets(PtzSource::Isapi, b"<ResponseStatus/>"), None);
}

#[test]
fn dahua() {
    let of = |order| sent(PtzSource::DahuaCgi, &order);
    let start = "/cgi-bin/ptz.cgi?action=start&channel=2&code=";
    assert_eq!(
        of(moved(-0.5, 0.0, 0.0)),
        [format!("{start}Left&arg1=0&arg2=4&arg3=0")]
    );
    assert_eq!(
        of(moved(0.0, 0.01, 0.0)),
        [format!("{start}Up&arg1=0&arg2=1&arg3=0")]
    );
    assert_eq!(
        of(moved(1.0, -0.25, -1.0)),
        [
            format!("{start}RightDown&arg1=2&arg2=8&arg3=0"),
            format!("{start}ZoomWide&arg1=0&arg2=8&arg3=0")
        ]
    );
    assert!(
        of(PtzOrder::Stop)
            .iter()
            .all(|path| path.contains("action=stop"))
    );
    assert_eq!(
        of(PtzOrder::Preset("7".into())),
        [format!("{start}GotoPreset&arg1=0&arg2=7&arg3=0")]
    );
    assert_eq!(
        requests(PtzSource::DahuaCgi, 1, &PtzOrder::Home, None),
        Err(NO_HOME)
    );
    let listed = presets(
        PtzSource::DahuaCgi,
        b"presets[0].Index=1\r\npresets[0].Name=Gate\r\npresets[1].Index=4\r\npresets[1].Name=\r\n",
    );
    assert_eq!(listed, Some(vec![preset("1", "Gate"), preset("4", "")]));
    assert_eq!(
        presets(PtzSource::DahuaCgi, b"Error\r\nBad Request!\r\n"),
        None
    );
}

#[test]
fn axis() {
    let of = |order| sent(PtzSource::Vapix, &order);
    let at = "/axis-cgi/com/ptz.cgi?camera=2&";
    assert_eq!(
        of(moved(0.5, -0.5, 1.0)),
        [format!(
            "{at}continuouspantiltmove=50,-50&continuouszoommove=100"
        )]
    );
    assert_eq!(
        of(moved(0.0, 0.0, -0.1)),
        [format!("{at}continuouszoommove=-10")]
    );
    assert_eq!(of(PtzOrder::Home), [format!("{at}move=home")]);
    assert_eq!(
        of(PtzOrder::Preset("Front gate".into())),
        [format!("{at}gotoserverpresetname=Front%20gate")]
    );
    let listed = presets(
        PtzSource::Vapix,
        b"Preset Positions for camera 1\r\npresetposno1=Home\r\npresetposno2=Gate\r\n",
    );
    assert_eq!(listed, Some(vec![preset("1", "Home"), preset("2", "Gate")]));
    assert_eq!(presets(PtzSource::Vapix, b"Error: Disabled\r\n"), None);
}

#[test]
fn reolink() {
    let of = |order| sent(PtzSource::Reolink, &order);
    let body = of(moved(-1.0, 0.5, 0.0)).remove(0);
    assert!(body.contains(r#""op":"LeftUp","speed":64"#), "{body}");
    assert!(body.contains(r#""channel":1"#), "channels count from 0");
    assert!(of(moved(0.0, 0.0, -0.5))[0].contains(r#""op":"ZoomDec","speed":32"#));
    assert!(of(PtzOrder::Preset("9".into()))[0].contains(r#""id":9,"op":"ToPos""#));
    let both = requests(PtzSource::Reolink, 1, &moved(1.0, 0.0, 1.0), None);
    assert!(
        both.unwrap_err()
            .to_string()
            .contains("one after the other")
    );
    let listed = presets(
        PtzSource::Reolink,
        br#"[{"cmd":"GetPtzPreset","code":0,"value":{"PtzPreset":[{"channel":0,"enable":1,"id":1,"name":"Gate"},{"enable":0,"id":2,"name":"x"}]}}]"#,
    );
    assert_eq!(listed, Some(vec![preset("1", "Gate")]));
    let none = br#"[{"cmd":"GetPtzPreset","code":1,"error":{"rspCode":-9}}]"#;
    assert_eq!(presets(PtzSource::Reolink, none), None);
}

#[test]
fn hanwha() {
    let of = |order| sent(PtzSource::Sunapi, &order);
    let at = "/stw-cgi/ptzcontrol.cgi?msubmenu=";
    assert_eq!(
        of(moved(0.5, 0.0, -1.0)),
        [format!(
            "{at}continuous&action=control&Channel=1&NormalizedSpeed=True&Pan=50&Tilt=0&Zoom=-100"
        )]
    );
    assert_eq!(
        of(PtzOrder::Stop),
        [format!(
            "{at}stop&action=control&Channel=1&OperationType=All"
        )]
    );
    assert_eq!(
        of(PtzOrder::Preset("5".into())),
        [format!("{at}preset&action=control&Channel=1&Preset=5")]
    );
    let listed = presets(PtzSource::Sunapi, b"Channel.1.Preset.5.Name=Gate\r\n");
    assert_eq!(listed, Some(vec![preset("5", "Gate")]));
    assert_eq!(
        presets(PtzSource::Sunapi, b"NG\r\nError Code: 608\r\n"),
        None
    );
}

#[test]
fn presets_of_most_makers_are_numbers() {
    for source in [
        PtzSource::Isapi,
        PtzSource::DahuaCgi,
        PtzSource::Reolink,
        PtzSource::Sunapi,
    ] {
        let order = PtzOrder::Preset("1/../../reboot".into());
        assert_eq!(requests(source, 1, &order, None), Err(NUMBERS_ONLY));
    }
}

proptest::proptest! {
    #[test]
    fn nothing_panics_and_paths_stay_paths(
        pan in -2.0f32..2.0, tilt in -2.0f32..2.0, zoom in -2.0f32..2.0, token in "\\PC{0,20}", answer in "\\PC{0,60}"
    ) {
        for source in PtzSource::OF_MAKERS {
            let _ = presets(source, answer.as_bytes());
            for order in [moved(pan, tilt, zoom), PtzOrder::Preset(token.clone())] {
                for request in requests(source, 1, &order, None).unwrap_or_default() {
                    let is_plain = request.path.bytes().all(|b| b.is_ascii_graphic());
                    proptest::prop_assert!(is_plain, "{}", request.path);
                }
            }
        }
    }
}
