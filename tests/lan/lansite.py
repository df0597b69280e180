"""The commands of `tests/lan/lan`. What the site is made of stands in site.json beside this file.

One site is one prefix: namespaces `<prefix>-sw` (the switch), `<prefix>-gw` (where the daemon runs), and one
per device. Its state is `<prefix>/state.json` under $OHMVISION_LAN_DIR (default `target/lan`): only what stands
there is ever killed or deleted.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.parse

import media
import netns

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
LAN_DIR = pathlib.Path(os.environ.get("OHMVISION_LAN_DIR") or REPOSITORY / "target" / "lan").resolve()
MEDIA_DIR = pathlib.Path(os.environ.get("OHMVISION_MEDIA_DIR") or REPOSITORY / "target" / "lan" / "media").resolve()
PEERS_DIR = pathlib.Path(os.environ.get("OHMVISION_PEERS_DIR") or REPOSITORY / "target" / "peers").resolve()
READY_S_MAX = 40
SPEC = json.loads((HERE / "site.json").read_text())
DEVICES = {d["name"]: d for d in SPEC["devices"]}


class Failure(Exception):
    """One sentence for the person at the keyboard."""


class Site:
    def __init__(self, prefix):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,30}", prefix):
            raise Failure(f"`{prefix}` is no prefix: letters, digits and dashes, at most 31")
        self.prefix = prefix
        self.directory = LAN_DIR / prefix
        self.state = {"namespaces": [], "hosts": {}}

    def namespace(self, name):
        return f"{self.prefix}-{name}"

    @contextlib.contextmanager
    def locked(self):
        """Reads the state, and writes it back however the work ends."""
        LAN_DIR.mkdir(parents=True, exist_ok=True)
        with _lock(LAN_DIR / f".{self.prefix}.lock"):
            self.directory.mkdir(parents=True, exist_ok=True)
            path = self.directory / "state.json"
            if path.exists():
                self.state = json.loads(path.read_text())
            try:
                yield
            finally:
                if self.directory.exists():
                    self._save()

    def _save(self):
        part = self.directory / "state.json.part"
        part.write_text(json.dumps(self.state, indent=1))
        os.replace(part, self.directory / "state.json")

    def _own(self, name):
        """Notes a namespace before it is made. -> whether it is still to be made."""
        namespace = self.namespace(name)
        if namespace in self.state["namespaces"]:
            return namespace not in netns.existing()
        if namespace in netns.existing():
            raise Failure(f"namespace {namespace} exists and is not of this site: take another --prefix, or `ip netns del {namespace}`")
        self.state["namespaces"].append(namespace)
        self._save()
        return True

    # Building

    def ensure_host(self, name, ip, mac):
        switch = self.namespace("sw")
        if self._own("sw"):
            netns.make_switch(switch)
        if self._own(name):
            netns.make_host(switch, self.namespace(name), name, ip, mac)
        self.state["hosts"].setdefault(name, {"ip": ip, "mac": mac, "processes": []})

    def start(self, names):
        """Starts the devices that do not run, and waits until each one answers."""
        devices = [DEVICES[n] for n in names]
        rtsp = [s["expected"] for d in devices if d["kind"] == "rtsp" for s in d["streams"]]
        stills = [d["streams"][0]["expected"] for d in devices if d["kind"] == "ustreamer"]
        media.ensure(MEDIA_DIR, rtsp, stills)
        for device in devices:
            host = self.state["hosts"][device["name"]]
            host["processes"] = [p for p in host["processes"] if netns.alive(p)]
            wanted = self.commands(device)
            if len(host["processes"]) == len(wanted):
                continue
            netns.kill(host["processes"])
            log = self.directory / f"{device['name']}.log"
            host["processes"] = [netns.spawn(self.namespace(device["name"]), c, log) for c in wanted]
            self._save()
        netns.inside(self.namespace("gw"), lambda: self._wait_ready(devices))

    def _wait_ready(self, devices):
        waiting = {(d["name"], _address(s["url"])) for d in devices for s in d["streams"]}
        waiting |= {(d["name"], (d["ip"], d["onvif"]["port"], "onvif")) for d in devices if "onvif" in d}
        deadline = time.monotonic() + READY_S_MAX
        while waiting:
            for entry in sorted(waiting):
                name, address = entry
                if netns.answers(*address):
                    waiting.discard(entry)
                elif not all(netns.alive(p) for p in self.state["hosts"][name]["processes"]):
                    raise Failure(f"device {name} ended at once; its log is {self.directory / name}.log")
            if time.monotonic() > deadline:
                late = ", ".join(f"{n} ({a[0]}:{a[1]})" for n, a in sorted(waiting))
                raise Failure(f"no answer within {READY_S_MAX} s from {late}; logs are in {self.directory}")
            if waiting:
                time.sleep(0.05)

    def commands(self, device):
        """The servers of one device."""
        name, login, streams = device["name"], device["login"], device["streams"]
        python = ["/usr/bin/python3", "-B"]
        if device["kind"] in ("rtsp", "onvif"):
            pem = [self._certificate(device)] if any(s["url"].startswith("rtsps:") for s in streams) else []
            camera = [[*python, str(HERE / "rtsp_camera.py"), json.dumps(device), str(MEDIA_DIR), *pem]] if streams else []
            return camera + ([self._onvif(device)] if "onvif" in device else [])
        if device["kind"] == "motion":
            return [["motion", "-n", "-c", self._motion_config(device)]]
        _, port, scheme = _address(streams[0]["url"])
        tls = scheme == "https"
        inner = ["127.0.0.1", "8081"] if tls else ["0.0.0.0", str(port)]
        picture = MEDIA_DIR / media.still_name(streams[0]["expected"])
        server = ["ustreamer", "-d", "/dev/no-such-video", "-k", str(picture), "--host", inner[0], "-p", inner[1],
                  "--user", login["username"], "--passwd", login["password"]]
        if not tls:
            return [server]
        front = [*python, str(HERE / "tls_front.py"), str(port), self._certificate(device), inner[1], json.dumps(device["paths"])]
        return [server, front]

    def _onvif(self, device):
        """The ONVIF side of a device: one that others wrote, or our own with a fault."""
        onvif, login = device["onvif"], device["login"]
        address = [device["ip"], str(onvif["port"])]
        user = [login["username"], login["password"]]
        if device["peer"] == "oxvif":
            return [_peer("oxvif-fleet"), *address, "1", *user, onvif["maker"], onvif["model"]]
        if device["peer"] == "onvif-server":
            return [_peer("onvif-server-device"), *address, *user, device["streams"][0]["url"]]
        pem = [self._certificate(device)] if onvif["fault"] == "text" else []
        log = self.directory / f"{device['name']}.logins"
        return ["/usr/bin/python3", "-B", str(HERE / "onvif_fake.py"), json.dumps(device), str(log), *pem]

    def _certificate(self, device):
        """Self-signed, as cameras have them; the same for the life of the site."""
        pem = self.directory / f"{device['name']}.pem"
        if not pem.exists():
            key, cert = pem.with_suffix(".key"), pem.with_suffix(".crt")
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
                 "-subj", f"/CN={device['name']}", "-addext", f"subjectAltName=IP:{device['ip']}",
                 "-keyout", str(key), "-out", str(cert)],
                check=True, capture_output=True,
            )
            pem.write_bytes(key.read_bytes() + cert.read_bytes())
        return str(pem)

    def _motion_config(self, device):
        """Motion shows what another camera of the site sends: that one's sub stream."""
        feed, out = DEVICES[device["fed_by"]], device["streams"][0]["expected"]
        login = device["login"]
        settings = {
            "daemon": "off", "setup_mode": "off", "log_level": 6, "target_dir": self.directory,
            "netcam_url": feed["streams"][1]["url"], "netcam_params": "rtsp_transport=tcp",
            "netcam_userpass": f"{feed['login']['username']}:{feed['login']['password']}",
            "width": out["width"], "height": out["height"], "framerate": feed["streams"][1]["expected"]["fps"],
            "picture_output": "off", "movie_output": "off", "emulate_motion": "off",
            "stream_port": _address(device["streams"][0]["url"])[1], "stream_localhost": "off", "stream_maxrate": out["fps"],
            "stream_auth_method": 2, "stream_authentication": f"{login['username']}:{login['password']}", "webcontrol_port": 0,
        }
        path = self.directory / "motion.conf"
        path.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        return str(path)

    # Commands

    def up(self, names):
        gateway = SPEC["gateway"]
        with self.locked():
            self.ensure_host("gw", gateway["ip"], gateway["mac"])
            for name in names:
                self.ensure_host(name, DEVICES[name]["ip"], DEVICES[name]["mac"])
            self.start(names)

    def down(self):
        if not self.directory.exists():
            return
        with self.locked():
            netns.kill([p for host in self.state["hosts"].values() for p in host["processes"]])
            for namespace in [n for n in self.state["namespaces"] if n in netns.existing()]:
                left = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True).stdout.split()
                if left:
                    print(f"lan: {namespace} is gone, but processes {', '.join(left)} were still in it", file=sys.stderr)
                netns.batch([f"netns del {namespace}"])
            shutil.rmtree(self.directory)
            (LAN_DIR / f".{self.prefix}.lock").unlink(missing_ok=True)

    def host(self, name, ip):
        """One more machine on the LAN, with nothing on it: for fakes and attackers."""
        with self.locked():
            if name in DEVICES or name in ("gw", "sw"):
                raise Failure(f"`{name}` is one of the site's own names")
            used = {h["ip"] for h in self.state["hosts"].values()}
            free = (f"10.77.0.{n}" for n in range(100, 250) if f"10.77.0.{n}" not in used)
            known = self.state["hosts"].get(name, {})
            ip = known.get("ip") or ip or next(free)
            mac = "02:77:00:00:01:{:02x}".format(int(ip.rpartition(".")[2]))
            self.ensure_host(name, ip, mac)
            print(json.dumps({"name": name, "ip": ip, "mac": mac, "netns": self.namespace(name)}))

    def stop(self, names):
        with self.locked():
            for name in names:
                host = self.known(name)
                netns.kill(host["processes"], grace_s=0)
                host["processes"] = []

    def plug(self, name, state):
        with self.locked():
            self.known(name)
            netns.batch([f"link set {name} {state}"], self.namespace("sw"))

    def impair(self, name, fault, percent):
        rules = {
            "none": [],
            "drop": ["meta l4proto { tcp, udp } drop"],
            "reset": ["meta l4proto tcp reject with tcp reset"],
            "loss": [f"numgen random mod 100 < {percent} drop"],
        }[fault]
        with self.locked():
            self.known(name)
            chain = ["table inet fault {", "chain input {", "type filter hook input priority 0;", *rules, "}", "}"]
            script = "\n".join(["table inet fault", "delete table inet fault", *(chain if rules else []), ""])
            done = subprocess.run(["ip", "netns", "exec", self.namespace(name), "nft", "-f", "-"], input=script, text=True, capture_output=True)
            if done.returncode != 0:
                raise Failure(f"nft: {done.stderr.strip()}")

    def known(self, name):
        try:
            return self.state["hosts"][name]
        except KeyError:
            raise Failure(f"site {self.prefix} has no host `{name}`") from None

    def status(self, as_json):
        rows = []
        if self.directory.exists():
            with self.locked():
                rows = [self._row(name) for name in self.state["hosts"]]
        if as_json:
            print(json.dumps(rows, indent=1))
        elif not rows:
            print(f"site {self.prefix} is down")
        else:
            for row in rows:
                what = "gateway" if row["name"] == "gw" else "running" if row["running"] else "silent"
                print(f"{row['name']:<9}{row['ip']:<13}{row['mac']:<19}{what}")

    def _row(self, name):
        host = self.state["hosts"][name]
        running = bool(host["processes"]) and all(netns.alive(p) for p in host["processes"])
        return {"name": name, "ip": host["ip"], "mac": host["mac"], "netns": self.namespace(name), "running": running}

    def execute(self, name, command):
        if not command:
            raise Failure("which command? lan exec NAME COMMAND..")
        namespace = self.namespace(name)
        if namespace not in netns.existing():
            raise Failure(f"site {self.prefix} has no host `{name}`; it is up after `lan up`")
        os.execvp("ip", ["ip", "netns", "exec", namespace, *command])


def _peer(name):
    """A program of `tests/peers`, built once."""
    program = PEERS_DIR / "debug" / name
    if not program.exists():
        print("lan: building the peers, which takes some minutes", file=sys.stderr)
        manifest = REPOSITORY / "tests" / "peers" / "Cargo.toml"
        subprocess.run(["cargo", "build", "--quiet", "--locked", "--manifest-path", str(manifest), "--target-dir", str(PEERS_DIR)], check=True)
    return str(program)


@contextlib.contextmanager
def _lock(path):
    """Holds the lock file; one that `down` unlinked meanwhile does not count."""
    while True:
        with open(path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                yield
                return


def _address(url):
    """`(ip, port, scheme)` of a stream."""
    parts = urllib.parse.urlsplit(url)
    return (parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme], parts.scheme)


def _devices(text):
    """`hik,motion` -> those names, and the devices that feed them, in the site's order. `all`: every one; empty: those
    that speak no ONVIF."""
    plain = {name for name, device in DEVICES.items() if "onvif" not in device}
    names = set(DEVICES) if text == "all" else set(text.split(",")) if text else plain
    if unknown := names - set(DEVICES):
        raise Failure(f"no device `{sorted(unknown)[0]}`; there are {', '.join(DEVICES)}")
    names |= {DEVICES[n]["fed_by"] for n in names if "fed_by" in DEVICES[n]}
    return [n for n in DEVICES if n in names]


def _print_tour(site, names):
    for name in names:
        device = DEVICES[name]
        login = device["login"]
        what = device["streams"][0]["url"] if device["streams"] else device["onvif"]["fault"]
        print(f"{name:<9}{device['ip']:<13}{login['username']} / {login['password']:<14}{what}")
    flag = "" if site.prefix == "ov" else f" --prefix {site.prefix}"
    print(f"\nThe gateway's side of this LAN: sudo tests/lan/lan exec{flag} gw COMMAND..")


def _arguments():
    parser = argparse.ArgumentParser(prog="lan", description="A camera site in network namespaces (`lan install` fetches the servers).")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name, text):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--prefix", default="ov", help="which site (default ov)")
        return command

    up = add("up", "bring the site up; does nothing where it is up")
    up.add_argument("--devices", default="all", help="comma separated; default all, empty: those without ONVIF")
    up.add_argument("--quiet", action="store_true")
    add("down", "take the site down").add_argument("--all", action="store_true", help="every site under $OHMVISION_LAN_DIR")
    add("status", "who is there").add_argument("--json", action="store_true")
    run = add("exec", "run a command inside a host's namespace (gw: the gateway)")
    run.add_argument("name")
    run.add_argument("args", nargs=argparse.REMAINDER)
    host = add("host", "add a bare host to the LAN")
    host.add_argument("name")
    host.add_argument("--ip")
    add("stop", "kill a device's servers: connections are refused").add_argument("name")
    add("start", "start a stopped device again").add_argument("name")
    add("unplug", "take a host's link down: connections time out").add_argument("name")
    add("plug", "bring the link back").add_argument("name")
    impair = add("impair", "faults on what reaches a host")
    impair.add_argument("name")
    impair.add_argument("fault", choices=["none", "drop", "reset", "loss"])
    impair.add_argument("percent", nargs="?", type=int, default=30)
    return parser.parse_args()


def _run(arguments):
    site = Site(arguments.prefix)
    match arguments.command:
        case "up":
            names = _devices(arguments.devices)
            site.up(names)
            if not arguments.quiet:
                _print_tour(site, names)
        case "down" if arguments.all:
            for state in LAN_DIR.glob("*/state.json"):
                Site(state.parent.name).down()
        case "down":
            site.down()
        case "status":
            site.status(arguments.json)
        case "exec":
            site.execute(arguments.name, arguments.args)
        case "host":
            site.host(arguments.name, arguments.ip)
        case "stop":
            site.stop([arguments.name])
        case "start":
            if arguments.name not in DEVICES:
                raise Failure(f"`{arguments.name}` is no device of the site")
            with site.locked():
                site.known(arguments.name)
                site.start([arguments.name])
        case "unplug" | "plug":
            site.plug(arguments.name, "up" if arguments.command == "plug" else "down")
        case "impair":
            site.impair(arguments.name, arguments.fault, arguments.percent)


def main():
    arguments = _arguments()
    if os.geteuid() != 0:
        sys.exit("lan: network namespaces need root; run it with sudo")
    if not shutil.which("ip"):
        sys.exit("lan: `ip` is missing; run: tests/lan/lan install")
    try:
        _run(arguments)
    except (Failure, RuntimeError) as error:
        sys.exit(f"lan: {error}")
    except FileNotFoundError as error:
        sys.exit(f"lan: {error.filename} is missing; run: tests/lan/lan install")
    except subprocess.CalledProcessError as error:
        detail = (error.stderr or b"").decode() if isinstance(error.stderr, bytes) else error.stderr or ""
        sys.exit(f"lan: {error.cmd[0]} failed with {error.returncode}. {detail.strip()[-400:]}")


main()
