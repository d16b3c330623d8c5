"""What the processes beside the servers run in `benchmarks.http`: load, idle clients, and the least there is."""

from __future__ import annotations

# Looks at the first answer closely (status and body must be what was asked for: a quick error would be
# taken for a fast server), and counts on the others to be as long.
LOAD = """
import hashlib, socket, sys, time
host, port, seconds, count = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
request = sys.argv[5].encode().decode("unicode_escape").encode()
status, size, digest = sys.argv[6].encode(), int(sys.argv[7]), sys.argv[8]
sockets = [socket.create_connection((host, port)) for _ in range(count)]

def answer(peer, length):
    pieces = []
    while length > 0:
        piece = peer.recv(65536)
        if not piece:
            sys.exit("the server closed a connection")
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)

lengths = []
for peer in sockets:
    peer.sendall(request)
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += answer(peer, 1) if not head else peer.recv(1)
    head, rest = head[: head.index(b"\\r\\n\\r\\n") + 4], head[head.index(b"\\r\\n\\r\\n") + 4 :]
    body = rest + answer(peer, size - len(rest))
    if head.split(b" ", 2)[1] != status or hashlib.sha256(body).hexdigest() != digest:
        sys.exit(f"the answer is not the one to measure: {head!r}")
    lengths.append(len(head) + size)
length, done, end, took = lengths[0], count, time.monotonic() + seconds, []
while time.monotonic() < end:
    began = time.perf_counter()
    for peer in sockets:
        peer.sendall(request)
    for peer in sockets:
        if not answer(peer, length).startswith(b"HTTP/1.1 " + status):
            sys.exit("an answer of another status")
    took.append(time.perf_counter() - began)
    done += count
took.sort()
print(done, took[len(took) // 2], took[int(len(took) * 0.99)])
"""

BARE = """
import asyncio, sys
body = open(sys.argv[1], "rb").read()
reply = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body

class Bare(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(reply * data.count(b"\\r\\n\\r\\n"))

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Bare, "127.0.0.1", int(sys.argv[2]))
    await server.serve_forever()

asyncio.run(main())
"""

# Opens connections, has one answer on each, and then holds them until its input ends; quickly, for the server
# closes an idle one after ten seconds.
HOLD = """
import resource, socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
while len(held) < count:
    peers = [socket.create_connection((host, port)) for _ in range(min(200, count - len(held)))]
    for peer in peers:
        peer.sendall(b"GET /web/jwks.json HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    for peer in peers:
        peer.recv(65536)
    held += peers
    print(len(held), flush=True)
print("held", flush=True)
sys.stdin.read()
"""
