//! Configurations of Frigate and go2rtc as YAML. Pure.
//!
//! A name is the camera's own, in lower case; a login is a variable of the environment, unless it is
//! wanted in clear. A camera that is not online stands there as a remark with its reason.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::model::{Camera, CameraSecrets, ConnectionType, StreamUrl, percent_encode};
use crate::site::CameraView;

type Stored = (CameraView, CameraSecrets);

/// Frame rate at which Frigate looks for objects: more costs and finds nothing.
const DETECT_FPS_MAX: f64 = 5.0;

/// How a variable is written.
#[derive(Clone, Copy)]
enum Dialect {
    /// `{FRIGATE_HALL_USER}`
    Frigate,
    /// `${HALL_USER}`
    Go2rtc,
}

impl Dialect {
    fn name(self, slug: &str, part: &str) -> String {
        let slug = slug.to_ascii_uppercase();
        match self {
            Self::Frigate => format!("FRIGATE_{slug}_{part}"),
            Self::Go2rtc => format!("{slug}_{part}"),
        }
    }

    fn variable(self, slug: &str, part: &str) -> String {
        match self {
            Self::Frigate => format!("{{{}}}", self.name(slug, part)),
            Self::Go2rtc => format!("${{{}}}", self.name(slug, part)),
        }
    }
}

/// One camera with the streams that either program can take.
struct Source<'a> {
    slug: String,
    view: &'a CameraView,
    main: String,
    sub: Option<String>,
    has_login: bool,
    /// Why it stands there as a remark.
    fault: Option<&'a str>,
}

/// `go2rtc.yaml`
pub fn go2rtc(cameras: &[Stored], in_clear: bool) -> String {
    let sources = sources(cameras, in_clear, Dialect::Go2rtc);
    let mut out = head("go2rtc", &sources, in_clear, Dialect::Go2rtc);
    streams(&sources, "", &mut out);
    out
}

/// Frigate's `config.yml`, with its own go2rtc between camera and recorder.
pub fn frigate(cameras: &[Stored], in_clear: bool) -> String {
    let sources = sources(cameras, in_clear, Dialect::Frigate);
    let mut out = head("Frigate", &sources, in_clear, Dialect::Frigate);
    out.push_str("go2rtc:\n");
    streams(&sources, "  ", &mut out);
    let is_empty = sources.iter().all(|s| s.fault.is_some());
    out.push_str(if is_empty {
        "cameras: {}\n"
    } else {
        "cameras:\n"
    });
    for source in &sources {
        camera(source, &mut out);
    }
    out
}

fn sources(cameras: &[Stored], in_clear: bool, dialect: Dialect) -> Vec<Source<'_>> {
    let mut slugs = HashSet::new();
    cameras
        .iter()
        .filter(|(view, _)| view.camera.enabled)
        .filter_map(|(view, secrets)| {
            let camera = &view.camera;
            let main = camera.primary_stream_url.as_ref().filter(|u| is_taken(u))?;
            let slug = slug(camera, &mut slugs);
            let has_login = camera.username.is_some();
            let url = |url: &StreamUrl| url_text(url, camera, secrets, &slug, in_clear, dialect);
            let fault = match view.health.connection_health {
                "offline" => view
                    .health
                    .last_error_message
                    .as_deref()
                    .or(Some("offline")),
                "unknown" => Some("not checked yet"),
                _ => None,
            };
            Some(Source {
                main: url(main),
                sub: camera.secondary_stream_url.as_ref().map(url),
                slug,
                view,
                has_login,
                fault,
            })
        })
        .collect()
}

/// Both programs take RTSP, RTMP and HTTP as they are.
fn is_taken(url: &StreamUrl) -> bool {
    matches!(
        url.connection_type(),
        ConnectionType::Rtsp
            | ConnectionType::Rtmp
            | ConnectionType::HttpMjpeg
            | ConnectionType::Https
            | ConnectionType::Hls
    )
}

/// `Entrée 2` -> `entr_e_2`; with the id where that is taken.
fn slug(camera: &Camera, taken: &mut HashSet<String>) -> String {
    let mut slug = String::new();
    for c in camera.name.to_lowercase().chars().take(40) {
        match c {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if slug.ends_with('_') || slug.is_empty() => {}
            _ => slug.push('_'),
        }
    }
    let slug = slug.trim_end_matches('_');
    let id = camera.id;
    let slug = match slug.is_empty() || slug.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("camera_{slug}").trim_end_matches('_').to_owned(),
        false => slug.to_owned(),
    };
    let free = match taken.contains(&slug) {
        true => format!("{slug}_{id}"),
        false => slug,
    };
    taken.insert(free.clone());
    free
}

fn url_text(
    url: &StreamUrl,
    camera: &Camera,
    secrets: &CameraSecrets,
    slug: &str,
    in_clear: bool,
    dialect: Dialect,
) -> String {
    let Some(username) = &camera.username else {
        return url.to_string();
    };
    let (user, pass) = match (in_clear, &secrets.password) {
        (true, Some(password)) => (percent_encode(username), percent_encode(password.expose())),
        (true, None) => (percent_encode(username), String::new()),
        (false, _) => (
            dialect.variable(slug, "USER"),
            dialect.variable(slug, "PASSWORD"),
        ),
    };
    let text = url.to_string();
    if url.has_placeholders() {
        return text.replace("{user}", &user).replace("{pass}", &pass);
    }
    match text.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{user}:{pass}@{rest}"),
        None => text,
    }
}

fn head(program: &str, sources: &[Source<'_>], in_clear: bool, dialect: Dialect) -> String {
    let mut out = format!("# Cameras of OhmVision Edge for {program}\n");
    let with_login: Vec<&Source<'_>> = sources.iter().filter(|s| s.has_login).collect();
    if in_clear && !with_login.is_empty() {
        out.push_str("# It holds passwords in clear.\n");
    } else if !with_login.is_empty() {
        out.push_str(
            "# Set these variables, with %XX for anything in them but letters and digits:\n",
        );
        for source in with_login {
            let name = |part| dialect.name(&source.slug, part);
            let _ = writeln!(out, "#   {} {}", name("USER"), name("PASSWORD"));
        }
    }
    out
}

fn streams(sources: &[Source<'_>], indent: &str, out: &mut String) {
    let is_empty = sources.iter().all(|s| s.fault.is_some());
    let _ = writeln!(out, "{indent}streams:{}", if is_empty { " {}" } else { "" });
    for source in sources {
        let mark = remark(source, indent, out);
        let slug = &source.slug;
        let _ = writeln!(
            out,
            "{mark}{indent}  {slug}:\n{mark}{indent}    - {}",
            quoted(&source.main)
        );
        if let Some(sub) = &source.sub {
            let _ = writeln!(
                out,
                "{mark}{indent}  {slug}_sub:\n{mark}{indent}    - {}",
                quoted(sub)
            );
        }
    }
}

/// Begins a camera that is not active: its lines are remarks.
fn remark(source: &Source<'_>, indent: &str, out: &mut String) -> &'static str {
    let Some(fault) = source.fault else { return "" };
    let fault: String = fault.chars().filter(|c| !c.is_control()).collect();
    let _ = writeln!(out, "# {indent}{}: {fault}", source.slug);
    "# "
}

fn camera(source: &Source<'_>, out: &mut String) {
    let mark = remark(source, "  ", out);
    let slug = &source.slug;
    let mut line = |text: String| {
        let _ = writeln!(out, "{mark}{text}");
    };
    line(format!("  {slug}:"));
    line(format!(
        "    friendly_name: {}",
        quoted(&source.view.camera.name)
    ));
    line("    ffmpeg:".into());
    line("      inputs:".into());
    let mut input = |stream: &str, roles: &str| {
        line(format!("        - path: rtsp://127.0.0.1:8554/{stream}"));
        line("          input_args: preset-rtsp-restream".into());
        line(format!("          roles: [{roles}]"));
    };
    match source.sub {
        Some(_) => {
            input(slug, "record");
            input(&format!("{slug}_sub"), "detect");
        }
        None => input(slug, "record, detect"),
    }
    let fps = source.view.health.fps.unwrap_or(DETECT_FPS_MAX);
    line("    detect:".into());
    line(format!(
        "      fps: {}",
        fps.clamp(1.0, DETECT_FPS_MAX).floor()
    ));
    let size = source.view.health.resolution.as_deref();
    if let (None, Some((width, height))) = (&source.sub, size.and_then(|s| s.split_once('x'))) {
        line(format!("      width: {width}"));
        line(format!("      height: {height}"));
    }
}

/// A JSON string is a YAML string, whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::camera_json::tests::view;
    use crate::model::{CameraId, Secret};

    fn stored(id: u32, name: &str, health: &'static str) -> Stored {
        let mut view = view();
        view.camera.id = CameraId(id);
        view.camera.name = name.to_owned();
        view.camera.username = Some("ad min".to_owned());
        view.camera.connection_type = Some(ConnectionType::Rtsp);
        let url = |path: &str| {
            StreamUrl::parse(&format!("rtsp://10.0.0.{id}{path}"))
                .unwrap()
                .url
        };
        view.camera.primary_stream_url = Some(url("/main?a=1"));
        view.camera.secondary_stream_url = (id == 1).then(|| url("/sub"));
        view.health.connection_health = health;
        view.health.last_error_message = Some("10.0.0.9 did not\nanswer".to_owned());
        view.health.resolution = Some("1280x720".to_owned());
        view.health.fps = Some(12.5);
        let secrets = CameraSecrets {
            password: Some(Secret::new("p@ss: #")),
            onvif_password: None,
        };
        (view, secrets)
    }

    fn site() -> Vec<Stored> {
        vec![
            stored(1, "Entrée: Nord", "excellent"),
            stored(2, "Hall", "good"),
            stored(3, "hall", "offline"),
        ]
    }

    #[test]
    fn go2rtc_by_variables_and_in_clear() {
        let text = go2rtc(&site(), false);
        assert_eq!(
            text,
            "# Cameras of OhmVision Edge for go2rtc\n\
             # Set these variables, with %XX for anything in them but letters and digits:\n\
             #   ENTR_E_NORD_USER ENTR_E_NORD_PASSWORD\n\
             #   HALL_USER HALL_PASSWORD\n\
             #   HALL_3_USER HALL_3_PASSWORD\n\
             streams:\n  \
               entr_e_nord:\n    \
                 - \"rtsp://${ENTR_E_NORD_USER}:${ENTR_E_NORD_PASSWORD}@10.0.0.1:554/main?a=1\"\n  \
               entr_e_nord_sub:\n    \
                 - \"rtsp://${ENTR_E_NORD_USER}:${ENTR_E_NORD_PASSWORD}@10.0.0.1:554/sub\"\n  \
               hall:\n    \
                 - \"rtsp://${HALL_USER}:${HALL_PASSWORD}@10.0.0.2:554/main?a=1\"\n\
             # hall_3: 10.0.0.9 did notanswer\n\
             #   hall_3:\n\
             #     - \"rtsp://${HALL_3_USER}:${HALL_3_PASSWORD}@10.0.0.3:554/main?a=1\"\n"
        );
        let clear = go2rtc(&site(), true);
        assert!(
            clear.contains("rtsp://ad%20min:p%40ss%3A%20%23@10.0.0.2:554/main"),
            "{clear}"
        );
    }

    #[test]
    fn frigate_records_the_main_stream_and_detects_on_the_other() {
        let text = frigate(&site(), false);
        assert!(text.contains("rtsp://{FRIGATE_HALL_USER}:{FRIGATE_HALL_PASSWORD}@10.0.0.2:554"));
        let north = "  entr_e_nord:\n    friendly_name: \"Entrée: Nord\"\n    ffmpeg:\n      inputs:\n        \
            - path: rtsp://127.0.0.1:8554/entr_e_nord\n          input_args: preset-rtsp-restream\n          roles: [record]\n        \
            - path: rtsp://127.0.0.1:8554/entr_e_nord_sub\n          input_args: preset-rtsp-restream\n          roles: [detect]\n    \
            detect:\n      fps: 5\n";
        assert!(text.contains(north), "{text}");
        let hall = "          roles: [record, detect]\n    detect:\n      fps: 5\n      width: 1280\n      height: 720\n";
        assert!(text.contains(hall), "{text}");
        assert!(frigate(&[], false).ends_with("streams: {}\ncameras: {}\n"));
    }

    #[test]
    fn a_login_in_the_path_is_a_variable_too() {
        let (mut view, secrets) = stored(7, "Foscam", "good");
        view.camera.primary_stream_url = Some(
            StreamUrl::parse("http://10.0.0.7:88/cgi-bin/CGIStream.cgi?usr=a&pwd=b")
                .unwrap()
                .url,
        );
        view.camera.connection_type = Some(ConnectionType::HttpMjpeg);
        let text = go2rtc(&[(view, secrets)], false);
        assert!(text.contains("pwd=${FOSCAM_PASSWORD}"), "{text}");
    }
}
