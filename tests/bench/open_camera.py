"""An RTSP camera on loopback without a login, for the benchmarks: `open_camera.py PORT MEDIA_DIR`. /open, and /4k."""

import pathlib
import sys

import gi

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lan"))
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

import media  # noqa: E402

CLIPS = {
    "/open": {"codec": "h264", "width": 1280, "height": 720, "fps": 25},
    "/4k": {"codec": "h264", "width": 3840, "height": 2160, "fps": 15},
}
LAUNCH = (
    '( appsrc name=clip format=time max-bytes=200000 caps="video/x-h264,stream-format=byte-stream,alignment=au,framerate={fps}/1"'
    " ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


class Factory(GstRtspServer.RTSPMediaFactory):
    """A stream of its own for each session, so that each begins with a key frame."""

    def __init__(self, frames, fps):
        super().__init__()
        self.frames, self.fps = frames, fps

    def do_create_element(self, _url):
        element = Gst.parse_launch(LAUNCH.format(fps=self.fps))
        count = 0

        def feed(source, _length):
            nonlocal count
            frame = Gst.Buffer.new_wrapped(self.frames[count % len(self.frames)])
            frame.pts = frame.dts = count * Gst.SECOND // self.fps
            count += 1
            source.emit("push-buffer", frame)

        element.get_by_name("clip").connect("need-data", feed)
        return element


def main():
    port, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    media.ensure(directory, list(CLIPS.values()), [])
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    for path, clip in CLIPS.items():
        frames = [file.read_bytes() for file in sorted((directory / media.clip_name(clip)).iterdir())]
        server.get_mount_points().add_factory(path, Factory(frames, clip["fps"]))
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on port {port}")
    print("ready", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
