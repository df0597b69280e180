//! `onvif-server-device IP PORT USER PASSWORD STREAM_URL`: one device of the `onvif-server` crate. It answers
//! WS-Discovery and names the RTSP stream of another server.

use async_trait::async_trait;
use onvif_server::{
    DeviceInfo, DeviceService, EventService, ImagingService, MediaService, OnvifError, OnvifServer,
    PTZService, PTZStatusResult,
};

#[derive(Clone)]
struct Device {
    stream_url: String,
}

#[async_trait]
impl DeviceService for Device {
    async fn get_device_information(&self) -> Result<DeviceInfo, OnvifError> {
        Ok(DeviceInfo {
            manufacturer: "Ratlet".into(),
            model: "RS-1".into(),
            firmware_version: "0.1.1".into(),
            serial_number: "RS00000001".into(),
            hardware_id: "rs1".into(),
        })
    }
}

#[async_trait]
impl MediaService for Device {
    async fn get_stream_uri(&self, _profile: &str) -> Result<String, OnvifError> {
        Ok(self.stream_url.clone())
    }

    async fn get_snapshot_uri(&self, _profile: &str) -> Result<String, OnvifError> {
        Err(OnvifError::NotImplemented)
    }
}

#[async_trait]
impl PTZService for Device {
    async fn continuous_move(&self, _: &str, _: f32, _: f32, _: f32) -> Result<(), OnvifError> {
        Ok(())
    }

    async fn stop(&self, _: &str, _: bool, _: bool) -> Result<(), OnvifError> {
        Ok(())
    }

    async fn get_status(&self, _: &str) -> Result<PTZStatusResult, OnvifError> {
        Ok(PTZStatusResult {
            pan_tilt_moving: false,
            zoom_moving: false,
        })
    }
}

impl ImagingService for Device {}
impl EventService for Device {}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [ip, port, user, password, stream_url] = args.as_slice() else {
        eprintln!("usage: onvif-server-device IP PORT USER PASSWORD STREAM_URL");
        std::process::exit(2);
    };
    let device = Device {
        stream_url: stream_url.clone(),
    };
    OnvifServer::builder()
        .port(port.parse().expect("a port"))
        .advertised_host(ip)
        .device_service(device.clone())
        .media_service(device.clone())
        .ptz_service(device.clone())
        .imaging_service(device.clone())
        .event_service(device)
        .auth(user, password)
        .build()
        .expect("a device")
        .run()
        .await
        .expect("it serves");
}
