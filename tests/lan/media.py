"""Clips that the cameras play, made once by ffmpeg.

A clip is a folder with one file per frame, ten seconds long; the cameras repeat it for ever. Its name
is its truth (`h264-1280x720-25`), and ffprobe confirms it before the clip is used.
"""

import fcntl
import json
import os
import pathlib
import shutil
import subprocess

SECONDS = 10
_ENCODERS = {
    "h264": ("h264", ["-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main", "-bf", "0", "-pix_fmt", "yuv420p"]),
    "h265": ("hevc", ["-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]),
    "mjpeg": ("mjpeg", ["-c:v", "mjpeg", "-q:v", "6", "-pix_fmt", "yuvj420p"]),
}
_FFMPEG = ["ffmpeg", "-v", "error", "-nostdin", "-y"]


def clip_name(expected):
    """`{codec,width,height,fps}` -> the clip's folder name."""
    return "{codec}-{width}x{height}-{fps}".format(**expected)


def still_name(expected):
    """`{width,height}` -> the file name of a single picture."""
    return "still-{width}x{height}.jpg".format(**expected)


def ensure(directory, clips, stills):
    """Makes what is missing of `clips` and `stills` (lists of `expected` objects). Safe to call from many processes."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for expected in clips:
            if not (directory / clip_name(expected)).is_dir():
                _make_clip(directory, expected)
        for expected in stills:
            if not (directory / still_name(expected)).is_file():
                _make_still(directory, expected)


def _source(expected):
    return ["-f", "lavfi", "-i", "testsrc2=s={}x{}:r={}".format(expected["width"], expected["height"], expected.get("fps", 1))]


def _make_clip(directory, expected):
    codec, fps = expected["codec"], expected["fps"]
    probe_name, encoder = _ENCODERS[codec]
    if codec == "h264":
        encoder = encoder + ["-g", str(2 * fps), "-b:v", _rate(expected)]
    if codec == "h265":
        encoder = encoder + ["-x265-params", f"log-level=none:bframes=0:keyint={2 * fps}:min-keyint={2 * fps}", "-b:v", _rate(expected)]
    work = directory / (clip_name(expected) + ".part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    if codec == "mjpeg":
        subprocess.run(_FFMPEG + _source(expected) + ["-t", str(SECONDS)] + encoder + ["-f", "image2", str(work / "%04d.mjpeg")], check=True)
        whole = work / "0001.mjpeg"
    else:
        whole = directory / (clip_name(expected) + "." + codec)
        container = "hevc" if codec == "h265" else codec
        subprocess.run(_FFMPEG + _source(expected) + ["-t", str(SECONDS)] + encoder + ["-f", container, str(whole)], check=True)
        subprocess.run(_FFMPEG + ["-r", str(fps), "-i", str(whole), "-c", "copy", "-f", "image2", str(work / f"%04d.{codec}")], check=True)
    _confirm(whole, probe_name, expected)
    if codec != "mjpeg":
        whole.unlink()
    frames = len(list(work.iterdir()))
    if frames != SECONDS * fps:
        raise RuntimeError(f"{clip_name(expected)}: {frames} frames were made, not {SECONDS * fps}")
    os.replace(work, directory / clip_name(expected))


def _make_still(directory, expected):
    part = directory / ("part-" + still_name(expected))
    subprocess.run(_FFMPEG + _source(expected) + ["-frames:v", "1"] + _ENCODERS["mjpeg"][1] + ["-f", "image2", "-update", "1", str(part)], check=True)
    _confirm(part, "mjpeg", expected)
    os.replace(part, directory / still_name(expected))


def _confirm(path, codec, expected):
    answer = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "json", str(path)],
        check=True, capture_output=True, text=True,
    ).stdout
    stream = json.loads(answer)["streams"][0]
    made = (stream["codec_name"], stream["width"], stream["height"])
    if made != (codec, expected["width"], expected["height"]):
        raise RuntimeError(f"{path.name}: ffprobe reads {made}")


def _rate(expected):
    """Bits per second: lean, since many cameras share a small test machine."""
    return str(max(60_000, expected["width"] * expected["height"] * expected["fps"] // 28))
