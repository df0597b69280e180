"""The faults of ONVIF devices, one at a time: `onvif_fake.py DEVICE_JSON LOG [PEM]`.

`onvif.fault` of the device's entry in site.json says which:
  clock     its clock is three years behind, and WS-Security digests are held to it
  text      takes passwords as text only, and speaks TLS only
  digest    takes HTTP digest only
  hosts     every URL that it gives names an address that it does not have
  fault200  its faults come with HTTP 200
  account   its ONVIF account is another one than that of its streams
  rogue     asks for Basic in clear, over HTTP and RTSP, whatever is asked
  babble    answers discovery, and HTTP, with nonsense

LOG gets one line for each login that arrives: `MECHANISM USER OUTCOME`.
"""

import base64
import datetime
import hashlib
import http.server
import json
import os
import re
import socket
import ssl
import struct
import sys
import threading
import urllib.parse
import xml.etree.ElementTree as ET

DEVICE = json.loads(sys.argv[1])
ONVIF = DEVICE["onvif"]
FAULT = ONVIF["fault"]
LOGIN = ONVIF.get("login") or DEVICE["login"]
LOG = open(sys.argv[2], "a", buffering=1)
IP, PORT = DEVICE["ip"], ONVIF["port"]
SCHEME = "https" if FAULT == "text" else "http"
SHOWN = "192.168.1.64" if FAULT == "hosts" else IP
BASE = f"{SCHEME}://{SHOWN}" + ("" if PORT in (80, 443) else f":{PORT}")
REALM = "onvif"
CLOCK = datetime.timedelta(days=-3 * 365) if FAULT == "clock" else datetime.timedelta()
CLOCK_SLACK = datetime.timedelta(seconds=300)
OPEN = {"GetSystemDateAndTime", "GetCapabilities", "GetServices", "GetServiceCapabilities"}
NAMESPACES = (
    'xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tds="http://www.onvif.org/ver10/device/wsdl" '
    'xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema" '
    'xmlns:ter="http://www.onvif.org/ver10/error"'
)
used_nonces = set()


def note(mechanism, user, outcome):
    LOG.write(f"{mechanism} {user} {outcome}\n")


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + CLOCK


def local(element):
    return element.tag.rpartition("}")[2]


def find(root, name):
    return next((e for e in root.iter() if local(e) == name), None)


def text(root, name):
    element = find(root, name)
    return (element.text or "") if element is not None else ""


def envelope(body):
    return f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope {NAMESPACES}><s:Body>{body}</s:Body></s:Envelope>'


def fault(code, subcode, reason):
    return envelope(
        f"<s:Fault><s:Code><s:Value>s:{code}</s:Value><s:Subcode><s:Value>ter:{subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{reason}</s:Text></s:Reason></s:Fault>'
    )


def wsse(root):
    """Does the UsernameToken prove the login? None: there is none."""
    token = find(root, "UsernameToken")
    if token is None:
        return None
    user, password = text(token, "Username"), text(token, "Password")
    kind = find(token, "Password").get("Type", "") if find(token, "Password") is not None else ""
    if kind.endswith("#PasswordDigest"):
        nonce, created = base64.b64decode(text(token, "Nonce") or ""), text(token, "Created")
        want = hashlib.sha1(nonce + created.encode() + LOGIN["password"].encode()).digest()
        at = datetime.datetime.fromisoformat(created.rstrip("Z").partition(".")[0])
        fresh = abs(at - now()) < CLOCK_SLACK and nonce not in used_nonces
        used_nonces.add(nonce)
        good = FAULT != "text" and fresh and base64.b64decode(password) == want
        mechanism = "wsse-digest"
    else:
        good = FAULT == "text" and password == LOGIN["password"]
        mechanism = "wsse-text"
    good = good and user == LOGIN["username"]
    note(mechanism, user, "accepted" if good else "refused")
    return good


def http_digest(header, method):
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', header.partition(" ")[2]))
    md5 = lambda t: hashlib.md5(t.encode()).hexdigest()  # noqa: E731
    ha1 = md5(f"{LOGIN['username']}:{REALM}:{LOGIN['password']}")
    ha2 = md5(f"{method}:{fields.get('uri', '')}")
    want = md5(":".join([ha1, fields.get("nonce", ""), fields.get("nc", ""), fields.get("cnonce", ""), fields.get("qop", ""), ha2]))
    good = fields.get("response") == want and fields.get("username") == LOGIN["username"]
    note("http-digest", fields.get("username", ""), "accepted" if good else "refused")
    return good


def profile(n, stream):
    expected = stream["expected"]
    return (
        f'<trt:Profiles token="p{n}" fixed="true"><tt:Name>profile{n}</tt:Name>'
        f'<tt:VideoSourceConfiguration token="v"><tt:Name>v</tt:Name><tt:UseCount>1</tt:UseCount><tt:SourceToken>s0</tt:SourceToken>'
        f'<tt:Bounds x="0" y="0" width="{expected["width"]}" height="{expected["height"]}"/></tt:VideoSourceConfiguration>'
        f'<tt:VideoEncoderConfiguration token="e{n}"><tt:Name>e{n}</tt:Name><tt:UseCount>1</tt:UseCount>'
        f'<tt:Encoding>{expected["codec"].upper()}</tt:Encoding>'
        f'<tt:Resolution><tt:Width>{expected["width"]}</tt:Width><tt:Height>{expected["height"]}</tt:Height></tt:Resolution>'
        f'<tt:Quality>5</tt:Quality><tt:RateControl><tt:FrameRateLimit>{expected["fps"]}</tt:FrameRateLimit>'
        f"<tt:EncodingInterval>1</tt:EncodingInterval><tt:BitrateLimit>2048</tt:BitrateLimit></tt:RateControl>"
        f'<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type><tt:IPv4Address>0.0.0.0</tt:IPv4Address></tt:Address><tt:Port>0</tt:Port>'
        f"<tt:TTL>1</tt:TTL><tt:AutoStart>false</tt:AutoStart></tt:Multicast><tt:SessionTimeout>PT60S</tt:SessionTimeout>"
        f"</tt:VideoEncoderConfiguration></trt:Profiles>"
    )


def answer(action, root):
    at = now()
    date = (
        f"<tt:Time><tt:Hour>{at.hour}</tt:Hour><tt:Minute>{at.minute}</tt:Minute><tt:Second>{at.second}</tt:Second></tt:Time>"
        f"<tt:Date><tt:Year>{at.year}</tt:Year><tt:Month>{at.month}</tt:Month><tt:Day>{at.day}</tt:Day></tt:Date>"
    )
    streams = DEVICE["streams"]
    if action == "GetSystemDateAndTime":
        return (
            "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType>"
            f"<tt:DaylightSavings>false</tt:DaylightSavings><tt:UTCDateTime>{date}</tt:UTCDateTime>"
            "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
        )
    if action == "GetDeviceInformation":
        return (
            f"<tds:GetDeviceInformationResponse><tds:Manufacturer>{ONVIF['maker']}</tds:Manufacturer><tds:Model>{ONVIF['model']}</tds:Model>"
            f"<tds:FirmwareVersion>V5.7.3</tds:FirmwareVersion><tds:SerialNumber>{ONVIF['serial']}</tds:SerialNumber>"
            "<tds:HardwareId>88</tds:HardwareId></tds:GetDeviceInformationResponse>"
        )
    if action == "GetCapabilities":
        return (
            "<tds:GetCapabilitiesResponse><tds:Capabilities>"
            f"<tt:Device><tt:XAddr>{BASE}/onvif/device_service</tt:XAddr></tt:Device>"
            f"<tt:Media><tt:XAddr>{BASE}/onvif/media_service</tt:XAddr><tt:StreamingCapabilities/></tt:Media>"
            "</tds:Capabilities></tds:GetCapabilitiesResponse>"
        )
    if action == "GetServices":
        service = lambda ns, path: (  # noqa: E731
            f"<tds:Service><tds:Namespace>http://www.onvif.org/ver10/{ns}/wsdl</tds:Namespace><tds:XAddr>{BASE}/onvif/{path}</tds:XAddr>"
            "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>"
        )
        return f"<tds:GetServicesResponse>{service('device', 'device_service')}{service('media', 'media_service')}</tds:GetServicesResponse>"
    if action == "GetNetworkInterfaces":
        return (
            '<tds:GetNetworkInterfacesResponse><tds:NetworkInterfaces token="eth0"><tt:Enabled>true</tt:Enabled>'
            f"<tt:Info><tt:Name>eth0</tt:Name><tt:HwAddress>{DEVICE['mac']}</tt:HwAddress></tt:Info></tds:NetworkInterfaces></tds:GetNetworkInterfacesResponse>"
        )
    if action == "GetProfiles":
        return f"<trt:GetProfilesResponse>{''.join(profile(n, s) for n, s in enumerate(streams))}</trt:GetProfilesResponse>"
    if action == "GetStreamUri":
        number = int(re.sub(r"\D", "", text(root, "ProfileToken")) or 0)
        url = streams[number]["url"].replace(f"//{IP}:", f"//{SHOWN}:").replace("&", "&amp;")
        return (
            f"<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>{url}</tt:Uri><tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>"
            "<tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:GetStreamUriResponse>"
        )
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    def log_message(self, *_):
        pass

    def reply(self, status, body, headers=()):
        data = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/soap+xml; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if FAULT == "rogue":
            return self.ask_basic()
        if FAULT == "babble":
            return self.reply(200, b"\x00\xff<html" * 500)
        self.reply(404, "")

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1 << 20))
        if FAULT == "rogue":
            if b"UsernameToken" in body:
                note("wsse", "?", "captured")
            return self.ask_basic()
        if FAULT == "babble":
            return self.reply(200, b"<a>" * 20_000)
        try:
            root = ET.fromstring(body)
            action = local(next(iter(find(root, "Body"))))
        except (ET.ParseError, StopIteration, TypeError):
            return self.reply(400, fault("Sender", "WellFormed", "Well-formedness Error"))
        if FAULT == "digest":
            given = self.headers.get("Authorization", "")
            if action not in OPEN and not (given.startswith("Digest") and http_digest(given, "POST")):
                nonce = os.urandom(8).hex()
                return self.reply(401, "", [("WWW-Authenticate", f'Digest realm="{REALM}", qop="auth", nonce="{nonce}", algorithm=MD5')])
        elif action not in OPEN and not wsse(root):
            status = 200 if FAULT == "fault200" else 400
            return self.reply(status, fault("Sender", "NotAuthorized", "The action requested requires authorization and the sender is not authorized"))
        found = answer(action, root)
        if found is None:
            return self.reply(200 if FAULT == "fault200" else 500, fault("Receiver", "ActionNotSupported", "Optional Action Not Implemented"))
        self.reply(200, envelope(found))

    def ask_basic(self):
        if given := self.headers.get("Authorization"):
            note(given.split(" ")[0].lower(), "?", "captured")
        self.reply(401, "", [("WWW-Authenticate", 'Basic realm="IP Camera"')])


def rogue_rtsp():
    """Every DESCRIBE is asked for Basic."""
    server = socket.create_server(("", 554))

    def serve(link):
        with link, link.makefile("rwb") as stream:
            lines = []
            for line in stream:
                lines.append(line.decode("latin-1").strip())
                if lines[-1]:
                    continue
                fields = dict(l.split(": ", 1) for l in lines[1:] if ": " in l)
                if "Authorization" in fields:
                    note(fields["Authorization"].split(" ")[0].lower(), "?", "captured")
                ask = "" if lines[0].startswith("OPTIONS") else 'WWW-Authenticate: Basic realm="IP Camera"\r\n'
                status = "200 OK" if not ask else "401 Unauthorized"
                stream.write(f"RTSP/1.0 {status}\r\nCSeq: {fields.get('CSeq', 0)}\r\n{ask}\r\n".encode())
                stream.flush()
                lines = []

    while True:
        link, _ = server.accept()
        link.settimeout(20)
        threading.Thread(target=serve, args=(link,), daemon=True).start()


def discovery():
    """WS-Discovery on IPv4."""
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    link.bind(("", 3702))
    link.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4s", socket.inet_aton("239.255.255.250"), socket.inet_aton(IP)))
    scopes = [f"onvif://www.onvif.org/name/{urllib.parse.quote(ONVIF['maker'])}", f"onvif://www.onvif.org/hardware/{urllib.parse.quote(ONVIF['model'])}"]
    while True:
        data, peer = link.recvfrom(65_535)
        asked = re.search(rb"<(?:\w+:)?MessageID[^>]*>([^<]+)<", data)
        if b"Probe" not in data or not asked:
            continue
        if FAULT == "babble":
            for junk in babble(asked[1].decode("latin-1")):
                link.sendto(junk, peer)
            continue
        link.sendto(probe_match(asked[1].decode(), scopes, f"{BASE}/onvif/device_service").encode(), peer)


def probe_match(related, scopes, address):
    return (
        '<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" '
        'xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><SOAP-ENV:Header><wsa:MessageID>urn:uuid:1</wsa:MessageID>'
        f"<wsa:RelatesTo>{related}</wsa:RelatesTo><wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</wsa:Action>"
        "</SOAP-ENV:Header><SOAP-ENV:Body><d:ProbeMatches><d:ProbeMatch>"
        f"<wsa:EndpointReference><wsa:Address>urn:uuid:4d454930-0000-1000-8000-{DEVICE['mac'].replace(':', '')}</wsa:Address></wsa:EndpointReference>"
        f"<d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>{' '.join(scopes)}</d:Scopes><d:XAddrs>{address}</d:XAddrs>"
        "<d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></SOAP-ENV:Body></SOAP-ENV:Envelope>"
    )


def babble(related):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><x>&b;</x>'
    yield os.urandom(400)
    yield bomb.encode()
    yield b"<a>" * 15_000
    yield probe_match(related, ["onvif://www.onvif.org/name/" + "x" * 20_000], "file:///etc/passwd").encode()
    yield probe_match("urn:uuid:of-somebody-else", ["\u202e"], "http://[::1]:1/").encode()
    yield probe_match(related, [], "").encode()[:300]


def main():
    threading.Thread(target=discovery, daemon=True).start()
    if FAULT == "rogue":
        threading.Thread(target=rogue_rtsp, daemon=True).start()
    server = http.server.ThreadingHTTPServer(("", PORT), Handler)
    if SCHEME == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3])
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


main()
