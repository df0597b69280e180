//! The command line: one file per subcommand; tables for people, `--json` for programs.

mod camera;
mod channels;
mod client;
mod config;
mod detect;
mod doctor;
mod fingerprint;
mod fleet;
mod health;
mod logins;
mod mqtt;
mod probe;
mod ptz;
mod reset_identity;
mod run;
mod scan;
mod setup;
mod table;
mod token;
mod transfer;
mod urls;
mod usb;

use std::io::IsTerminal as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::exit::Exit;
use crate::model::{Credentials, Secret};

/// Told at the end of `--help`.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 the answer is no; 2 wrong arguments; 65 store damaged; 69 unavailable; 73 state cannot be written; 75 state directory in use; 78 configuration wrong.";

/// Finds every camera on a site, works out how to connect, proves pictures, watches and reports.
#[derive(Debug, Parser)]
#[command(name = "ohmvision", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run(RunArgs),
    /// Find every camera on the networks, without any login.
    Scan(scan::ScanArgs),
    /// Ask for ONVIF devices by multicast.
    Discover(scan::DiscoverArgs),
    /// List the cameras of this machine and what they can do.
    Usb(usb::UsbArgs),
    /// Set a whole site up: scan, ask for logins, detect, show, store.
    Setup(setup::SetupArgs),
    /// Work out how to connect to one camera.
    Detect(DetectArgs),
    /// Probe one URL once: exit 0 alive, 1 not, 2 usage.
    Probe(ProbeArgs),
    /// Show a manufacturer's URLs for one address.
    Urls(UrlsArgs),
    /// List the known manufacturers, or show one with its templates.
    Manufacturers(ManufacturersArgs),
    /// Store, show, remove, import and export the cameras of a running daemon.
    Camera(camera::CameraArgs),
    /// Show how the cameras of a running daemon are.
    Health(health::HealthArgs),
    /// Show what happened.
    Events(health::EventsArgs),
    /// Make, list and revoke tokens of the API.
    Token(token::TokenArgs),
    /// Report to an MQTT broker.
    Mqtt(mqtt::MqttArgs),
    /// See and change all gateways of a broker.
    Fleet(Box<fleet::FleetArgs>),
    /// Check or print the configuration.
    Config(ConfigArgs),
    /// Show how the API's certificate is recognised.
    Fingerprint(FingerprintArgs),
    /// Tell what this board lacks: rights, multicast, time, room; exit 1 if something does.
    Doctor(doctor::DoctorArgs),
    /// Take the identity out of a copied state directory; the next start makes its own.
    ResetIdentity(reset_identity::ResetIdentityArgs),
    /// Print the description of the API (OpenAPI 3.1).
    Openapi,
    /// Print the completions of a shell: `source <(ohmvision completions bash)`.
    Completions { shell: clap_complete::Shell },
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Configuration file [default: /etc/ohmvision/ohmvision.toml, where it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the API [default: 127.0.0.1:8000].
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where the state is kept [default: $STATE_DIRECTORY, else ~/.local/state/ohmvision].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Set a store that cannot be read aside and start with an empty one.
    #[arg(long)]
    new_store: bool,
}

/// A login for one-shot commands. The password never stands on the command line.
#[derive(Debug, Args)]
struct LoginArgs {
    /// User name; the password is asked for, or taken from $OHMVISION_PASSWORD.
    #[arg(short = 'u', long, value_name = "USER")]
    username: Option<String>,
    /// Read the password from standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
}

#[derive(Debug, Args)]
struct DetectArgs {
    /// The camera's address.
    ip: String,
    #[command(flatten)]
    login: LoginArgs,
    /// Manufacturer by id, name or alias.
    #[arg(long, value_name = "MAKER")]
    manufacturer: Option<String>,
    /// Channel of a recorder, from 1.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=512))]
    channel: u32,
    /// Look at these ports only.
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    port: Vec<u16>,
    /// Longest time for the whole detection.
    #[arg(long, value_name = "MS", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1_000..=120_000))]
    timeout_ms: u32,
    /// Print the API's answer.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ProbeArgs {
    /// The stream, as in rtsp://192.168.1.100:554/stream1.
    url: String,
    #[command(flatten)]
    login: LoginArgs,
    /// Go on to a key frame and measure the frame rate.
    #[arg(long)]
    frames: bool,
    /// Print one element of the API's `all_results`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct UrlsArgs {
    /// Manufacturer by id, name or alias.
    manufacturer: String,
    /// The camera's address.
    ip: IpAddr,
    #[command(flatten)]
    login: LoginArgs,
    /// Channel of a recorder, from 1.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=512))]
    channel: u32,
    /// Print the API's answer.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ManufacturersArgs {
    /// Manufacturer by id, name or alias.
    manufacturer: Option<String>,
    /// Print the API's answer.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Name every mistake in the configuration; exit 78 if there is one.
    Check {
        /// Configuration file [default: /etc/ohmvision/ohmvision.toml, where it exists].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the configuration in force.
    Print {
        /// Configuration file [default: /etc/ohmvision/ohmvision.toml, where it exists].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Say where each value comes from.
        #[arg(long)]
        origin: bool,
    },
}

#[derive(Debug, Args)]
struct FingerprintArgs {
    /// Configuration file [default: /etc/ohmvision/ohmvision.toml, where it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the state is kept [default: $STATE_DIRECTORY, else ~/.local/state/ohmvision].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// The command line as data, for man pages and completions.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Reads the command line and runs it.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let code = match command {
        Command::Run(args) => run::run(&args),
        Command::Scan(args) => one_shot(scan::scan(&args)),
        Command::Discover(args) => one_shot(scan::discover(&args)),
        Command::Setup(args) => one_shot(setup::run(&args)),
        Command::Detect(args) => one_shot(detect::run(&args)),
        Command::Usb(args) => one_shot(usb::run(&args)),
        Command::Probe(args) => one_shot(probe::run(&args)),
        Command::Urls(args) => urls::urls(&args),
        Command::Manufacturers(args) => urls::manufacturers(&args),
        Command::Camera(args) => one_shot(camera::run(&args)),
        Command::Health(args) => one_shot(health::health(&args)),
        Command::Events(args) => one_shot(health::events(&args)),
        Command::Token(args) => one_shot(token::run(&args)),
        Command::Mqtt(args) => one_shot(mqtt::run(&args)),
        Command::Fleet(args) => one_shot(fleet::run(&args)),
        Command::Config(args) => config::run(&args.command),
        Command::Fingerprint(args) => fingerprint::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::ResetIdentity(args) => reset_identity::run(&args),
        Command::Openapi => {
            out(crate::api::openapi::DOCUMENT.trim_end());
            Exit::Ok
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ohmvision", &mut script);
            out(String::from_utf8_lossy(&script).trim_end());
            Exit::Ok
        }
        Command::Version => {
            out(&format!("ohmvision {}", env!("CARGO_PKG_VERSION")));
            Exit::Ok
        }
    };
    code.into()
}

/// Runs an asynchronous command on a runtime of its own.
fn one_shot(work: impl Future<Output = Exit>) -> Exit {
    let _ = crate::logging::start_one_shot();
    match crate::daemon::runtime() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => fail(Exit::Unavailable, &format!("cannot start: {error}")),
    }
}

/// The login that the operator gave; `Err` is the exit code, the sentence is printed.
fn login(args: &LoginArgs) -> Result<Option<Credentials>, Exit> {
    let Some(username) = args.username.clone() else {
        return Ok(None);
    };
    let password = if args.password_stdin {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(|e| {
            fail(
                Exit::Usage,
                &format!("cannot read the password from standard input: {e}"),
            )
        })?;
        Secret::new(line.trim_end_matches(['\r', '\n']))
    } else if let Ok(password) = std::env::var("OHMVISION_PASSWORD") {
        Secret::new(password)
    } else if std::io::stdin().is_terminal() {
        crate::sys::terminal::ask_password(&format!("Password of {username}: "))
            .map_err(|e| fail(Exit::Usage, &format!("cannot read the password: {e}")))?
    } else {
        return Err(fail(
            Exit::Usage,
            "no password: give it with --password-stdin or in OHMVISION_PASSWORD",
        ));
    };
    Ok(Some(Credentials { username, password }))
}

/// Prints one line on standard output. A closed pipe is no error.
fn out(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints one value as JSON.
fn out_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(json) => out(&json),
        Err(error) => {
            fail(Exit::Failed, &format!("cannot print the answer: {error}"));
        }
    }
}

/// One sentence on standard error; returns the code.
fn fail(code: Exit, message: &str) -> Exit {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "ohmvision: {message}");
    code
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn every_shell_gets_completions_of_every_command() {
        use clap::ValueEnum as _;
        for shell in clap_complete::Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut super::Cli::command(), "ohmvision", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in super::Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {command}");
            }
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
