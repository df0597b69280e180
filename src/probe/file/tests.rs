use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::model::{Codec, StreamRole, StreamUrl};
use crate::probe::{Attempt, Limits, OnvifAccess, Trust, run};
use crate::wire::jpeg::fixtures::picture;
use crate::wire::mp4::fixtures::movie;
use crate::wire::ts::fixtures::h264;

/// A folder that may be read, with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

async fn probed(folder: &Path, path: &str, depth: Depth) -> Attempt {
    let networks = AllowedNetworks::default().with_folders(vec![folder.to_owned()]);
    run(&Target {
        url: StreamUrl::parse(&format!("file:{path}")).unwrap().url,
        role: StreamRole::Main,
        login: None,
        cleartext_login: false,
        onvif: OnvifAccess::default(),
        depth,
        limits: Limits::default(),
        trust: Trust::FirstUse,
        networks: Arc::new(networks),
        gate: None,
    })
    .await
}

async fn refused(folder: &Path, path: &str) -> (ErrorCode, Stage, String) {
    let error = probed(folder, path, Depth::Window)
        .await
        .result
        .unwrap_err();
    (error.code, error.stage, error.message)
}

#[tokio::test]
async fn each_depth_learns_what_it_must() {
    let folder = folder(&[("a b.mp4", &movie(100, 25, 7, false))]);
    for (depth, evidence) in [
        (Depth::Connect, Evidence::Answer),
        (Depth::Answer, Evidence::Description),
        (Depth::Frame, Evidence::KeyFrame),
        (Depth::Window, Evidence::KeyFrame),
    ] {
        // Below the folder, by a name with an escape.
        let outcome = probed(folder.path(), "a%20b.mp4", depth)
            .await
            .result
            .unwrap();
        assert_eq!(
            (outcome.connection_type, outcome.evidence),
            (ConnectionType::File, evidence)
        );
        assert_eq!(outcome.transport, "file");
        assert_eq!(outcome.first_frame_ms.is_some(), depth >= Depth::Frame);
        if depth >= Depth::Answer {
            assert_eq!(outcome.media.codec, Some(Codec::H264));
            assert_eq!(outcome.media.resolution().as_deref(), Some("1920x1080"));
            assert_eq!(outcome.media.fps, Some(25.0));
        }
    }
}

#[tokio::test]
async fn pictures_and_transport_streams() {
    let stream = h264(100, 5000);
    let folder = folder(&[("still.jpg", &picture(640, 480)), ("cam.ts", &stream)]);
    let still = probed(folder.path(), "still.jpg", Depth::Window)
        .await
        .result
        .unwrap();
    assert_eq!(
        (still.evidence, still.media.resolution().as_deref()),
        (Evidence::Picture, Some("640x480"))
    );
    let path = folder.path().join("cam.ts").display().to_string();
    // The only key frame stands in front: wherever the loop is, it comes next.
    let outcome = probed(folder.path(), &path, Depth::Window)
        .await
        .result
        .unwrap();
    assert_eq!(
        (
            outcome.evidence,
            outcome.media.fps,
            outcome.media.resolution().as_deref()
        ),
        (Evidence::KeyFrame, Some(25.0), Some("2560x1440"))
    );
}

#[tokio::test]
async fn nothing_outside_the_folders_is_opened() {
    let inside = folder(&[("real.jpg", &picture(64, 48))]);
    let outside = folder(&[("secret.jpg", &picture(64, 48))]);
    let secret = outside.path().join("secret.jpg");
    symlink(&secret, inside.path().join("out.jpg")).unwrap();
    symlink(outside.path(), inside.path().join("dir")).unwrap();
    symlink("real.jpg", inside.path().join("in.jpg")).unwrap();
    let up = format!("{}/../{}", inside.path().display(), secret.display());
    for path in [
        secret.to_str().unwrap(),
        &up,
        "out.jpg",
        "dir/secret.jpg",
        "/etc/passwd",
        "/etc/there-is-none",
    ] {
        let (code, stage, text) = refused(inside.path(), path).await;
        assert_eq!(
            (code, stage),
            (ErrorCode::Internal, Stage::Connect),
            "{path}: {text}"
        );
        assert!(text.contains("security.file_roots"), "{text}");
    }
    let linked = probed(inside.path(), "in.jpg", Depth::Frame).await;
    assert!(linked.result.is_ok());
    let (code, _, _) = refused(Path::new("/there-is-none"), "/etc/passwd").await;
    assert_eq!(code, ErrorCode::Internal);
}

#[tokio::test]
async fn what_is_no_recording_is_named() {
    let whole = movie(20, 10, 5, false);
    let index_first = movie(20, 10, 5, true);
    let folder = folder(&[
        ("empty.mp4", b""),
        ("text.mp4", b"this is no film"),
        ("cut.mp4", &whole[..whole.len() - 9]),
        ("tail.mp4", &index_first[..1200]),
        ("cut.jpg", &picture(640, 480)[..40]),
        ("noise.ts", &[0x47; 4000]),
        ("none.ts", &[b"\x47", [3; 4000].as_slice()].concat()),
        ("cut.mkv", b"\x1a\x45\xdf\xa3\x80\x18"),
    ]);
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    use ErrorCode::{NoFrame, NotFound, Protocol};
    use Stage::{Connect, Describe, FirstFrame};
    for (name, want, stage, word) in [
        ("empty.mp4", NoFrame, Describe, "empty"),
        ("text.mp4", Protocol, Describe, "no MP4"),
        ("cut.mp4", Protocol, Describe, "moov"),
        ("tail.mp4", NoFrame, FirstFrame, "cut off"),
        ("cut.jpg", NoFrame, FirstFrame, "cut off"),
        ("none.ts", Protocol, Describe, "no MPEG transport stream"),
        ("cut.mkv", Protocol, Describe, "cut off"),
        ("missing.mp4", NotFound, Connect, "no file"),
        ("folder", Protocol, Connect, "no ordinary file"),
        ("fifo", Protocol, Connect, "no ordinary file"),
    ] {
        let (code, at, text) = refused(folder.path(), name).await;
        assert_eq!((code, at), (want, stage), "{name}: {text}");
        assert!(text.contains(word), "{name}: {text}");
    }
    // Packets, and nothing in them.
    assert!(
        probed(folder.path(), "noise.ts", Depth::Frame)
            .await
            .result
            .is_err()
    );
}

#[test]
fn the_loop_shows_what_is_on() {
    // The last of four seconds is damaged, its key frame included.
    let mut film = movie(100, 25, 7, true);
    let end = film.len();
    film[end - 5500..].fill(0);
    let folder = folder(&[("a.mp4", &film)]);
    let shown = |at_ms| {
        let task = Task {
            path: "a.mp4".into(),
            networks: Arc::new(
                AllowedNetworks::default().with_folders(vec![folder.path().to_owned()]),
            ),
            depth: Depth::Frame,
            at_ms,
            until: Instant::now() + Duration::from_secs(5),
        };
        let result = read(&task, &mut Transcript::new());
        result.map(|found| found.evidence).map_err(|e| e.code)
    };
    let day = 86_400_000;
    for at_ms in [0, 999, 4000, day, day + 4999] {
        assert_eq!(shown(at_ms), Ok(Evidence::KeyFrame), "{at_ms}");
    }
    for at_ms in [3000, 3999, day + 3500] {
        assert_eq!(shown(at_ms), Err(ErrorCode::NoFrame), "{at_ms}");
    }
}

#[test]
fn reading_ends_with_its_time() {
    let folder = folder(&[("a.mp4", &movie(20, 10, 5, true))]);
    let file = std::fs::File::open(folder.path().join("a.mp4")).unwrap();
    let mut window = Window::new(file, Instant::now()).unwrap();
    let error = Recording::read(&mut window).err().unwrap();
    assert_eq!(error.0, ErrorCode::Timeout);
}
