#!/usr/bin/env python3
"""feed.py DEVICE FORMAT WIDTH HEIGHT RATE CLIP: gives a v4l2loopback device the pictures of CLIP, RATE a second, over and
over. CLIP is a raw stream whose pictures all begin as its first one does: JPEG, or NAL units with access unit delimiters.
"""

import fcntl
import itertools
import struct
import sys
import time

# videodev2.h on 64-bit systems.
VIDIOC_QUERYCAP = 0x80685600
VIDIOC_STREAMON = 0x40045612
VIDIOC_S_FMT = 0xC0D05605
VIDIOC_S_PARM = 0xC0CC5616
OUTPUT = 2
FIELD_NONE = 1


def pictures(clip):
    begin = clip[:3] if clip.startswith(b"\xff\xd8\xff") else clip[:5]
    return [begin + rest for rest in clip.split(begin)[1:]]


def main():
    device, fourcc, width, height, rate, path = sys.argv[1:]
    with open(path, "rb") as file:
        film = pictures(file.read())
    with open(device, "wb", buffering=0) as node:
        # The device decides what it is only where somebody asks.
        fcntl.ioctl(node, VIDIOC_QUERYCAP, bytes(104))
        pix = struct.pack("=II4sI", int(width), int(height), fourcc.encode("ascii"), FIELD_NONE)
        fcntl.ioctl(node, VIDIOC_S_FMT, (struct.pack("=I4x", OUTPUT) + pix).ljust(208, b"\0"))
        parm = struct.pack("=IIIII", OUTPUT, 0, 0, 1, int(rate))
        fcntl.ioctl(node, VIDIOC_S_PARM, parm.ljust(204, b"\0"))
        # It notices the end of its feeder only where that one streams.
        fcntl.ioctl(node, VIDIOC_STREAMON, struct.pack("=I", OUTPUT))
        due = time.monotonic()
        for picture in itertools.cycle(film):
            node.write(picture)
            due += 1 / int(rate)
            time.sleep(max(0, due - time.monotonic()))


if __name__ == "__main__":
    main()
