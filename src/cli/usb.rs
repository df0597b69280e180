//! `ohmvision usb`

use clap::Args;

use super::table::{or_dash, render};
use super::{out, out_json};
use crate::discover::usb::{self, Format, Setting, UsbCamera};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct UsbArgs {
    /// Print the cameras with all their formats, as the API shows them.
    #[arg(long)]
    json: bool,
}

/// Exit 1 when there is none.
pub async fn run(args: &UsbArgs) -> Exit {
    let cameras = usb::list().await;
    match args.json {
        true => out_json(&cameras),
        false => table(&cameras),
    }
    match cameras.is_empty() {
        true => Exit::Failed,
        false => Exit::Ok,
    }
}

fn table(cameras: &[UsbCamera]) {
    let rows: Vec<Vec<String>> = cameras.iter().map(row).collect();
    let header = ["DEVICE", "NAME", "NOW", "FORMATS", "URL"];
    if rows.is_empty() {
        return out("no camera is plugged in");
    }
    out(&render(&header, &rows));
    for camera in cameras {
        if let Some(error) = &camera.error {
            out(&format!("{}: {}", camera.device, error.message));
        }
    }
}

fn row(camera: &UsbCamera) -> Vec<String> {
    let now = |s: &Setting| match s.fps {
        Some(fps) => format!("{} {} {fps} fps", s.format, s.resolution),
        None => format!("{} {}", s.format, s.resolution),
    };
    vec![
        camera.device.clone(),
        camera.name.clone(),
        or_dash(camera.current.as_ref().map(now)),
        formats(&camera.formats),
        camera.url.clone(),
    ]
}

/// The first ones; a test driver has dozens.
fn formats(formats: &[Format]) -> String {
    const SHOWN_MAX: usize = 4;
    let first = formats.iter().take(SHOWN_MAX).map(|f| f.format.as_str());
    let mut shown = first.collect::<Vec<_>>().join(" ");
    if formats.len() > SHOWN_MAX {
        shown = format!("{shown} and {} more", formats.len() - SHOWN_MAX);
    }
    or_dash(Some(shown).filter(|s| !s.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_formats_are_counted() {
        let format = |name: &str| Format {
            format: name.to_owned(),
            codec: None,
            description: String::new(),
            is_emulated: false,
            sizes: Vec::new(),
        };
        let names = ["MJPG", "YUYV", "H264", "NV12", "GREY", "RGB3"];
        let all: Vec<Format> = names.iter().map(|name| format(name)).collect();
        assert_eq!(formats(&all), "MJPG YUYV H264 NV12 and 2 more");
        assert_eq!(formats(&all[..2]), "MJPG YUYV");
        assert_eq!(formats(&[]), "-");
    }
}
