"""Cameras that answer the searches of discovery and nothing else: each protocol from an address of its own.

usage: searched.py vendors FIRST_ADDRESS      one camera for each protocol, addresses counted up
       searched.py onvif FIRST_ADDRESS COUNT  so many cameras that answer the first Probe, all at once, and no other
       searched.py copies FIRST_ADDRESS COUNT so many that wrongly carry the same endpoint reference
       searched.py onvif6 ADDRESS             one that has IPv6 alone
       searched.py greet FIRST_ADDRESS        one that says Hello and Bye, again and again

The addresses must be on this namespace's interface. Prints `ready` when it listens."""

import ipaddress
import json
import selectors
import socket
import struct
import sys
import time
import zlib


def mac(number):
    return bytes([0x02, 0x77, 0x00, 0x00, 0x01, number])


def colons(value, between=":"):
    return between.join(f"{b:02x}" for b in value)


class Camera:
    """What every answer says."""

    def __init__(self, number, ip):
        self.number, self.ip, self.mac = number, str(ip), mac(number % 256)
        self.ip_bytes = ip.packed
        self.model, self.serial, self.name = f"M-{number}", f"SN00A{number:04}", f"cam{number}"


def field(size, text):
    return text.encode().ljust(size, b"\0")


def sadp(c, _):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ProbeMatch><Uuid>1</Uuid><Types>inquiry</Types><DeviceDescription>{c.model}</DeviceDescription>'
        f"<DeviceSN>{c.serial}</DeviceSN><MAC>{colons(c.mac, '-')}</MAC><IPv4Address>{c.ip}</IPv4Address><SoftwareVersion>V5.1</SoftwareVersion>"
        "<HttpPort>80</HttpPort><Activated>true</Activated></ProbeMatch>"
    ).encode()


def dhip(c, _):
    body = json.dumps({
        "mac": colons(c.mac), "method": "client.notifyDevInfo",
        "params": {"deviceInfo": {"DeviceType": c.model, "SerialNo": c.serial, "Version": "2.8", "Vendor": "General", "MachineName": c.name,
                                  "IPv4Address": {"IPAddress": c.ip}, "HttpPort": 80}},
    }).encode() + b"\n\0"
    return struct.pack("<I4s8xIIII", 32, b"DHIP", len(body), 0, len(body), 0) + body


def dahua_v1(c, _):
    second = (colons(c.mac) + c.model).encode()
    third = f"SerialNo:{c.serial}\r\nName:{c.name}\r\n".encode()
    out = bytearray(0x78)
    out[0], out[2] = 0xB3, len(second)
    struct.pack_into("<H", out, 0x14, len(third))
    out[0x38:0x3C] = c.ip_bytes
    return bytes(out) + second + third


def sunapi(c, query):
    if query[0] != 6:
        return None
    out = bytearray(334)
    out[0] = 0x0C
    out[0x13:0x25] = field(18, colons(c.mac))
    out[0x25:0x35] = field(16, c.ip)
    out[0x6D:0x77] = field(10, c.model)
    out[0x85:] = field(334 - 0x85, f"http://{c.ip}:80/")
    return bytes(out)


def ubnt(c, query):
    def tlv(kind, value):
        return struct.pack(">BH", kind, len(value)) + value
    body = tlv(2, c.mac + c.ip_bytes) + tlv(3, b"UVC.v4.1") + tlv(0x0B, c.name.encode()) + tlv(0x0C, b"UVC G3")
    return struct.pack(">BBH", 1, 0, len(body)) + body if query[0] == 1 else None


def tdp(c, query):
    # Newer cameras are silent without a key.
    if b"BEGIN PUBLIC KEY" not in query:
        return None
    sent = struct.unpack(">I", query[12:16])[0]
    if zlib.crc32(query[:12] + bytes.fromhex("5a6b7c8d") + query[16:]) != sent:
        return None
    body = json.dumps({"result": {"device_id": "d" * 8, "device_model": "C200(EU)", "device_type": "SMART.IPCAMERA", "mac": colons(c.mac, "-"),
                                  "ip": c.ip, "firmware_version": "1.3", "mgt_encrypt_schm": {"http_port": 443}}}).encode()
    return struct.pack(">BBHHBBII", 2, 0, 1, len(body), 0x11, 0, 1, 0) + body


def kasa(c, _):
    key, out = 171, bytearray()
    for byte in json.dumps({"system": {"get_sysinfo": {"model": "KC100(EU)", "alias": c.name, "type": "IOT.IPCAMERA", "mac": colons(c.mac)}}}).encode():
        key ^= byte
        out.append(key)
    return bytes(out)


def xm(c, query):
    if query[14:16] != b"\xfa\x05":
        return None
    body = json.dumps({"NetWork.NetCommon": {"HostIP": f"0x{int.from_bytes(c.ip_bytes, 'little'):08X}", "MAC": colons(c.mac), "SN": c.serial,
                                             "HostName": c.name, "HttpPort": 80, "Version": "V4"}, "Ret": 100}).encode() + b"\n\0"
    return struct.pack("<BB2xIIBBHI", 0xFF, 1, 0, 0, 0, 0, 1531, len(body)) + body


def reolink(c, _):
    return b"\xaa\xaa\0\x02" + field(32, c.name) + field(16, c.ip) + b"\x28\x23" + field(17, f"95270000ABCDEF{c.number:02}")


def baichuan(c, query):
    def crypt(data, offset):
        words = [0x1F2D3C4B, 0x5A6C7F8D, 0x38172E4B, 0x8271635A, 0x863F1A2B, 0xA5C6F7D8, 0x8371E1B4, 0x17F2D3A5]
        stream = b"".join(struct.pack("<I", (word + offset) & 0xFFFFFFFF) for word in words)
        return bytes(b ^ stream[i % 32] for i, b in enumerate(data))
    offset = struct.unpack_from("<I", query, 12)[0]
    if b"<C2D_S>" not in crypt(query[20:], offset):
        return None
    body = crypt(f"<P2P><D2C_S><uid>95270000ABCDEF{c.number:02}</uid><devname>{c.name}</devname></D2C_S></P2P>".encode(), offset)
    # The checksum starts at zero and is not inverted: zlib's does both.
    checksum = zlib.crc32(body, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return bytes.fromhex("3acf872a") + struct.pack("<IIII", len(body), 1, offset, checksum) + body


def mo_i(c, query):
    if query[:4] != b"MO_I":
        return None
    return (b"MO_I\1" + bytes(10) + struct.pack("<II", 64, 0) + field(13, colons(c.mac, "")) + field(21, c.name) + c.ip_bytes + bytes(12)
            + bytes([0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0]) + struct.pack(">H", 88))


def vstarcam(c, _):
    out = bytearray(304)
    out[0:4] = b"DH\1\x08"
    out[4:20] = field(16, c.ip)
    out[0x54:0x5A] = c.mac
    out[0x5C:0x7C] = field(32, c.serial)
    out[0x7C:0x9C] = field(32, c.name)
    return bytes(out) + field(32, "admin") + field(32, "never-shown")


def vivotek(c, query):
    if query[1:5] != bytes.fromhex("4a5d8f1c"):
        return None
    model = c.model.encode()
    return query[:5] + bytes([1, len(model)]) + model + b"\2\6" + c.mac + b"\3\4" + c.ip_bytes


def bosch(c, query):
    return query[:8] + c.mac + b"\3\xff" + c.ip_bytes + bytes(12)


def panasonic(c, query):
    def tlv(kind, value):
        return struct.pack(">HH", kind, len(value)) + value
    body = tlv(0x20, c.ip_bytes) + tlv(0xA7, c.model.encode()) + b"\xff\xff\0\0"
    return b"\0\1" + struct.pack(">H", len(body)) + b"\0\x0e" + c.mac + query[12:22] + bytes(30) + b"\0" + body


def sony(c, query):
    if not query.startswith(b"\2ENQ:allinfo"):
        return None
    fields = [f"MAC:{colons(c.mac, '-')}", f"MODEL:{c.model}", f"SERIAL:{c.serial}", f"IPADR:{c.ip}"]
    return b"\2" + b"\xff".join(f.encode() for f in fields) + b"\xff\3"


def gvcp(c, _):
    out = bytearray(256)
    out[0:8] = b"\0\0\0\3\0\xf8\0\1"
    out[0x12:0x18] = c.mac
    out[0x2C:0x30] = c.ip_bytes
    out[0x50:0x70] = field(32, "FLIR Systems")
    out[0x70:0x90] = field(32, c.model)
    return bytes(out)


def miio(c, _):
    return bytes.fromhex("2131002000000000") + struct.pack(">II", 0x01020304, 1000) + b"\xff" * 16


def pppp(c, query):
    if query[:2] != b"\xf1\x30":
        return None
    return b"\xf1\x41\0\x14" + field(8, "ABCD") + struct.pack(">I", 100000 + c.number) + field(8, "XYZAB")


def v380(c, query):
    if not query.startswith(b"NVDEVSEARCH"):
        return None
    return f"NVDEVRESULT^1^{colons(c.mac, '-')}^{c.ip}^255.255.255.0^0^^^^^^^{c.serial}^".encode()


def mhed(c, query):
    if query[4:6] != b"\x08\0":
        return None
    out = bytearray(240)
    out[0:6] = b"MHED\7\0"
    out[12:32] = field(20, c.name)
    out[32:38] = c.mac
    out[40:44] = c.ip_bytes
    out[64] = 2
    out[196:212] = field(16, c.model)
    return bytes(out)


def ssdp(c, query):
    if not query.startswith(b"M-SEARCH"):
        return None
    return (f"HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:NetworkCamera:1\r\nSERVER: Linux/4, UPnP/1.0, axis/1\r\n"
            f"USN: uuid:camera-{c.number}::upnp:rootdevice\r\n\r\n").encode()


def mdns(c, query):
    def name(text):
        return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"
    if b"_axis-video" not in query:
        return None
    label = f"AXIS {c.model} - {colons(c.mac, '').upper()}"
    instance = bytes([len(label)]) + label.encode() + b"\xc0\x0c"
    return (struct.pack(">HHHHHH", 0, 0x8400, 0, 1, 0, 0) + name("_axis-video._tcp.local") + struct.pack(">HHIH", 12, 1, 10, len(instance)) + instance)


def endpoint(number):
    return f"urn:uuid:4d454930-0000-1000-8000-{number:012x}"


def greeting(c, word):
    return (
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        f'xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><e:Body><d:{word}><w:EndpointReference><w:Address>{endpoint(c.number)}</w:Address>'
        f"</w:EndpointReference><d:XAddrs>http://{c.ip}/onvif/device_service</d:XAddrs></d:{word}></e:Body></e:Envelope>"
    ).encode()


def ws_discovery(c, query, copied=None):
    text = query.decode()
    if ":Probe>" not in text:
        return None
    asked = text.split("MessageID>")[1].split("<")[0]
    host = f"[{c.ip}]" if ":" in c.ip else c.ip
    return (
        '<?xml version="1.0"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        'xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl">'
        f"<e:Header><w:MessageID>uuid:{c.number}</w:MessageID><w:RelatesTo>{asked}</w:RelatesTo></e:Header>"
        f"<e:Body><d:ProbeMatches><d:ProbeMatch><w:EndpointReference><w:Address>{endpoint(copied or c.number)}</w:Address></w:EndpointReference>"
        "<d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/Profile/Streaming "
        f"onvif://www.onvif.org/hardware/{c.model} onvif://www.onvif.org/name/camera onvif://www.onvif.org/location/site</d:Scopes>"
        f"<d:XAddrs>http://{host}/onvif/device_service</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></e:Body></e:Envelope>"
    ).encode()


# Port, answer, port that is answered to (None: the sender's), group.
PROTOCOLS = [
    (37020, sadp, None, "239.255.255.250"), (37810, dhip, None, "239.255.255.251"), (7701, sunapi, 7711, None),
    (10001, ubnt, None, "233.89.188.1"), (20002, tdp, None, None), (9999, kasa, None, None), (34569, xm, 34569, None),
    (2000, reolink, 3000, None), (2015, baichuan, None, None), (5050, dahua_v1, 5050, None), (10000, mo_i, 10000, None),
    (8600, vstarcam, 8600, None), (10000, vivotek, None, None), (1757, bosch, 1758, None), (10670, panasonic, 10669, None),
    (2380, sony, None, None), (3956, gvcp, None, None), (54321, miio, None, None), (32108, pppp, None, None),
    (10008, v380, 10009, None), (23456, mhed, 23456, "234.55.55.55"), (1900, ssdp, None, "239.255.255.250"), (5353, mdns, None, "224.0.0.251"),
]


def listener(port, groups):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("0.0.0.0", port))
    for group in groups:
        membership = struct.pack("4s4sI", socket.inet_aton(group), bytes(4), socket.if_nametoindex("eth0"))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    return sock


def speaker(ip, port):
    """Answers leave from the camera's own address and from the port that was asked, as a device's do."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.bind((ip, port))
    return sock


def vendors(first):
    selector = selectors.DefaultSelector()
    by_port = {}
    for number, (port, answer, to_port, group) in enumerate(PROTOCOLS):
        camera = Camera(number + 1, first + number)
        print(f"{camera.ip} {answer.__name__}", flush=True)
        entry = by_port.setdefault(port, {"groups": set(), "cameras": []})
        entry["groups"] |= {group} - {None}
        entry["cameras"].append((camera, answer, to_port, speaker(camera.ip, port)))
    for port, entry in by_port.items():
        selector.register(listener(port, entry["groups"]), selectors.EVENT_READ, entry["cameras"])
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            query, sender = key.fileobj.recvfrom(65535)
            if sender[0] in {camera.ip for camera, *_ in key.data}:
                continue
            for camera, answer, to_port, sock in key.data:
                said = answer(camera, query)
                if said:
                    # Old Foscam cameras answer to everybody.
                    to = "255.255.255.255" if answer is mo_i else sender[0]
                    sock.sendto(said, (to, to_port or sender[1]))


def onvif(first, count):
    cameras = [Camera(number, first + number) for number in range(count)]
    speakers = [speaker(camera.ip, 3702) for camera in cameras]
    asked = listener(3702, ["239.255.255.250"])
    print("ready", flush=True)
    while True:
        query, sender = asked.recvfrom(65535)
        answers = [ws_discovery(camera, query) for camera in cameras]
        if all(answers):
            for sock, said in zip(speakers, answers):
                sock.sendto(said, sender)
            break
    while True:
        asked.recvfrom(65535)


def copies(first, count):
    cameras = [Camera(number, first + number) for number in range(count)]
    speakers = [speaker(camera.ip, 3702) for camera in cameras]
    asked = listener(3702, ["239.255.255.250"])
    print("ready", flush=True)
    while True:
        query, sender = asked.recvfrom(65535)
        for camera, sock in zip(cameras, speakers):
            said = ws_discovery(camera, query, copied=7)
            if said:
                sock.sendto(said, sender)


def onvif6(address):
    camera = Camera(1, address)
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.bind(("::", 3702))
    index = socket.if_nametoindex("eth0")
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, "ff02::c") + struct.pack("I", index))
    print("ready", flush=True)
    while True:
        query, sender = sock.recvfrom(65535)
        said = ws_discovery(camera, query)
        if said:
            sock.sendto(said, sender)


def greet(first):
    camera = Camera(1, first)
    sock = speaker(camera.ip, 3702)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(camera.ip))
    print("ready", flush=True)
    while True:
        for word in ("Hello", "Bye"):
            sock.sendto(greeting(camera, word), ("239.255.255.250", 3702))
            time.sleep(0.2)


def main():
    first = ipaddress.ip_address(sys.argv[2])
    match sys.argv[1]:
        case "vendors":
            vendors(first)
        case "onvif":
            onvif(first, int(sys.argv[3]))
        case "copies":
            copies(first, int(sys.argv[3]))
        case "onvif6":
            onvif6(first)
        case "greet":
            greet(first)


main()
