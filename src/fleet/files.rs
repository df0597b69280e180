//! The operator's files: `all.toml`, `group/<selector>.toml`, `gw/<id>.toml`, put together for each
//! gateway. The nearer file wins key by key; two groups that disagree are a mistake.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::selector;
use super::view::Gateway;
use crate::config;
use crate::model::Secret;
use crate::mqtt::command::Selector;
use crate::mqtt::desired::document::{
    Desired, SECRET_FIELDS, SECRET_SETTING, SETTINGS_PLACE, Wanted, camera_place, wanted,
};
use crate::mqtt::sealed::{Occasion, Place, seal};
use crate::policy::closest::nearest;

const FILE_BYTES_MAX: u64 = 1024 * 1024;
const FILES_MAX: usize = 10_000;
const TOP: [&str; 4] = ["prune", "mend", "settings", "camera"];

/// For whom a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    All,
    Group(Selector),
    Gateway(String),
}

/// One file.
#[derive(Debug, Clone)]
pub struct File {
    pub path: PathBuf,
    pub whom: Whom,
    prune: Option<bool>,
    mend: Option<bool>,
    settings: BTreeMap<String, Value>,
    cameras: Vec<Wanted>,
}

/// What one gateway shall be, its secrets in clear and in no text.
#[derive(Debug, Clone, Default)]
pub struct Composed {
    pub prune: bool,
    pub mend: bool,
    pub settings: BTreeMap<String, Value>,
    /// By key.
    pub cameras: BTreeMap<String, Wanted>,
    /// By camera key and field; settings by an empty key.
    pub secrets: BTreeMap<(String, String), Secret>,
}

/// Reads every file of a directory.
///
/// # Errors
/// Every mistake, each with its file.
pub fn read(dir: &Path) -> Result<Vec<File>, Vec<String>> {
    let mut files = Vec::new();
    let mut errors = Vec::new();
    let mut take = |path: PathBuf, whom: Result<Whom, String>| {
        let file = whom.and_then(|whom| read_file(&path, whom));
        match file {
            Ok(file) => files.push(file),
            Err(why) => errors.push(format!("{}: {why}", path.display())),
        }
    };
    let all = dir.join("all.toml");
    if all.exists() {
        take(all, Ok(Whom::All));
    }
    for (path, stem) in below(&dir.join("group")) {
        take(path, selector::parse(&stem).map(Whom::Group));
    }
    for (path, stem) in below(&dir.join("gw")) {
        take(path, Ok(Whom::Gateway(stem)));
    }
    if files.is_empty() && errors.is_empty() {
        errors.push(format!(
            "{}: there is neither all.toml nor group/<selector>.toml nor gw/<id>.toml",
            dir.display()
        ));
    }
    match errors.is_empty() {
        true => Ok(files),
        false => Err(errors),
    }
}

/// Files `*.toml` of a directory with their names, sorted.
fn below(dir: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<(PathBuf, String)> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let is_toml = path.extension().is_some_and(|e| e == "toml");
            let stem = path.file_stem()?.to_str()?.to_owned();
            is_toml.then_some((path, stem))
        })
        .take(FILES_MAX)
        .collect();
    found.sort();
    found
}

fn read_file(path: &Path, whom: Whom) -> Result<File, String> {
    let about = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if about.len() > FILE_BYTES_MAX {
        return Err(format!("is larger than {} KiB", FILE_BYTES_MAX / 1024));
    }
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let is_private = {
        use std::os::unix::fs::PermissionsExt as _;
        about.permissions().mode() & 0o077 == 0
    };
    let file = parse(path, whom, &text)?;
    if !is_private && let Some(field) = file.plain_secret() {
        return Err(format!(
            "`{field}` stands in clear and others may read the file: chmod 600, or write {{ env = \"NAME\" }} or {{ file = \"PATH\" }}"
        ));
    }
    Ok(file)
}

/// Reads the text of a file.
///
/// # Errors
/// The first mistake, with its line.
pub fn parse(path: &Path, whom: Whom, text: &str) -> Result<File, String> {
    let table: toml::Table = toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(0, |span| line_of(text, span.start));
        format!("line {line}: {}", e.message())
    })?;
    let Ok(Value::Object(mut top)) = serde_json::to_value(&table) else {
        return Err("is no table".to_owned());
    };
    let at = |name: &str| text.find(name).map_or(0, |at| line_of(text, at));
    let unknown = |name: &str, known: Option<&str>| {
        let hint = known.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        format!("line {}: there is no `{name}` here{hint}", at(name))
    };
    if let Some(name) = top.keys().find(|name| !TOP.contains(&name.as_str())) {
        return Err(unknown(name, nearest(name, TOP)));
    }
    let flag = |value: Option<Value>, name: &str| match value {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(_) => Err(format!("line {}: `{name}` must be true or false", at(name))),
    };
    let (prune, mend) = (
        flag(top.remove("prune"), "prune")?,
        flag(top.remove("mend"), "mend")?,
    );
    let mut settings = BTreeMap::new();
    match top.remove("settings") {
        None => {}
        Some(Value::Object(given)) => flatten(given, &mut settings),
        Some(_) => return Err("`settings` must be a table".to_owned()),
    }
    for key in settings.keys() {
        if key != SECRET_SETTING && !config::is_key(key) {
            let name = key.rsplit('.').next().unwrap_or(key);
            let near = nearest(key, config::key_names());
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "line {}: there is no setting `{key}`{hint}",
                at(name)
            ));
        }
    }
    let cameras = match top.remove("camera") {
        None => Vec::new(),
        Some(Value::Array(cameras)) => cameras
            .into_iter()
            .enumerate()
            .map(|(n, camera)| wanted(camera).map_err(|why| format!("camera {}: {why}", n + 1)))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err("cameras are written [[camera]]".to_owned()),
    };
    Ok(File {
        path: path.to_owned(),
        whom,
        prune,
        mend,
        settings,
        cameras,
    })
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at)
        .map_or(0, |before| before.matches('\n').count())
        + 1
}

/// `[settings.health] interval_s` and `"health.interval_s"` are the same.
fn flatten(given: Map<String, Value>, settings: &mut BTreeMap<String, Value>) {
    for (name, value) in given {
        match value {
            Value::Object(fields) if !name.contains('.') => {
                let below = fields
                    .into_iter()
                    .map(|(key, value)| (format!("{name}.{key}"), value));
                settings.extend(below);
            }
            value => {
                settings.insert(name, value);
            }
        }
    }
}

impl File {
    fn plain_secret(&self) -> Option<String> {
        let setting = self.settings.get(SECRET_SETTING).filter(|v| v.is_string());
        let camera = self.cameras.iter().find_map(|camera| {
            let field = SECRET_FIELDS
                .iter()
                .find(|f| camera.fields.get(**f).is_some_and(Value::is_string))?;
            Some(format!("{field} of {}", camera.key))
        });
        setting.map(|_| SECRET_SETTING.to_owned()).or(camera)
    }

    fn is_for(&self, gateway: &Gateway) -> bool {
        match &self.whom {
            Whom::All => true,
            Whom::Group(selector) => selector.fits(&gateway.site, &gateway.labels),
            Whom::Gateway(id) => *id == gateway.id,
        }
    }
}

/// What the files say of this gateway; `None` where none is for it.
///
/// # Errors
/// Two groups disagree, or a secret is not to be had.
pub fn compose(files: &[File], gateway: &Gateway) -> Result<Option<Composed>, String> {
    let own: Vec<&File> = files.iter().filter(|file| file.is_for(gateway)).collect();
    if own.is_empty() {
        return Ok(None);
    }
    disagreement(&own)?;
    let mut composed = Composed {
        mend: true,
        ..Composed::default()
    };
    // As they were read: all, groups, the gateway's own.
    for file in own {
        composed.prune = file.prune.unwrap_or(composed.prune);
        composed.mend = file.mend.unwrap_or(composed.mend);
        let settings = file
            .settings
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()));
        composed.settings.extend(settings);
        for camera in &file.cameras {
            let known = composed.cameras.entry(camera.key.clone());
            let known = known.or_insert_with(|| Wanted {
                fields: Map::new(),
                ..camera.clone()
            });
            known.fields.extend(camera.fields.clone());
        }
    }
    take_secrets(&mut composed)?;
    Ok(Some(composed))
}

/// Groups have no order among them: on the same key they must say the same.
fn disagreement(own: &[&File]) -> Result<(), String> {
    let mut said: BTreeMap<String, (&Value, &Path)> = BTreeMap::new();
    let groups = own
        .iter()
        .filter(|file| matches!(file.whom, Whom::Group(_)));
    for file in groups {
        let settings = file
            .settings
            .iter()
            .map(|(key, value)| (key.clone(), value));
        let cameras = file.cameras.iter().flat_map(|camera| {
            let field = |(field, value)| (format!("camera {} {field}", camera.key), value);
            camera.fields.iter().map(field)
        });
        for (key, value) in settings.chain(cameras) {
            if let Some((other, path)) = said.get(&key).filter(|(other, _)| *other != value) {
                let _ = other;
                return Err(format!(
                    "{} and {} disagree on {key}: let the gateway's own file decide, or make the selectors exclude each other",
                    path.display(),
                    file.path.display()
                ));
            }
            said.insert(key, (value, &file.path));
        }
    }
    Ok(())
}

fn take_secrets(composed: &mut Composed) -> Result<(), String> {
    let mut secrets = BTreeMap::new();
    for camera in composed.cameras.values_mut() {
        for field in SECRET_FIELDS {
            if let Some(value) = camera.fields.get(field).filter(|value| !value.is_null()) {
                let secret =
                    secret(value).map_err(|why| format!("{field} of {}: {why}", camera.key))?;
                secrets.insert((camera.key.clone(), field.to_owned()), secret);
                camera.fields.remove(field);
            }
        }
    }
    if let Some(value) = composed.settings.remove(SECRET_SETTING) {
        let secret = secret(&value).map_err(|why| format!("{SECRET_SETTING}: {why}"))?;
        secrets.insert((String::new(), SECRET_SETTING.to_owned()), secret);
    }
    composed.secrets = secrets;
    Ok(())
}

/// `"text"`, `{ env = "NAME" }` or `{ file = "PATH" }`.
fn secret(value: &Value) -> Result<Secret, String> {
    if let Some(text) = value.as_str() {
        return Ok(Secret::new(text));
    }
    let place = value.as_object().filter(|fields| fields.len() == 1);
    let text = |name: &str| {
        place
            .and_then(|fields| fields.get(name))
            .and_then(Value::as_str)
    };
    if let Some(name) = text("env") {
        let value = std::env::var(name).map_err(|_| format!("the environment has no {name}"))?;
        return Ok(Secret::new(value));
    }
    if let Some(path) = text("file") {
        let value = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        return Ok(Secret::new(value.trim_end_matches(['\r', '\n'])));
    }
    Err("write \"text\", { env = \"NAME\" } or { file = \"PATH\" }".to_owned())
}

impl Composed {
    /// The document for this gateway, its secrets sealed.
    ///
    /// # Errors
    /// The gateway's key is none.
    pub fn document(&self, gateway: &Gateway, revision: u64) -> Result<Value, String> {
        let mut desired = Desired {
            revision,
            cameras: self.cameras.values().cloned().collect(),
            settings: self.settings.clone(),
            prune: self.prune,
            mend: self.mend,
            expires_at: None,
        };
        let occasion = Occasion::Revision(revision);
        for ((camera, field), secret) in &self.secrets {
            let within = match camera.as_str() {
                "" => SETTINGS_PLACE.to_owned(),
                key => camera_place(key),
            };
            let place = Place {
                gateway: &gateway.id,
                occasion,
                within: &within,
            };
            let sealed = seal(&gateway.sealing_key, place, field, secret)?;
            if camera.is_empty() {
                desired.settings.insert(field.clone(), sealed);
            } else if let Some(wanted) = desired.cameras.iter_mut().find(|w| w.key == *camera) {
                wanted.fields.insert(field.clone(), sealed);
            }
        }
        Ok(desired.to_json())
    }

    /// Differs with everything that was written, the secrets too. For the operator's own disk alone.
    pub fn digest(&self, gateway: &str) -> String {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let cameras: Vec<&Map<String, Value>> = self.cameras.values().map(|c| &c.fields).collect();
        let keys: Vec<&String> = self.cameras.keys().collect();
        let open = json!([gateway, self.prune, self.mend, self.settings, keys, cameras]);
        context.update(open.to_string().as_bytes());
        for ((camera, field), secret) in &self.secrets {
            for part in [camera.as_str(), field, secret.expose()] {
                context.update(&(part.len() as u64).to_le_bytes());
                context.update(part.as_bytes());
            }
        }
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, context.finish())
    }

    /// Lines that tell how this differs from the document that lies there; secrets as `***`.
    pub fn difference(&self, before: Option<&Value>) -> Vec<String> {
        let nothing = json!({});
        let before = before.unwrap_or(&nothing);
        let mut lines = Vec::new();
        let mut tell = |name: String, old: Option<&Value>, new: Option<&Value>| {
            let shown = |value: &Value| match value.get("sealed") {
                Some(_) => "***".to_owned(),
                None => value.to_string(),
            };
            match (old, new) {
                (old, new) if old == new => {}
                (None, Some(new)) => lines.push(format!("+ {name} = {}", shown(new))),
                (Some(old), None) => lines.push(format!("- {name} = {}", shown(old))),
                (Some(old), Some(new)) => {
                    lines.push(format!("~ {name} = {} (was {})", shown(new), shown(old)));
                }
                (None, None) => {}
            }
        };
        let sealed = json!({"sealed": ""});
        let usual = |name: &str| before.get(name).cloned().unwrap_or(json!(name == "mend"));
        for (name, new) in [("prune", self.prune), ("mend", self.mend)] {
            tell(name.to_owned(), Some(&usual(name)), Some(&json!(new)));
        }
        let old = before["settings"].as_object().cloned().unwrap_or_default();
        let mut keys: Vec<&String> = old.keys().chain(self.settings.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys.into_iter().filter(|key| *key != SECRET_SETTING) {
            tell(key.clone(), old.get(key), self.settings.get(key));
        }
        let cameras = before["cameras"].as_array().cloned().unwrap_or_default();
        let old: BTreeMap<String, Map<String, Value>> = cameras
            .into_iter()
            .filter_map(|camera| wanted(camera).ok())
            .map(|camera| (camera.key, camera.fields))
            .collect();
        let mut keys: Vec<&String> = old.keys().chain(self.cameras.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let name = |field: &str| format!("camera {key}: {field}");
            let (was, is) = (old.get(key), self.cameras.get(key).map(|c| &c.fields));
            let fields = was.into_iter().chain(is).flat_map(|fields| fields.keys());
            let mut fields: Vec<&String> = fields.collect();
            fields.sort();
            fields.dedup();
            for field in fields
                .into_iter()
                .filter(|f| !SECRET_FIELDS.contains(&f.as_str()))
            {
                let of = |fields: Option<&Map<String, Value>>| {
                    fields.and_then(|f| f.get(field)).cloned()
                };
                tell(name(field), of(was).as_ref(), of(is).as_ref());
            }
            for field in SECRET_FIELDS {
                let had = was.and_then(|fields| fields.get(field)).map(|_| &sealed);
                let has = self
                    .secrets
                    .get(&(key.clone(), field.to_owned()))
                    .map(|_| &sealed);
                tell(name(field), had, has);
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(whom: Whom, text: &str) -> File {
        parse(Path::new("f.toml"), whom, text).unwrap()
    }

    fn gateway(site: &str) -> Gateway {
        Gateway {
            id: "gw-1".into(),
            site: site.into(),
            labels: BTreeMap::from([("role".to_owned(), "nvr".to_owned())]),
            sealing_key: crate::mqtt::sealed::SealingKey::make().unwrap().public(),
            ..Gateway::default()
        }
    }

    fn group(selector: &str) -> Whom {
        Whom::Group(selector::parse(selector).unwrap())
    }

    #[test]
    fn the_nearer_file_wins_key_by_key() {
        let files = [
            file(
                Whom::All,
                "[settings]\n\"health.interval_s\" = 60\n\"log.filter\" = \"info\"\n[[camera]]\nname = \"Gate\"\nenabled = true\ntags = [\"a\"]\n",
            ),
            file(group("site=north"), "[settings.health]\ninterval_s = 30\n"),
            file(group("site=south"), "[settings.health]\ninterval_s = 10\n"),
            file(
                Whom::Gateway("gw-1".into()),
                "prune = true\n[[camera]]\nname = \"Gate\"\nenabled = false\n",
            ),
            file(Whom::Gateway("gw-2".into()), "mend = false\n"),
        ];
        let composed = compose(&files, &gateway("north")).unwrap().unwrap();
        assert_eq!(composed.settings["health.interval_s"], 30);
        assert_eq!(composed.settings["log.filter"], "info");
        assert!(composed.prune && composed.mend);
        let gate = &composed.cameras["Gate"].fields;
        assert_eq!(
            (&gate["enabled"], &gate["tags"]),
            (&json!(false), &json!(["a"]))
        );
        let none = compose(
            &files[3..4],
            &Gateway {
                id: "gw-9".into(),
                ..Gateway::default()
            },
        );
        assert!(none.unwrap().is_none());
    }

    #[test]
    fn groups_that_disagree_are_a_mistake() {
        let files = [
            file(group("site=north"), "[settings.health]\ninterval_s = 30\n"),
            file(group("role=nvr"), "[settings.health]\ninterval_s = 10\n"),
        ];
        let why = compose(&files, &gateway("north")).unwrap_err();
        assert!(
            why.contains("health.interval_s") && why.contains("disagree"),
            "{why}"
        );
        assert!(compose(&files, &gateway("south")).unwrap().is_some());
    }

    #[test]
    fn mistakes_have_their_line() {
        for (text, words) in [
            ("prune = 1", "line 1: `prune`"),
            (
                "\n[setings]\n",
                "line 2: there is no `setings` here; did you mean `settings`?",
            ),
            (
                "[settings.health]\nintervall_s = 3\n",
                "line 2: there is no setting `health.intervall_s`; did you mean `health.interval_s`?",
            ),
            ("[[camera]]\nenabled = true\n", "camera 1: needs a `name`"),
            ("x = [", "line 1"),
        ] {
            let why = parse(Path::new("f.toml"), Whom::All, text).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn secrets_are_sealed_and_never_shown() {
        let files = [file(
            Whom::All,
            "[settings]\n\"mqtt.password\" = \"c4n4ry\"\n[[camera]]\nname = \"Gate\"\nusername = \"admin\"\npassword = \"c4n4ry\"\n",
        )];
        assert!(files[0].plain_secret().is_some());
        let gateway = gateway("north");
        let composed = compose(&files, &gateway).unwrap().unwrap();
        let document = composed.document(&gateway, 7).unwrap();
        assert!(document["cameras"][0]["password"]["sealed"].is_string());
        assert!(document["settings"]["mqtt.password"]["sealed"].is_string());
        let lines = composed.difference(None);
        assert!(
            lines.contains(&"+ camera Gate: password = ***".to_owned()),
            "{lines:?}"
        );
        for text in [
            document.to_string(),
            format!("{lines:?}"),
            format!("{composed:?}"),
            composed.digest("gw-1"),
        ] {
            assert!(!text.contains("c4n4ry"), "{text}");
        }
        assert!(Desired::parse(document.to_string().as_bytes()).is_ok());
        assert_eq!(composed.difference(Some(&document)), [""; 0]);
        let missing = [file(
            Whom::All,
            "[[camera]]\nname = \"a\"\npassword = { env = \"OHMVISION_NOT_THERE\" }\n",
        )];
        assert!(
            compose(&missing, &gateway)
                .unwrap_err()
                .contains("OHMVISION_NOT_THERE")
        );
    }
}
