//! `ohmvision config check|print`

use super::{ConfigCommand, fail, out};
use crate::config::{Config, Sources};
use crate::exit::Exit;

pub fn run(command: &ConfigCommand) -> Exit {
    let (ConfigCommand::Check { config: file } | ConfigCommand::Print { config: file, .. }) =
        command;
    let loaded = Sources::of_process(file.as_deref()).and_then(|sources| Config::load(&sources));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => return fail(Exit::Config, &errors.to_string()),
    };
    if let Err(problems) = crate::daemon::catalogue(&loaded) {
        return fail(Exit::Config, &problems.to_string());
    }
    match command {
        ConfigCommand::Check { .. } => match &loaded.file {
            Some(file) => out(&format!("{} is right", file.display())),
            None => out("there is no configuration file; the defaults are in force"),
        },
        ConfigCommand::Print { origin, .. } => out(loaded.print(*origin).trim_end()),
    }
    Exit::Ok
}
