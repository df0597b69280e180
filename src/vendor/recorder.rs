//! The streams of one channel of a recorder, by its maker's templates.

use super::maker::Maker;
use super::tables::Slot;
use super::template::{Place, Template};
use crate::model::{Scheme, StreamRole, StreamUrl};

/// One RTSP stream for each role, main first; `rtsp_port` where the recorder told another than usual.
/// Empty for a maker without a rule for channels.
pub fn recorder_streams(
    maker: Maker<'_>,
    host: &str,
    channel: u32,
    rtsp_port: Option<u16>,
) -> Vec<(StreamRole, StreamUrl)> {
    let mut found: Vec<(StreamRole, StreamUrl)> = Vec::new();
    let templates = maker.nvr_templates().into_iter();
    for template in templates.filter(|t| t.slot() == Slot::RtspStream) {
        let role = match template.role() {
            StreamRole::Any => StreamRole::Main,
            role => role,
        };
        let place = Place {
            port: rtsp_port,
            channel,
            ..Place::new(host)
        };
        if let Some(url) = expand(&template, &place)
            && !found.iter().any(|(known, _)| *known == role)
        {
            found.push((role, url));
        }
    }
    found.sort_by_key(|(role, _)| *role);
    found
}

/// The still picture of one channel on the web service at `web`, which is `http` or `https`.
pub fn recorder_snapshot(maker: Maker<'_>, web: &StreamUrl, channel: u32) -> Option<StreamUrl> {
    let place = Place {
        port: Some(web.port),
        channel,
        scheme: Some(match web.scheme.is_tls() {
            true => Scheme::Https,
            false => Scheme::Http,
        }),
        ..Place::new(&web.host)
    };
    let mut templates = maker.nvr_templates().into_iter();
    templates
        .find(Template::is_snapshot)
        .and_then(|template| expand(&template, &place))
}

fn expand(template: &Template<'_>, place: &Place<'_>) -> Option<StreamUrl> {
    template.expand(place).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::Catalogue;

    #[test]
    fn main_and_sub_of_the_third_channel() {
        let catalogue = Catalogue::builtin();
        let shown = |maker: &str, port| {
            let maker = catalogue.by_id(maker).unwrap();
            let streams = recorder_streams(maker, "10.0.0.9", 3, port);
            let texts = streams.iter().map(|(r, u)| format!("{} {u}", r.as_str()));
            texts.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(
            shown("hikvision", None),
            "main rtsp://10.0.0.9:554/Streaming/Channels/301\n\
             sub rtsp://10.0.0.9:554/Streaming/Channels/302\n\
             third rtsp://10.0.0.9:554/Streaming/Channels/303"
        );
        assert_eq!(
            shown("reolink", Some(1554)),
            "main rtsp://10.0.0.9:1554/Preview_03_main\nsub rtsp://10.0.0.9:1554/Preview_03_sub"
        );
        assert!(
            shown("dahua", None)
                .starts_with("main rtsp://10.0.0.9:554/cam/realmonitor?channel=3&subtype=0\nsub ")
        );
        assert!(shown("xiongmai", None).contains("_password={hash}_channel=3_stream=0.sdp"));
        assert_eq!(shown("axis", None), "");
    }

    #[test]
    fn the_picture_of_a_channel() {
        let catalogue = Catalogue::builtin();
        let web = StreamUrl::parse("https://[fd00::9]:8443/").unwrap().url;
        let of = |maker: &str| recorder_snapshot(catalogue.by_id(maker).unwrap(), &web, 12);
        assert_eq!(
            of("hikvision").unwrap().to_string(),
            "https://[fd00::9]:8443/ISAPI/Streaming/channels/1201/picture?snapShotImageType=JPEG"
        );
        assert!(of("reolink").unwrap().to_string().contains("channel=11&"));
        assert_eq!(of("axis"), None);
    }
}
