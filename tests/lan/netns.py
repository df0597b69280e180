"""Namespaces, links and processes of one site. Needs root and iproute2."""

import ctypes
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
import time

_CLONE_NEWNET = 0x40000000


def existing():
    """Names of all network namespaces of this machine."""
    try:
        return set(os.listdir("/run/netns"))
    except FileNotFoundError:
        return set()


def batch(commands, namespace=None):
    """Runs `ip` commands, in one process."""
    where = ["-n", namespace] if namespace else []
    done = subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(commands) + "\n", capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(where)}: {done.stderr.strip()}")


def make_switch(switch):
    batch([f"netns add {switch}"])
    batch(["link add br0 type bridge mcast_snooping 0 forward_delay 0 stp_state 0", "link set br0 addrgenmode none", "link set br0 up"], switch)


def make_host(switch, namespace, port, ip, mac):
    """A namespace with `eth0`, plugged into the switch at `port`. No default route: nothing leaves the site."""
    batch([f"netns add {namespace}"])
    batch(
        [f"link add {port} type veth peer name eth0 address {mac} netns {namespace}", f"link set {port} master br0 up"],
        switch,
    )
    batch(
        ["link set lo up", f"addr add {ip}/24 brd + dev eth0", "link set eth0 up", "route add 224.0.0.0/4 dev eth0"],
        namespace,
    )


def inside(namespace, work):
    """Runs `work()` in a thread of its own that has entered `namespace`; returns what it returns."""
    outcome = []

    def enter():
        handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
            outcome.append((work(), None))
        except BaseException as error:  # handed to the caller
            outcome.append((None, error))
        finally:
            os.close(handle)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error:
        raise error
    return value


def answers(ip, port, scheme):
    """Does the server accept, and for HTTP answer a request?"""
    try:
        with socket.create_connection((ip, port), timeout=1) as raw:
            if not scheme.startswith("http"):
                return True
            raw.settimeout(2)
            link = raw
            if scheme == "https":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                link = context.wrap_socket(raw)
            link.sendall(f"GET /snapshot HTTP/1.0\r\nHost: {ip}\r\n\r\n".encode())
            return link.recv(5) == b"HTTP/"
    except OSError:
        return False


def spawn(namespace, command, log):
    """Starts a server in the namespace, in a session of its own. -> `{pid, start}`, which names the process for ever."""
    with open(log, "ab") as out:
        child = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )
    return {"pid": child.pid, "start": _started(child.pid)[0]}


def alive(process):
    """Is it this very process, and running?"""
    start, state = _started(process["pid"])
    return start == process["start"] and state not in ("Z", "X", "")


def kill(processes, grace_s=2.0):
    """SIGTERM, then SIGKILL after `grace_s`. Processes that only share a number with ours are left alone."""
    for signum, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        running = [p for p in processes if alive(p)]
        for process in running:
            try:
                os.kill(process["pid"], signum)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + wait_s
        while any(alive(p) for p in running) and time.monotonic() < deadline:
            time.sleep(0.02)


def _started(pid):
    """(start time in clock ticks, state letter), from /proc."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ("", "")
    return (fields[19], fields[0])
