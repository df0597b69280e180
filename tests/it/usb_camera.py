#!/usr/bin/python3
"""A webcam that is plugged in and out, for programs that run with the same $UMOCKDEV_DIR and the preloaded library of
umockdev: sysfs, nodes, udev's links and V4L2 calls as uvcvideo answers them. It has no pictures.

umockdev-wrapper usb_camera.py     prints the $UMOCKDEV_DIR, then reads commands, one a line, and prints `ok` behind each:
    plug / unplug                  all nodes come or go
    take / free                    another program takes pictures, or ends it
"""

import errno
import pathlib
import struct
import sys
import threading

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import GLib, UMockdev  # noqa: E402

BY_ID = "usb-046d_HD_Pro_Webcam_C920_2D3C6A1F-video-index0"
USB = """P: /devices/pci0000:00/0000:00:14.0/usb1/1-2
E: SUBSYSTEM=usb
E: DEVTYPE=usb_device
A: idVendor=046d
A: idProduct=082d
A: product=HD Pro Webcam C920
A: serial=2D3C6A1F

P: /devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0
E: SUBSYSTEM=usb
E: DEVTYPE=usb_interface
"""
NODE = """
P: /devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/video4linux/video{number}
N: video{number}
E: DEVNAME=/dev/video{number}
E: SUBSYSTEM=video4linux
A: index={index}
A: name=HD Pro Webcam C920
L: device=../../../1-2:1.0
"""
FORMATS = [(b"MJPG", 1, b"Motion-JPEG"), (b"YUYV", 0, b"YUYV 4:2:2")]
SIZES = [(640, 480), (1280, 720), (1920, 1080)]
RATES = [(1, 30), (1, 15)]
# Number of the call: size of its argument.
CALLS = {0: 104, 2: 64, 4: None, 5: None, 8: 20, 21: 204, 26: 80, 38: 4, 74: 44, 75: 52}
VIDEO_CAPTURE, STREAMING, METADATA = 1, 0x04000000, 0x00800000


def pad(text, size):
    return text + bytes(size - len(text))


class Webcam(UMockdev.IoctlBase):
    """One node: index 0 has pictures, index 1 metadata."""

    index = 0
    taken = False

    def do_handle_ioctl(self, client):
        request = client.get_request() & 0xFFFFFFFF
        size = request >> 16 & 0x3FFF
        number = request & 0xFF
        if request >> 8 & 0xFF != ord("V") or number not in CALLS or CALLS[number] not in (None, size):
            client.complete(-1, errno.ENOTTY)
            return True
        argument = client.get_arg().resolve(0, size)
        try:
            answer = self.answer(number, bytes(argument.retrieve()))
        except OSError as error:
            client.complete(-1, error.errno)
            return True
        argument.update(0, list(pad(answer, size)))
        client.complete(0, 0)
        return True

    def answer(self, number, asked):
        def word(at):
            return struct.unpack_from("I", asked, at)[0]

        def entry(items, index):
            if index >= len(items):
                raise OSError(errno.EINVAL, "no more")
            return items[index]

        if number == 0:
            node = STREAMING | (METADATA if self.index else VIDEO_CAPTURE)
            return struct.pack("16s32s32s3I", b"uvcvideo", b"HD Pro Webcam C920", b"usb-0000:00:14.0-2", 0x6011C, 0x84A00001, node)
        if self.index:
            raise OSError(errno.EINVAL, "no pictures")
        if number == 2:
            fourcc, flags, name = entry(FORMATS, word(0))
            return struct.pack("3I32s4s", word(0), word(4), flags, name, fourcc)
        if number == 74:
            width, height = entry(SIZES, word(0))
            return asked[:8] + struct.pack("3I", 1, width, height)
        if number == 75:
            over, under = entry(RATES, word(0))
            return asked[:16] + struct.pack("3I", 1, over, under)
        if number == 4:
            at = 8 if len(asked) == 208 else 4
            return pad(struct.pack("I", 1), at) + struct.pack("2I4s3I", 1280, 720, b"MJPG", 1, 0, 1843200)
        if number == 21:
            return struct.pack("5I", 1, 0x1000, 0, 1, 30)
        if number == 38:
            return struct.pack("I", 0)
        if number == 26:
            return struct.pack("I32sI", 0, b"Camera 1", 2)
        # What only the owner of the stream may do; nobody gets pictures from here.
        raise OSError(errno.EBUSY if Webcam.taken else errno.EIO, "no stream")


class Machine:
    def __init__(self):
        self.testbed = UMockdev.Testbed.new()
        self.root = pathlib.Path(self.testbed.get_root_dir())
        self.links = self.root / "dev/v4l/by-id"
        self.first = 0
        self.handlers = []

    def plug(self):
        self.testbed.add_from_string(USB + "".join(NODE.format(number=self.first + i, index=i) for i in range(2)))
        for index in range(2):
            handler = Webcam()
            handler.index = index
            self.testbed.attach_ioctl(f"/dev/video{self.first + index}", handler)
            self.handlers.append(handler)
        self.links.mkdir(parents=True, exist_ok=True)
        (self.links / BY_ID).symlink_to(f"../../video{self.first}")

    def unplug(self):
        (self.links / BY_ID).unlink()
        for index in range(2):
            node = f"video{self.first + index}"
            self.testbed.detach_ioctl(f"/dev/{node}")
            (self.root / f"dev/{node}").unlink()
        self.testbed.remove_device("/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2")
        # Links that it leaves behind.
        for link in [*self.root.glob("sys/class/video4linux/video*"), *self.root.glob("sys/bus/usb/devices/1-2*")]:
            link.unlink()
        # The next time it has other numbers.
        self.first += 2

    def take(self):
        Webcam.taken = True

    def free(self):
        Webcam.taken = False


def main():
    machine = Machine()
    loop = GLib.MainLoop()
    threading.Thread(target=loop.run, daemon=True).start()
    print(machine.root, flush=True)
    for line in sys.stdin:
        getattr(machine, line.strip())()
        print("ok", flush=True)
    loop.quit()


if __name__ == "__main__":
    main()
