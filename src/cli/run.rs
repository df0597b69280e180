//! `ohmvision run`

use super::{RunArgs, fail, out};
use crate::daemon::{self, Options};
use crate::exit::Exit;

pub fn run(args: &RunArgs) -> Exit {
    let options = Options {
        config: args.config.clone(),
        listen: args.listen,
        state_dir: args.state_dir.clone(),
        new_store: args.new_store,
    };
    let runtime = match daemon::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Unavailable, &format!("cannot start: {error}")),
    };
    let ended = runtime.block_on(daemon::run(options, out));
    // What hangs in the blocking pool (a name server that does not answer) must not hold the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match ended {
        Ok(()) => Exit::Ok,
        Err(error) => fail(error.exit(), &error.to_string()),
    }
}
