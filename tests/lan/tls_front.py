"""TLS in front of a plain web camera: `tls_front.py PORT PEM BACKEND_PORT PATHS_JSON`.

Gives the camera a maker's paths: the path of each connection's first request is looked up in PATHS_JSON.
"""

import json
import socket
import ssl
import sys
import threading

_HEAD_BYTES_MAX = 16 * 1024


def _rewritten(head, paths):
    """The request with the camera's inner path, and `Connection: close`: one request per connection."""
    request, *headers = head.decode("latin-1").split("\r\n")
    method, path, version = request.split(" ", 2)
    kept = [h for h in headers if h and not h.lower().startswith("connection:")]
    lines = [f"{method} {paths.get(path, path)} {version}", *kept, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _handle(raw, context, backend_port, paths):
    raw.settimeout(30)
    try:
        client = context.wrap_socket(raw, server_side=True)
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES_MAX:
            chunk = client.recv(4096)
            if not chunk:
                return
            head += chunk
        with socket.create_connection(("127.0.0.1", backend_port), timeout=5) as backend:
            backend.settimeout(30)
            backend.sendall(_rewritten(head, paths))
            while chunk := backend.recv(16384):
                client.sendall(chunk)
    except (OSError, ValueError):
        pass  # the client went away, or spoke no HTTP
    finally:
        raw.close()


def main():
    port, pem, backend_port, paths = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        print("ready", flush=True)
        while True:
            client, _ = server.accept()
            threading.Thread(target=_handle, args=(client, context, backend_port, paths), daemon=True).start()


main()
