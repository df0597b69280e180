//! What this process asks of the kernel and the C library for itself.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Open files that a busy site may need.
const FILES_WANTED: rlim_t = 4096;
/// The kernel writes no core file of less than a page, and with a limit of exactly 1 it starts no
/// crash collector behind a pipe either (core(5)). PR_SET_DUMPABLE would do the same, but gives
/// /proc/PID to root: then nobody else can measure the daemon's memory.
const NO_CORE_BYTES: rlim_t = 1;

/// No core dumps (secrets would lie in them), enough files for many cameras, a small resident set.
/// Each is an improvement and none a need: where the system refuses, it stays as it was.
pub fn harden() {
    let _ = setrlimit(Resource::RLIMIT_CORE, NO_CORE_BYTES, NO_CORE_BYTES);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < FILES_WANTED
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, FILES_WANTED.min(hard), hard);
    }
    // A huge page would make 2 MiB resident for a few KiB.
    let _ = nix::sys::prctl::set_thp_disable(true);
    #[cfg(target_env = "gnu")]
    // One heap instead of one per thread.
    // SAFETY: mallopt takes two numbers; called at start, before any other thread allocates.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_in_force() {
        harden();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (1, 1));
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(soft >= FILES_WANTED.min(hard));
    }
}
