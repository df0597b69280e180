//! `oxvif-fleet IP PORT COUNT USER PASSWORD MAKER MODEL`: mock devices of the `oxvif` crate on one address, at PORT
//! and the ports after it. They answer WS-Discovery there and want the login as WS-Security digest.

use std::net::Ipv4Addr;

use oxvif::mock::{DeviceState, Fleet, MockServer};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [ip, port, count, user, password, maker, model] = args.as_slice() else {
        eprintln!("usage: oxvif-fleet IP PORT COUNT USER PASSWORD MAKER MODEL");
        std::process::exit(2);
    };
    let ip: Ipv4Addr = ip.parse().expect("an IPv4 address");
    let port: u16 = port.parse().expect("a port");
    let count: u16 = count.parse().expect("a number");
    let mut fleet = Fleet::builder().enforce_auth(true).discoverable(ip);
    for n in 0..count {
        let mut state = DeviceState::default();
        state.users.truncate(1);
        state.users[0].username = user.clone();
        state.users[0].password = password.clone();
        state.info.manufacturer = maker.clone();
        state.info.model = model.clone();
        state.info.serial_number = format!("OX{n:04}");
        let server = MockServer::builder()
            .bind_ip(ip)
            .advertise_ip(ip)
            .port(port + n)
            .initial_state(state);
        let name = model.replace(' ', "%20");
        let scopes = [
            format!("onvif://www.onvif.org/name/{}", maker.replace(' ', "%20")),
            format!("onvif://www.onvif.org/hardware/{name}"),
            "onvif://www.onvif.org/type/video_encoder".to_owned(),
        ];
        let endpoint = format!("urn:uuid:00000000-0000-4000-8000-{:08x}{n:04x}", u32::from(ip));
        fleet = fleet.member(server, endpoint, scopes.to_vec());
    }
    let _fleet = fleet.start().await.expect("the fleet starts");
    println!("ready");
    std::future::pending::<()>().await;
}
