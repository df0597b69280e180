//! `ohmvision scan [NETWORK..]` and `ohmvision discover`

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::detect::one_shot_networks;
use super::table::{or_dash, render};
use super::{fail, logins, out, out_json};
use crate::brake::Brake;
use crate::detect::Detector;
use crate::discover::interfaces;
use crate::discover::pace::Rates;
use crate::discover::scan::{self, Device, PORTS, Plan, Told};
use crate::discover::sweep::HostSweep;
use crate::exit::Exit;
use crate::model::Credentials;
use crate::policy::networks::scan_networks;
use crate::probe::Limits;
use crate::site::ScanLogins;
use crate::vendor::Catalogue;
use crate::wire::discovery;

/// Hosts of one scan, as the daemon's default.
const HOSTS_MAX: u64 = 4096;
const SCAN_WINDOW: Duration = Duration::from_millis(900);
const DISCOVER_WINDOW: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub struct ScanArgs {
    /// Networks to scan, as in 192.168.1.0/24 [default: those of the interfaces].
    networks: Vec<String>,
    /// Only this interface.
    #[arg(long, value_name = "IF")]
    interface: Vec<String>,
    /// Only this method, may be given several times [default: all].
    #[arg(long, value_name = "METHOD")]
    method: Vec<Method>,
    /// Only this port, may be given several times [default: those that cameras use].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Vec<u16>,
    /// Do not ask the devices who they are.
    #[arg(long)]
    no_identify: bool,
    /// Ask the cameras with the logins of this file, one user:password on each line.
    #[arg(long, value_name = "FILE")]
    logins: Option<PathBuf>,
    /// Print the devices as the API shows them.
    #[arg(long)]
    json: bool,
}

/// As the API names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Method {
    Arp,
    Tcp,
    WsDiscovery,
    Ssdp,
    Mdns,
    /// The makers' own.
    Vendor,
}

impl Method {
    fn of(asked: discovery::Method) -> Option<Self> {
        match asked {
            discovery::Method::WsDiscovery => Some(Self::WsDiscovery),
            discovery::Method::Ssdp => Some(Self::Ssdp),
            discovery::Method::Mdns => Some(Self::Mdns),
            discovery::Method::Vendor => Some(Self::Vendor),
            discovery::Method::Dhcp => None,
        }
    }
}

#[derive(Debug, Args)]
pub struct DiscoverArgs {
    /// Print the devices as the API shows them.
    #[arg(long)]
    json: bool,
}

pub async fn scan(args: &ScanArgs) -> Exit {
    let logins = match args.logins.as_deref().map(logins::from_file).transpose() {
        Ok(logins) => logins.unwrap_or_default(),
        Err(why) => return fail(Exit::Usage, &why),
    };
    let mut chosen = interfaces::list();
    if let Some(missing) = args
        .interface
        .iter()
        .find(|name| !chosen.iter().any(|i| i.name == **name))
    {
        return fail(Exit::Usage, &format!("there is no interface {missing}"));
    }
    chosen.retain(|i| {
        i.can_multicast() && (args.interface.is_empty() || args.interface.contains(&i.name))
    });
    let own: Vec<String> = chosen
        .iter()
        .flat_map(|i| &i.ipv4)
        .map(|net| net.network.clone())
        .collect();
    let wanted = if args.networks.is_empty() {
        &own
    } else {
        &args.networks
    };
    let networks = match scan_networks(wanted, &one_shot_networks(), HOSTS_MAX) {
        Ok(networks) if networks.is_empty() => {
            return fail(Exit::Usage, "this machine has no network to scan; name one");
        }
        Ok(networks) => networks,
        Err(why) => return fail(Exit::Usage, &why),
    };
    let wants = |method| args.method.is_empty() || args.method.contains(&method);
    let plan = Plan {
        networks,
        interfaces: chosen,
        ports: if args.port.is_empty() {
            Arc::from(PORTS)
        } else {
            args.port.clone().into()
        },
        usual_ports: args.port.is_empty(),
        arp: wants(Method::Arp),
        tcp: wants(Method::Tcp),
        methods: discovery::Method::ALL
            .into_iter()
            .filter(|asked| Method::of(*asked).is_some_and(wants))
            .collect(),
        identify: !args.no_identify,
        window: SCAN_WINDOW,
        rates: Rates::default(),
    };
    show(plan, logins, args.json).await
}

pub async fn discover(args: &DiscoverArgs) -> Exit {
    let mut chosen = interfaces::list();
    chosen.retain(interfaces::Interface::can_multicast);
    let plan = Plan {
        networks: Vec::new(),
        interfaces: chosen,
        ports: Arc::from([]),
        usual_ports: false,
        arp: false,
        tcp: false,
        methods: vec![discovery::Method::WsDiscovery],
        identify: false,
        window: DISCOVER_WINDOW,
        rates: Rates::default(),
    };
    show(plan, Vec::new(), args.json).await
}

/// Runs the plan; progress on a terminal, then the table. Exit 1 when nothing was found.
async fn show(plan: Plan, logins: Vec<Credentials>, as_json: bool) -> Exit {
    let detector = Arc::new(Detector {
        catalogue: Arc::new(Catalogue::builtin()),
        brake: Arc::new(Brake::for_one_run()),
        gate: None,
        networks: Arc::new(one_shot_networks()),
        limits: Limits::default(),
    });
    let mut logins = ScanLogins::new(detector.clone(), logins);
    let started = Instant::now();
    let (tell, mut told) = mpsc::channel(256);
    let total = plan.total();
    let host_sweep = plan.host_sweep();
    let work = scan::run(plan, detector, tell, CancellationToken::new());
    let collect = async {
        let mut found: BTreeMap<scan::DeviceKey, Device> = BTreeMap::new();
        let mut scanned = 0;
        let is_live = std::io::stderr().is_terminal();
        while let Some(news) = told.recv().await {
            match news {
                Told::Scanned(count) => scanned += count,
                Told::Found(device) => {
                    logins.begin(&device);
                    found.insert(device.key(), *device);
                }
            }
            if is_live {
                let _ = write!(
                    std::io::stderr(),
                    "\r{scanned} of {total} addresses, {} devices ",
                    found.len()
                );
            }
        }
        while let Some(device) = logins.next().await {
            found.insert(device.key(), device);
        }
        if is_live {
            let _ = write!(std::io::stderr(), "\r\u{1b}[2K");
        }
        found
    };
    let ((), found) = tokio::join!(work, collect);
    let devices: Vec<Device> = found.into_values().collect();
    if as_json {
        out_json(&devices);
    } else {
        table(&devices);
        let cameras = devices.iter().filter(|d| d.is_camera).count();
        let seconds = started.elapsed().as_secs_f64();
        out(&format!(
            "{} devices, {cameras} of them cameras, {total} addresses in {seconds:.1} s",
            devices.len()
        ));
    }
    if host_sweep == Some(HostSweep::NeighbourTable) && !as_json {
        out(
            "Hosts were found by the kernel's neighbour table; with CAP_NET_RAW the scan is quicker and sees other subnets.",
        );
    }
    if devices.is_empty() {
        Exit::Failed
    } else {
        Exit::Ok
    }
}

fn table(devices: &[Device]) {
    let row = |d: &Device| {
        let ports: Vec<String> = d.open_ports.iter().map(u16::to_string).collect();
        vec![
            d.ip.to_string(),
            or_dash(d.mac.clone()),
            if d.is_camera { "camera" } else { "-" }.to_owned(),
            or_dash(d.manufacturer.clone()),
            or_dash(d.model.clone()),
            format!("{:.0} %", d.confidence * 100.0),
            if d.is_onvif { "onvif" } else { "-" }.to_owned(),
            ports.join(" "),
        ]
    };
    let rows: Vec<Vec<String>> = devices.iter().map(row).collect();
    out(&render(
        &[
            "ADDRESS", "MAC", "KIND", "MAKER", "MODEL", "SURE", "ONVIF", "PORTS",
        ],
        &rows,
    ));
}
