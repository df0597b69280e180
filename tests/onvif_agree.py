"""`onvif_agree.py PROGRAM SITE_JSON DEVICE..`: two ONVIF clients look at the same devices. Exit 1 where they disagree."""

import asyncio
import json
import os
import subprocess
import sys

import onvif
from onvif import ONVIFCamera

WSDL = os.path.join(os.path.dirname(onvif.__file__), "wsdl")
ANSWER_S_MAX = 30


async def nodes(camera):
    """Does the device tell of motors at all?"""
    try:
        return bool(await (await camera.create_ptz_service()).GetNodes())
    except onvif.ONVIFError:
        return False


async def theirs(device):
    """What onvif-zeep-async reads."""
    login = device["login"]
    camera = ONVIFCamera(device["ip"], device["onvif"]["port"], login["username"], login["password"], wsdl_dir=WSDL, adjust_time=True)
    try:
        await camera.update_xaddrs()
        management = await camera.create_devicemgmt_service()
        information = await management.GetDeviceInformation()
        media = await camera.create_media_service()
        found = await media.GetProfiles()
        # Ours reads one channel: the first video source.
        source = found[0].VideoSourceConfiguration.SourceToken
        profiles, moves = {}, False
        has_motors = await nodes(camera)
        for profile in found:
            if profile.VideoSourceConfiguration.SourceToken != source:
                continue
            size = profile.VideoEncoderConfiguration.Resolution
            profiles[profile.token] = f"{size.Width}x{size.Height}"
            moves = moves or (has_motors and profile.PTZConfiguration is not None)
        return {
            "manufacturer": information.Manufacturer,
            "model": information.Model,
            "firmware_version": information.FirmwareVersion,
            "serial_number": information.SerialNumber,
            "profiles": profiles,
            "moves": moves,
        }
    finally:
        await camera.close()


def ours(program, device):
    """What our prober reads."""
    login = device["login"]
    url = f"onvif://{device['ip']}:{device['onvif']['port']}"
    done = subprocess.run(
        [program, "probe", url, "-u", login["username"], "--json"],
        env={**os.environ, "OHMVISION_PASSWORD": login["password"]},
        capture_output=True, text=True, timeout=ANSWER_S_MAX,
    )
    told = json.loads(done.stdout)["onvif"]
    seen = {name: told[name] for name in ("manufacturer", "model", "firmware_version", "serial_number")}
    return {**seen, "moves": told["ptz"] is not None, "profiles": {p["token"]: p["resolution"] for p in told["profiles"]}}


async def main():
    program, site, *names = sys.argv[1:]
    with open(site) as file:
        devices = {d["name"]: d for d in json.load(file)["devices"]}
    agreed = True
    for name in names:
        other = await asyncio.wait_for(theirs(devices[name]), ANSWER_S_MAX)
        own = ours(program, devices[name])
        for field in other:
            if other[field] != own[field]:
                agreed = False
                print(f"{name}: {field}: onvif-zeep-async says {other[field]!r}, we say {own[field]!r}")
        print(f"{name}: {own['manufacturer']} {own['model']}, {len(own['profiles'])} profiles, {'moves' if own['moves'] else 'fixed'}")
    sys.exit(0 if agreed else 1)


asyncio.run(main())
