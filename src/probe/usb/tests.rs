use super::*;
use crate::wire::v4l2::FormatDescription;

fn description(name: &str, is_compressed: bool) -> FormatDescription {
    FormatDescription {
        fourcc: FourCc::from_name(name).unwrap(),
        description: String::new(),
        is_compressed,
        is_emulated: false,
    }
}

fn mode(now: &str, formats: &[FormatDescription]) -> Mode {
    Mode {
        format: PixelFormat {
            width: 1280,
            height: 720,
            fourcc: FourCc::from_name(now).unwrap(),
            line_bytes: 0,
            image_bytes: 1_000_000,
        },
        fps: Some(30.0),
        formats: formats.to_vec(),
        input_fault: None,
    }
}

#[test]
fn a_format_that_can_be_checked_stays() {
    let formats = [description("MJPG", true), description("UYVY", false)];
    for now in ["MJPG", "UYVY", "YUYV", "H264"] {
        assert_eq!(mode(now, &formats).better(), Ok(None), "{now}");
    }
    let formats = [description("S263", true), description("YUYV", false)];
    let better = mode("S263", &formats).better().unwrap().unwrap();
    assert_eq!((better.fourcc, better.width), (FourCc::YUYV, 1280));
    let only = [description("S263", true)];
    assert!(mode("S263", &only).better().is_err());
}

#[test]
fn errors_of_drivers_have_their_codes() {
    let mut log = Transcript::new();
    let code = |errno, log: &Transcript| {
        driver_error(&io::Error::from_raw_os_error(errno), "cam", log).code
    };
    log.enter(Stage::Connect);
    assert_eq!(code(libc::ENOENT, &log), ErrorCode::NotFound);
    assert_eq!(code(libc::ENODEV, &log), ErrorCode::NotFound);
    assert_eq!(code(libc::EACCES, &log), ErrorCode::Refused);
    assert_eq!(code(libc::EIO, &log), ErrorCode::Reset);
    log.enter(Stage::Start);
    assert_eq!(code(libc::EBUSY, &log), ErrorCode::Busy);
    assert_eq!(code(libc::ENOSPC, &log), ErrorCode::Busy);
    assert_eq!(code(libc::ENODEV, &log), ErrorCode::Reset);
    assert_eq!(code(libc::EINVAL, &log), ErrorCode::Protocol);
    let error = broken_off(&io::Error::from_raw_os_error(libc::EINVAL), "cam", &log);
    assert_eq!(error.code, ErrorCode::Reset);
}

#[test]
fn what_is_missing_is_named_with_what_is_there() {
    let log = Transcript::new();
    let node = |name: &str, index| Node {
        node: name.to_owned(),
        index,
        usb: None,
        by_id: None,
        by_path: None,
    };
    let nodes = [node("video0", 0), node("video1", 1), node("video2", 0)];
    let error = not_plugged_in("usb-x", &nodes, &log);
    assert_eq!(error.code, ErrorCode::NotFound);
    assert_eq!(
        error.message,
        "usb-x is not plugged in; there is video0, video2"
    );
}

#[test]
fn the_picture_knows_better_than_the_setting() {
    let facts = FrameFacts {
        width: 640,
        height: 360,
        announced_fps: Some(15.0),
    };
    let media = proven(mode("MJPG", &[]).facts(), &facts);
    assert_eq!(
        (media.resolution().unwrap().as_str(), media.fps),
        ("640x360", Some(30.0))
    );
}

#[tokio::test]
async fn a_driver_that_hangs_keeps_its_thread_and_not_the_probe() {
    let mut log = Transcript::new();
    let mut course = Course {
        name: "cam",
        end: Instant::now() + Duration::from_secs(5),
        is_loopback: false,
        log: &mut log,
    };
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let hang = move || {
        let _ = wait.recv();
        Ok(())
    };
    let error = course
        .with_driver(Duration::from_millis(20), hang)
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::Timeout);
    drop(release);
}
