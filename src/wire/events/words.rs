//! Makers' and operators' words for what happens. The more a word says, the earlier it stands: a
//! message "person crossed line" is a line crossing.

use crate::model::{ObjectClass, Observed, ObservedState};

/// Parts of a name without case and separators; one that begins with a blank is a whole word.
const KINDS: &[(&str, Observed)] = &[
    ("heartbeat", Observed::Heartbeat),
    ("keepalive", Observed::Heartbeat),
    ("linecross", Observed::LineCrossing),
    ("linedetect", Observed::LineCrossing),
    ("crossline", Observed::LineCrossing),
    ("tripwire", Observed::LineCrossing),
    ("crossedline", Observed::LineCrossing),
    ("crossregion", Observed::Intrusion),
    ("fenceguard", Observed::LineCrossing),
    ("passing", Observed::LineCrossing),
    ("licenseplate", Observed::LicensePlate),
    ("licenceplate", Observed::LicensePlate),
    (" anpr", Observed::LicensePlate),
    (" lpr", Observed::LicensePlate),
    (" plate", Observed::LicensePlate),
    ("loiter", Observed::Loitering),
    ("regionentr", Observed::RegionEnter),
    ("entering", Observed::RegionEnter),
    ("accesszone", Observed::RegionEnter),
    ("enterregion", Observed::RegionEnter),
    ("regionexit", Observed::RegionExit),
    ("exiting", Observed::RegionExit),
    ("leavezone", Observed::RegionExit),
    ("exitregion", Observed::RegionExit),
    ("intru", Observed::Intrusion),
    ("fielddetect", Observed::Intrusion),
    ("objectsinside", Observed::Intrusion),
    ("motionguard", Observed::Intrusion),
    ("unattended", Observed::ObjectLeft),
    ("objectleft", Observed::ObjectLeft),
    ("leftobject", Observed::ObjectLeft),
    ("objectremov", Observed::ObjectRemoved),
    ("missingobject", Observed::ObjectRemoved),
    ("takenaway", Observed::ObjectRemoved),
    ("appeardisappear", Observed::ObjectRemoved),
    ("crowd", Observed::Crowd),
    ("fastmov", Observed::FastMotion),
    ("rapidmove", Observed::FastMotion),
    ("parking", Observed::Parking),
    ("peoplecount", Observed::Counting),
    ("counting", Observed::Counting),
    ("counter", Observed::Counting),
    (" queue", Observed::Counting),
    ("loginfail", Observed::LoginFailure),
    ("illegallogin", Observed::LoginFailure),
    ("illegalaccess", Observed::LoginFailure),
    ("ipconflict", Observed::IpConflict),
    ("networkdisconnect", Observed::NetworkLost),
    ("networkloss", Observed::NetworkLost),
    ("recordingfail", Observed::RecordingFailure),
    ("recorderror", Observed::RecordingFailure),
    ("diskfull", Observed::DiskFull),
    ("storagefull", Observed::DiskFull),
    ("storagelow", Observed::DiskFull),
    ("diskerror", Observed::DiskError),
    ("storagefail", Observed::DiskError),
    ("nodisk", Observed::DiskMissing),
    ("storagenotexist", Observed::DiskMissing),
    ("sdcardremov", Observed::DiskMissing),
    ("videoloss", Observed::VideoLoss),
    ("videolost", Observed::VideoLoss),
    ("signalloss", Observed::VideoLoss),
    ("scenechange", Observed::SceneChange),
    ("tamper", Observed::Tamper),
    ("shelter", Observed::Tamper),
    ("videoblind", Observed::Tamper),
    ("coverage", Observed::Tamper),
    ("defocus", Observed::Defocus),
    ("unfocus", Observed::Defocus),
    ("blurry", Observed::ImageBlurry),
    ("toodark", Observed::ImageDark),
    ("toobright", Observed::ImageBright),
    ("doorbell", Observed::Doorbell),
    ("visitor", Observed::Doorbell),
    (" ring", Observed::Doorbell),
    (" ding", Observed::Doorbell),
    ("buttonpress", Observed::Doorbell),
    ("dooropen", Observed::DoorStatus),
    ("doorstatus", Observed::DoorStatus),
    ("doorclosed", Observed::DoorStatus),
    ("accesscontrol", Observed::AccessControl),
    (" rfid", Observed::AccessControl),
    ("keypad", Observed::AccessControl),
    ("scream", Observed::AudioDetected),
    ("gunshot", Observed::AudioDetected),
    ("glassbreak", Observed::AudioDetected),
    ("audio", Observed::AudioDetected),
    ("sound", Observed::AudioDetected),
    ("noise", Observed::AudioDetected),
    ("crying", Observed::AudioDetected),
    ("smoke", Observed::Smoke),
    ("flame", Observed::Fire),
    (" fire", Observed::Fire),
    ("temperature", Observed::Temperature),
    ("thermometry", Observed::Temperature),
    (" shock", Observed::Shock),
    ("reboot", Observed::Reboot),
    ("restart", Observed::Reboot),
    ("daynight", Observed::DayNight),
    ("package", Observed::Package),
    ("parcel", Observed::Package),
    ("face", Observed::Face),
    ("person", Observed::Person),
    ("people", Observed::Person),
    ("human", Observed::Person),
    ("pedestrian", Observed::Person),
    ("vehicle", Observed::Vehicle),
    (" car", Observed::Vehicle),
    (" truck", Observed::Vehicle),
    (" bus", Observed::Vehicle),
    (" motorcycle", Observed::Vehicle),
    (" bicycle", Observed::Vehicle),
    ("animal", Observed::Animal),
    ("dogcat", Observed::Animal),
    (" dog", Observed::Animal),
    (" cat", Observed::Animal),
    (" pet", Observed::Animal),
    (" bird", Observed::Animal),
    (" pir", Observed::Pir),
    ("alarmin", Observed::IoInput),
    ("alarmlocal", Observed::IoInput),
    ("digitalinput", Observed::IoInput),
    (" input", Observed::IoInput),
    ("alarmout", Observed::RelayOutput),
    ("relay", Observed::RelayOutput),
    ("motion", Observed::Motion),
    ("movement", Observed::Motion),
    (" md", Observed::Motion),
    (" vmd", Observed::Motion),
    ("offline", Observed::DeviceOffline),
    ("online", Observed::DeviceOnline),
];

/// The kind that a name or a sentence speaks of.
pub fn kind(text: &str) -> Option<Observed> {
    let spaced = spaced(text);
    let squashed: String = spaced.chars().filter(|c| *c != ' ').collect();
    let found = KINDS.iter().find(|(part, _)| match part.strip_prefix(' ') {
        Some(word) => spaced.split(' ').any(|w| w == word),
        None => squashed.contains(part),
    });
    found.map(|(_, kind)| *kind)
}

/// Whether something begins or ends, by the value of a field.
pub fn state(text: &str) -> Option<ObservedState> {
    const START: [&str; 9] = [
        "start", "started", "on", "active", "true", "1", "begin", "new", "detected",
    ];
    const STOP: [&str; 9] = [
        "stop", "stopped", "off", "inactive", "false", "0", "end", "ended", "cleared",
    ];
    let text = text.trim().to_ascii_lowercase();
    let is_in = |names: &[&str]| names.contains(&text.as_str());
    match () {
        () if is_in(&START) => Some(ObservedState::Start),
        () if is_in(&STOP) => Some(ObservedState::Stop),
        () if ["update", "updated"].contains(&text.as_str()) => Some(ObservedState::Update),
        () if ["pulse", "once"].contains(&text.as_str()) => Some(ObservedState::Pulse),
        () => None,
    }
}

/// What an object is called.
pub fn class(text: &str) -> Option<ObjectClass> {
    match kind(text)? {
        Observed::Person => Some(ObjectClass::Person),
        Observed::Vehicle => Some(ObjectClass::Vehicle),
        Observed::Animal => Some(ObjectClass::Animal),
        Observed::Face => Some(ObjectClass::Face),
        Observed::Package => Some(ObjectClass::Package),
        Observed::LicensePlate => Some(ObjectClass::Plate),
        _ => None,
    }
}

/// Lower case, one blank between words; a capital after a small letter begins a word.
fn spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut was_small = false;
    for c in text.chars().take(200) {
        let is_word = c.is_alphanumeric();
        if (!is_word || (c.is_uppercase() && was_small)) && !out.ends_with(' ') {
            out.push(' ');
        }
        if is_word {
            out.extend(c.to_lowercase());
        }
        was_small = c.is_lowercase() || c.is_ascii_digit();
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_says_most_wins() {
        for (text, wanted) in [
            ("Motion detected", Some(Observed::Motion)),
            ("line crossing by a person", Some(Observed::LineCrossing)),
            ("LINE_CROSS", Some(Observed::LineCrossing)),
            ("PEOPLE", Some(Observed::Person)),
            ("DogCatDetect", Some(Observed::Animal)),
            ("CarDetected", Some(Observed::Vehicle)),
            ("postcard", None),
            ("alarmIn", Some(Observed::IoInput)),
            ("String", None),
            ("ring", Some(Observed::Doorbell)),
            ("", None),
        ] {
            assert_eq!(kind(text), wanted, "{text}");
        }
        assert_eq!(state(" ON "), Some(ObservedState::Start));
        assert_eq!(state("maybe"), None);
    }
}
