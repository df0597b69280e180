"""Home Assistant as the judge of what is told over MQTT: a real one, a real broker, three cameras. Everything on loopback.

usage: home_assistant.py PATH-OF-OHMVISION

OHMVISION_HA_ROOT=DIR takes the Home Assistant in DIR/opt/ha, a root of its own (for versions that want another Python).
OHMVISION_HA_SHOT=FILE.png keeps a picture of a camera's device page, seen by Debian's chromium.
"""

import asyncio
import base64
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import aiohttp

CONFIGURATION = """\
homeassistant: {name: Site, latitude: 48.8, longitude: 2.3, elevation: 30, unit_system: metric, time_zone: Europe/Paris, country: FR}
api:
config:
logger: {default: warning}
"""
DAEMON = """\
[gateway]
name = "Roof box"
[mqtt]
url = "mqtt://127.0.0.1:%d"
[security]
allowed_networks = ["loopback"]
[health]
interval_s = 15
[reconnect]
first_delay_s = 2
"""
NAMES = ["Entrée Principale", "Yard", "Gate"]
# Home Assistant clears the topic of a device that was removed, hears its own message, and finds nothing more to remove.
KNOWN = "No device components to cleanup"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Site:
    def __init__(self, program, folder):
        self.program, self.folder = program, pathlib.Path(folder)
        self.running = {}
        self.broker, self.web, self.api_port = free_port(), free_port(), free_port()
        self.cameras = {name: free_port() for name in NAMES}
        (self.folder / "mosquitto.conf").write_text(f"listener {self.broker} 127.0.0.1\nallow_anonymous true\nuser root\n")
        (self.folder / "ohmvision.toml").write_text(DAEMON % self.broker)
        storage = self.folder / "ha/.storage"
        storage.mkdir(parents=True)
        self.root = os.environ.get("OHMVISION_HA_ROOT")
        (self.folder / "ha/configuration.yaml").write_text(CONFIGURATION + self.listen(storage))
        # These steps would look things up on the internet.
        done = {"version": 4, "minor_version": 1, "key": "onboarding", "data": {"done": ["core_config", "analytics", "integration"]}}
        (storage / "onboarding").write_text(json.dumps(done))

    def listen(self, storage):
        """Since 2026 the address is kept in the storage, and one in the file is on trial."""
        if not self.root:
            return f"http: {{server_host: 127.0.0.1, server_port: {self.web}}}\n"
        stable = {"server_port": self.web, "server_host": ["127.0.0.1"], "cors_allowed_origins": [], "login_attempts_threshold": -1,
                  "ip_ban_enabled": True, "ssl_profile": "intermediate_v6", "use_x_frame_options": True,
                  "created_at": "2026-01-01T00:00:00+00:00", "error": None, "error_message": None}
        data = {"stable": stable, "pending": None, "yaml_migration_done": True}
        (storage / "http").write_text(json.dumps({"version": 3, "minor_version": 1, "key": "http", "data": data}))
        return ""

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "ab")
        self.running[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def stop(self, name, how=signal.SIGTERM):
        process = self.running.pop(name)
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_broker(self):
        self.start("broker", "mosquitto", "-c", str(self.folder / "mosquitto.conf"))

    def start_camera(self, name):
        self.start(name, "ustreamer", "-d", "/dev/none", "--host", "127.0.0.1", "-p", str(self.cameras[name]))

    def start_daemon(self):
        self.start("ohmvision", self.program, "run", "--listen", f"127.0.0.1:{self.api_port}", "--state-dir",
                   str(self.folder / "state"), "--config", str(self.folder / "ohmvision.toml"))

    def start_home_assistant(self):
        if self.root:
            inside = pathlib.Path(self.root, "config")
            inside.mkdir(exist_ok=True)
            if not os.path.ismount(inside):
                subprocess.run(["mount", "--bind", str(self.folder / "ha"), str(inside)], check=True)
            self.start("hass", "chroot", self.root, "/opt/ha/bin/hass", "-c", "/config", "--skip-pip")
            return
        hass = pathlib.Path(sys.executable).with_name("hass")
        self.start("hass", str(hass), "-c", str(self.folder / "ha"), "--skip-pip")

    def down(self):
        for name in list(self.running):
            self.stop(name, signal.SIGKILL)
        if self.root:
            subprocess.run(["umount", str(pathlib.Path(self.root, "config"))], stderr=subprocess.DEVNULL, check=False)


class Judge:
    def __init__(self, site, http):
        self.site, self.http, self.token = site, http, None
        self.failed = 0

    async def ohmvision(self, method, path, body=None):
        token = (self.site.folder / "state/admin.token").read_text().strip()
        return await self.ask(f"http://127.0.0.1:{self.site.api_port}{path}", method, token, json=body)

    async def hass(self, method, path, token=None, **body):
        return await self.ask(f"http://127.0.0.1:{self.site.web}{path}", method, token or self.token, **body)

    async def ask(self, url, method, token, **body):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.request(method, url, headers=headers, **body) as answer:
            text = await answer.text()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {url}: {answer.status} {text[:200]}")
            return json.loads(text) if text else None

    async def wait(self, what, seconds, condition):
        """A line for each thing that must come to hold."""
        end, last = time.monotonic() + seconds, None
        while time.monotonic() < end:
            try:
                if await condition():
                    print(f"ok   {what}")
                    return
            except (aiohttp.ClientError, OSError, RuntimeError, KeyError) as error:
                last = error
            await asyncio.sleep(0.5)
        self.failed += 1
        print(f"FAIL {what} ({last})")

    async def onboard(self):
        client = f"http://127.0.0.1:{self.site.web}/"
        user = {"client_id": client, "name": "T", "username": "t", "password": "tt-tt-tt", "language": "en"}
        code = (await self.hass("POST", "/api/onboarding/users", json=user))["auth_code"]
        grant = {"client_id": client, "grant_type": "authorization_code", "code": code}
        self.token = (await self.hass("POST", "/auth/token", data=grant))["access_token"]
        flow = await self.hass("POST", "/api/config/config_entries/flow", json={"handler": "mqtt"})
        entry = {"broker": "127.0.0.1", "port": self.site.broker}
        asked = [field["name"] for field in flow.get("data_schema") or []]
        if "protocol" in asked:
            entry["protocol"] = "5"
        if "other_settings" in asked:
            entry["other_settings"] = {"set_client_cert": False, "set_ca_cert": "off"}
        done = await self.hass("POST", f"/api/config/config_entries/flow/{flow['flow_id']}", json=entry)
        return done["type"] == "create_entry"

    async def version(self):
        return (await self.hass("GET", "/api/config"))["version"]

    async def over_websocket(self, kind):
        async with self.http.ws_connect(f"http://127.0.0.1:{self.site.web}/api/websocket") as ws:
            await ws.receive_json()
            await ws.send_json({"type": "auth", "access_token": self.token})
            await ws.receive_json()
            await ws.send_json({"id": 1, "type": kind})
            return (await ws.receive_json())["result"]

    async def device(self, name):
        devices = await self.over_websocket("config/device_registry/list")
        return next((d for d in devices if d["name"] == name), None)

    async def entities(self, name):
        """{last part of the unique id: state} of the device with this name."""
        device = await self.device(name)
        registry = await self.over_websocket("config/entity_registry/list")
        states = {s["entity_id"]: s for s in await self.hass("GET", "/api/states")}
        own = [e for e in registry if device and e["device_id"] == device["id"]]
        return {e["entity_id"]: states.get(e["entity_id"]) for e in own}

    async def entity(self, name, ending):
        """By the last part of its id; the connectivity bears the device's own name."""
        entities = await self.entities(name)
        is_it = lambda e, s: e.endswith(ending) or f"_{s['attributes'].get('device_class')}" == ending  # noqa: E731
        found = [s for e, s in entities.items() if s and is_it(e, s)]
        if not found:
            raise KeyError(f"{name} has no {ending}: {list(entities)}")
        return found[0]

    async def states_are(self, ending, wanted, names):
        return [(await self.entity(name, ending))["state"] for name in names] == [wanted] * len(names)

    async def all_unavailable(self):
        left = []
        for name in [*NAMES[:2], "Roof box"]:
            states = [s for s in (await self.entities(name)).values() if s]
            # That the gateway is not there is what its connectivity is for.
            gone = lambda s: s["state"] == "unavailable" or (name == "Roof box" and s["state"] == "off")  # noqa: E731
            left += [f"{s['entity_id']} is {s['state']}" for s in states if not gone(s)]
        if left:
            raise KeyError(", ".join(left))
        return True

    async def service(self, domain, service, entity):
        await self.hass("POST", f"/api/services/{domain}/{service}", json={"entity_id": entity})


async def judge(site, http):
    j = Judge(site, http)
    site.start_broker()
    for name in NAMES:
        site.start_camera(name)
    site.start_daemon()
    await j.wait("the daemon answers", 30, lambda: j.ohmvision("GET", "/readyz"))
    ids = {}
    for name, port in site.cameras.items():
        body = {"name": name, "primary_stream_url": f"http://127.0.0.1:{port}/stream", "mac_address": f"44:19:b6:00:00:{len(ids):02x}"}
        ids[name] = (await j.ohmvision("POST", "/api/cameras", body))["id"]
    site.start_home_assistant()

    async def has_users():
        return any(not step["done"] for step in await j.hass("GET", "/api/onboarding"))

    await j.wait("Home Assistant answers", 120, has_users)
    await j.wait("the broker is entered by its form", 60, j.onboard)
    await j.wait("every camera is connected", 60, lambda: j.states_are("_connectivity", "on", NAMES))
    gateway = await j.device("Roof box")
    cameras = [await j.device(name) for name in NAMES]
    await j.wait("cameras are devices behind the gateway", 1, true(all(d and d["via_device_id"] == gateway["id"] for d in cameras)))
    await j.wait("by their MAC", 1, true(["mac", "44:19:b6:00:00:00"] in cameras[0]["connections"]))
    print(f"     Home Assistant {await j.version()}")
    if shot := os.environ.get("OHMVISION_HA_SHOT"):
        await picture(j, f"/config/devices/device/{cameras[0]['id']}", shot)
    time_entity = await j.entity("Yard", "_response_time")
    await j.wait("units are right", 1, true(time_entity["attributes"].get("unit_of_measurement") == "ms"))

    site.stop("Yard", signal.SIGKILL)
    await j.wait("a dead camera is disconnected", 60, lambda: j.states_are("_connectivity", "off", ["Yard"]))
    health = (await j.entity("Yard", "_health"))["state"]
    await j.wait(f"its health stays readable ({health})", 1, true(health not in ("unavailable", "unknown")))
    site.start_camera("Yard")
    await j.wait("it is back", 90, lambda: j.states_are("_connectivity", "on", ["Yard"]))

    async def checked():
        return (await j.ohmvision("GET", f"/api/health/cameras/{ids['Gate']}"))["last_health_check"]

    before = await checked()

    async def is_newer():
        return await checked() != before

    # Right behind a check of its own: the next one is far away.
    await j.wait("checks go on", 40, is_newer)
    before = await checked()
    await j.service("button", "press", (await j.entity("Gate", "_check_now"))["entity_id"])
    await j.wait("the button checks", 6, is_newer)
    switch = (await j.entity("Gate", "_monitoring"))["entity_id"]

    async def enabled():
        return (await j.ohmvision("GET", f"/api/cameras/{ids['Gate']}"))["enabled"]

    async def disabled():
        return not await enabled()

    await j.service("switch", "turn_off", switch)
    await j.wait("the switch pauses", 10, disabled)
    await j.service("switch", "turn_on", switch)
    await j.wait("and goes on", 10, enabled)

    await j.ohmvision("PATCH", f"/api/cameras/{ids['Gate']}", {"name": "North gate"})

    async def is_renamed():
        return await j.device("North gate") and not await j.device("Gate")

    async def is_gone():
        return not await j.device("North gate")

    await j.wait("a new name is the device's", 20, is_renamed)
    await j.ohmvision("DELETE", f"/api/cameras/{ids['Gate']}")
    await j.wait("a deleted camera leaves no device", 20, is_gone)

    site.stop("ohmvision", signal.SIGKILL)
    await j.wait("the will makes everything unavailable", 60, j.all_unavailable)
    site.start_daemon()
    await j.wait("the daemon again: as before", 60, lambda: j.states_are("_connectivity", "on", NAMES[:2]))
    site.stop("broker")
    site.start_broker()
    await j.wait("the broker again: as before", 120, lambda: j.states_are("_connectivity", "on", NAMES[:2]))
    site.stop("hass")
    site.start_home_assistant()
    await j.wait("Home Assistant again: as before", 120, lambda: j.states_are("_connectivity", "on", NAMES[:2]))
    said = (site.folder / "hass.log").read_text(errors="replace")
    bad = [line for line in said.splitlines() if re.search("WARNING|ERROR", line) and "mqtt" in line and KNOWN not in line]
    # The broker was taken away on purpose.
    bad = [line for line in bad if "mqtt.client" not in line]
    await j.wait("Home Assistant has nothing to say against it", 1, true(not bad))
    print("\n".join(bad[:10]))
    return j.failed


async def picture(j, path, file):
    """A page as chromium shows it."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--window-size=1280,900", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
    base, port = f"http://127.0.0.1:{j.site.web}", free_port()
    j.site.start("chromium", "chromium", *flags, f"--remote-debugging-port={port}", "--remote-allow-origins=*",
                 f"--user-data-dir={j.site.folder / 'chromium'}", "about:blank")
    tokens = {"access_token": j.token, "token_type": "Bearer", "refresh_token": "x", "expires_in": 1800, "hassUrl": base,
              "clientId": f"{base}/", "expires": int(time.time() + 1800) * 1000}
    script = f"localStorage.setItem('hassTokens', JSON.stringify({json.dumps(tokens)})); localStorage.setItem('selectedLanguage', '\"en\"');"
    pages = []
    for _ in range(100):
        try:
            async with j.http.get(f"http://127.0.0.1:{port}/json") as answer:
                pages = [p for p in await answer.json(content_type=None) if p["type"] == "page"]
        except aiohttp.ClientError:
            pass
        if pages:
            break
        await asyncio.sleep(0.2)
    async with j.http.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as page:
        async def ask(number, method, **params):
            await page.send_json({"id": number, "method": method, "params": params})
            while (answer := await page.receive_json()).get("id") != number:
                pass
            return answer["result"]

        await ask(1, "Page.enable")
        await ask(2, "Page.addScriptToEvaluateOnNewDocument", source=script)
        await ask(3, "Page.navigate", url=base + path)
        # The page is put together from many parts, none of which tells that it is the last.
        await asyncio.sleep(15)
        shown = await ask(4, "Page.captureScreenshot", format="png")
    pathlib.Path(file).write_bytes(base64.b64decode(shown["data"]))
    j.site.stop("chromium")


def true(value):
    async def condition():
        return value

    return condition


async def main():
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        site = Site(str(pathlib.Path(sys.argv[1]).resolve()), folder)
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as http:
                failed = await judge(site, http)
        finally:
            site.down()
            if os.environ.get("KEEP"):
                subprocess.run(["cp", "-r", folder, os.environ["KEEP"]], check=False)
    sys.exit(1 if failed else 0)


asyncio.run(main())
