"""A WHEP server on aiortc: its ICE, DTLS, SRTP and encoders, signalling by hand. Loopback only.

usage: whep_peer.py [--at HOST PORT | TOKEN [FOLDER]]. With a token, AES in counter mode is its only SRTP; with a
folder, HTTPS with its cert.pem and key.pem. Prints `port N`, then one line for each thing that happens.
POST /h264, /vp8, /silent (a session without pictures), /frozen (three pictures, then none); DELETE what Location names.
"""

import asyncio
import fractions
import ssl
import sys
import uuid

import aioice.ice
import av
from aiohttp import web
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription, rtcdtlstransport
from aiortc.mediastreams import MediaStreamTrack

# aiortc offers no loopback addresses of its own accord.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [HOST]

arguments = sys.argv[1:]
HOST, PORT = (arguments[1], int(arguments[2])) if arguments[:1] == ["--at"] else ("127.0.0.1", 0)
TOKEN = arguments[0] if arguments and not PORT else None
FOLDER = arguments[1] if TOKEN and len(arguments) > 1 else None
if TOKEN:
    # What every WebRTC has, and some have alone.
    rtcdtlstransport.SRTP_PROFILES[:] = [rtcdtlstransport.SRTP_AES128_CM_SHA1_80]
SIZES = {"h264": (640, 360), "vp8": (320, 240), "silent": (320, 240), "frozen": (320, 240)}
PICTURES = {"silent": 0, "frozen": 3}
FPS = 15
sessions = {}


def say(*words):
    print(*words, flush=True)


class Picture(MediaStreamTrack):
    kind = "video"

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.count = 0

    async def recv(self):
        if self.count == PICTURES.get(self.name):
            await asyncio.sleep(3600)
        await asyncio.sleep(1 / FPS)
        frame = av.VideoFrame(*SIZES[self.name], "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([self.count % 256]) * plane.buffer_size)
        frame.pts = self.count * (90_000 // FPS)
        frame.time_base = fractions.Fraction(1, 90_000)
        self.count += 1
        return frame


async def post(request):
    name = {"cam": "h264"}.get(request.match_info["name"], request.match_info["name"])
    if TOKEN and request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer realm="whep"'})
    if name not in SIZES:
        return web.Response(status=404)
    if request.content_type != "application/sdp":
        return web.Response(status=415)
    peer, session = RTCPeerConnection(), uuid.uuid4().hex
    sessions[session] = peer
    wanted = "video/VP8" if name == "vp8" else "video/H264"
    transceiver = peer.addTransceiver(Picture(name), direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == wanted])
    await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
    await peer.setLocalDescription(await peer.createAnswer())

    @peer.on("connectionstatechange")
    async def changed():
        say("state", peer.connectionState)

    say("posted", name)
    headers = {
        "Location": f"/session/{session}",
        "ETag": '"1"',
        "Link": '<stun:stun.invalid:3478>; rel="ice-server"',
    }
    return web.Response(status=201, content_type="application/sdp", headers=headers, text=peer.localDescription.sdp)


async def delete(request):
    if TOKEN and request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return web.Response(status=401)
    peer = sessions.pop(request.match_info["session"], None)
    if peer is None:
        return web.Response(status=404)
    say("deleted")
    await peer.close()
    return web.Response(status=200)


async def main():
    app = web.Application()
    app.router.add_post("/{name}", post)
    app.router.add_post("/{name}/whep", post)  # as MediaMTX names it
    app.router.add_delete("/session/{session}", delete)
    runner = web.AppRunner(app)
    await runner.setup()
    context = None
    if FOLDER:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{FOLDER}/cert.pem", f"{FOLDER}/key.pem")
    site = web.TCPSite(runner, HOST, PORT, ssl_context=context)
    await site.start()
    say("port", runner.addresses[0][1])
    await asyncio.Event().wait()


asyncio.run(main())
