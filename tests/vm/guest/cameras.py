#!/usr/bin/env python3
"""Cameras for the checks, as many as there are paths, and what is asked of the daemon.

cameras.py serve ADDRESS PORT       cameras: an SDP with parameter sets, and a key frame at PLAY
cameras.py add FROM TO              store cameras FROM to TO-1
cameras.py online COUNT SECONDS     wait until that many are online; exit 1 if they are not
cameras.py store URL                store one camera; prints its id
cameras.py health ID WORD SECONDS   wait until that camera is `online`, `offline`, or `proven` by a picture; prints the milliseconds
cameras.py check ID                 check that camera now
cameras.py remove ID
cameras.py names                    names of the stored cameras, sorted
cameras.py write FROM               store cameras without end; `ACK name` once one is acknowledged
"""

import http.client
import json
import socketserver
import sys
import time

STATE = "/var/lib/ohmvision"
STREAM = "rtsp://127.0.0.1:8554/"
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=check\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    "a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAKNoB4AiflwEQAAADABAAAAMDIPGDKg==,aM4G4g==\r\na=control:track1\r\n"
)
# RTP with an IDR slice, in an interleaved frame.
PACKET = bytes([0x80, 0xE0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x65]) + b"\x88" * 500
FRAME = b"$\0" + len(PACKET).to_bytes(2, "big") + PACKET


class Camera(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            head = []
            for line in self.rfile:
                if line == b"\r\n":
                    break
                head.append(line.decode("latin-1").strip())
            if not head:
                return
            sequence = next((h[5:].strip() for h in head if h.lower().startswith("cseq:")), "0")
            method = head[0].split(" ")[0]
            headers, body = "Session: 1\r\n", ""
            if method == "DESCRIBE":
                headers, body = f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n", SDP
            elif method == "SETUP":
                headers += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{headers}\r\n{body}".encode())
            if method == "PLAY":
                self.wfile.write(FRAME)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512


def ask(method, path, body=None):
    with open(f"{STATE}/api.addr", encoding="ascii") as file:
        address = file.readline().strip()
    with open(f"{STATE}/admin.token", encoding="ascii") as file:
        token = file.read().strip()
    connection = http.client.HTTPConnection(address, timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def add(number):
    body = {"name": f"camera {number}", "primary_stream_url": f"{STREAM}{number}", "username": "admin", "password": f"pw-{number}"}
    status, answer = ask("POST", "/api/cameras", body)
    if status != 201:
        raise SystemExit(f"camera {number}: {status} {answer.decode()}")


def names():
    found, after = [], ""
    while True:
        status, answer = ask("GET", f"/api/cameras?limit=500{after}")
        if status != 200:
            raise SystemExit(f"{status} {answer.decode()}")
        page = json.loads(answer)
        found += [camera["name"] for camera in page["items"]]
        if not page.get("next_cursor"):
            return sorted(found)
        after = f"&cursor={page['next_cursor']}"


def online(count, seconds):
    end = time.monotonic() + seconds
    while True:
        status = json.loads(ask("GET", "/api/health/status")[1])
        if status["online_cameras"] >= count:
            return
        if time.monotonic() > end:
            raise SystemExit(f"{status['online_cameras']} of {count} cameras are online")
        time.sleep(1)


def store(url):
    status, answer = ask("POST", "/api/cameras", {"primary_stream_url": url})
    if status != 201:
        raise SystemExit(f"{url}: {status} {answer.decode()}")
    return json.loads(answer)["id"]


def health(camera, wanted, seconds):
    begin = time.monotonic()
    while True:
        seen = json.loads(ask("GET", f"/api/health/cameras/{camera}")[1])
        state = seen["connection_health"]
        is_online = state not in ("offline", "unknown")
        if {"online": is_online, "offline": state == "offline", "proven": is_online and seen["last_frame_at"]}[wanted]:
            return int((time.monotonic() - begin) * 1000)
        if time.monotonic() > begin + seconds:
            raise SystemExit(f"camera {camera} is {state}: {seen['last_error_message']}")
        time.sleep(0.05)


def main():
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "serve":
        Server((arguments[0], int(arguments[1])), Camera).serve_forever()
    elif command == "add":
        for number in range(int(arguments[0]), int(arguments[1])):
            add(number)
    elif command == "online":
        online(int(arguments[0]), int(arguments[1]))
    elif command == "store":
        print(store(arguments[0]))
    elif command == "health":
        print(health(arguments[0], arguments[1], float(arguments[2])))
    elif command == "check":
        print(ask("POST", f"/api/health/cameras/{arguments[0]}/check-now")[1].decode())
    elif command == "remove":
        ask("DELETE", f"/api/cameras/{arguments[0]}")
    elif command == "names":
        print("\n".join(names()))
    elif command == "write":
        number = int(arguments[0])
        while True:
            add(number)
            print(f"ACK camera {number}", flush=True)
            number += 1


if __name__ == "__main__":
    main()
