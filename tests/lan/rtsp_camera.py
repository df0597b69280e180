"""One RTSP camera on GStreamer's own server: `rtsp_camera.py DEVICE_JSON MEDIA_DIR [PEM]`.

Paths, login and clips come from the device's entry in site.json. Listens on every address of its namespace,
IPv4 and IPv6.
"""

import json
import pathlib
import sys
import urllib.parse

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

import media  # noqa: E402

_CAPS = {
    "h264": ("video/x-h264,stream-format=byte-stream,alignment=au", "h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"),
    "h265": ("video/x-h265,stream-format=byte-stream,alignment=au", "h265parse ! rtph265pay name=pay0 pt=96 config-interval=-1"),
    "mjpeg": ("image/jpeg", "jpegparse ! rtpjpegpay name=pay0 pt=26"),
}
_AUDIO = {"pcma": "audiotestsrc wave=ticks ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8"}
_ROLE = "viewer"


class Clip:
    """Feeds the frames of a clip into a pipeline, over and over, with time stamps that never turn back."""

    def __init__(self, directory, expected):
        files = sorted((pathlib.Path(directory) / media.clip_name(expected)).iterdir())
        self.frames = [f.read_bytes() for f in files]
        self.fps = expected["fps"]
        caps, pay = _CAPS[expected["codec"]]
        audio = _AUDIO.get(expected.get("audio"), "")
        self.launch = f'( appsrc name=clip format=time max-bytes=200000 caps="{caps},framerate={self.fps}/1" ! {pay} {audio} )'

    def attach(self, element):
        count = 0

        def feed(source, _length):
            nonlocal count
            frame = Gst.Buffer.new_wrapped(self.frames[count % len(self.frames)])
            frame.pts = frame.dts = count * Gst.SECOND // self.fps
            frame.duration = Gst.SECOND // self.fps
            count += 1
            source.emit("push-buffer", frame)

        element.get_by_name("clip").connect("need-data", feed)


class Factory(GstRtspServer.RTSPMediaFactory):
    """One mount path. The server matches paths alone, so the stream is chosen by the query here."""

    def __init__(self, clips):
        super().__init__()
        self.clips = clips
        self.set_shared(True)

    def do_create_element(self, url):
        clip = self.clips.get(url.query or "")
        if clip is None:
            return None
        element = Gst.parse_launch(clip.launch)
        clip.attach(element)
        return element


def _auth(login, pem):
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", _ROLE)
    if login["scheme"] == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(login["username"], login["password"], token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(login["username"], login["password"]), token)
    auth.set_realm(login["realm"])
    if pem:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(pem))
    return auth


def _serve(port, streams, login, pem, media_dir):
    server = GstRtspServer.RTSPServer()
    server.set_address("::")
    server.set_service(str(port))
    server.set_auth(_auth(login, pem))
    paths = {}
    for url, stream in streams:
        paths.setdefault(url.path, {})[url.query] = Clip(media_dir, stream["expected"])
    for path, clips in paths.items():
        factory = Factory(clips)
        permissions = GstRtspServer.RTSPPermissions()
        for right in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role(_ROLE, right, True)
        factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on port {port}")
    return server


def main():
    device, media_dir = json.loads(sys.argv[1]), sys.argv[2]
    pem = sys.argv[3] if len(sys.argv) > 3 else None
    Gst.init(None)
    ports = {}
    for stream in device["streams"]:
        url = urllib.parse.urlsplit(stream["url"])
        ports.setdefault((url.port, url.scheme == "rtsps"), []).append((url, stream))
    servers = [
        _serve(port, streams, device["login"], pem if tls else None, media_dir) for (port, tls), streams in ports.items()
    ]
    print("ready", len(servers), flush=True)
    GLib.MainLoop().run()


main()
