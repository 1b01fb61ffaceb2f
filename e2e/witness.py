#!/usr/bin/env python3
"""A proxy that passes bytes on as they are and writes down what was asked.

    witness.py [--hold] HOST:PORT OF-A-NODE LOG

Prints the address it listens on. Each answer is a line in LOG before the client
gets it: METHOD TARGET STATUS, with the query, which the node's access log leaves
out. With --hold the first answer that confirms a blob's bytes (PATCH 202, PUT
201) reaches the client only after the node has begun to refuse the token that
they came with, as if the upload had taken so long: before it the line `token
expired` is written.
"""

import asyncio
import re
import sys

REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n")
HOST = re.compile(rb"\r\nhost: \S+\r\n", re.IGNORECASE)  # a token is good for this one
TOKEN = re.compile(rb"\r\nauthorization: bearer \S+\r\n", re.IGNORECASE)
STATUS = re.compile(rb"HTTP/1\.1 (\d+)")


class Witness:
    def __init__(self, node, log, hold):
        self.node = node.rsplit(":", 1)
        self.log = log
        self.hold = hold

    def note(self, line):
        self.log.write(line + "\n")
        self.log.flush()

    async def refused(self, head):
        """Whether the node refuses the token of this request by now."""
        reader, writer = await asyncio.open_connection(*self.node)
        writer.write(b"GET /v2/ HTTP/1.1" + HOST.search(head)[0] + b"connection: close" + TOKEN.search(head)[0] + b"\r\n")
        answer = await reader.read()
        writer.close()
        return STATUS.match(answer)[1] == b"401"

    async def answered(self, head, status):
        method, target = (part.decode() for part in REQUEST.match(head).groups())
        self.note(f"{method} {target} {status}")
        if self.hold and TOKEN.search(head) and "/blobs/uploads/" in target and (method, status) in (("PATCH", 202), ("PUT", 201)):
            self.hold = False
            while not await self.refused(head):
                await asyncio.sleep(0.5)
            self.note("token expired")

    async def connection(self, client_reader, client_writer):
        node_reader, node_writer = await asyncio.open_connection(*self.node)
        head = b""  # of the request that is not answered yet
        between = True  # no request has begun since the last answer

        async def to_node():
            nonlocal head, between
            while data := await client_reader.read(1 << 16):
                if between and REQUEST.match(data):
                    head, between = data, False
                elif not between and b"\r\n\r\n" not in head:
                    head += data
                node_writer.write(data)
                await node_writer.drain()
            node_writer.write_eof()

        async def to_client():
            nonlocal head, between
            while data := await node_reader.read(1 << 16):
                status = STATUS.match(data)
                if head and status and status[1] != b"100":
                    request, head, between = head, b"", True
                    await self.answered(request, int(status[1]))
                client_writer.write(data)
                await client_writer.drain()
            client_writer.write_eof()

        try:
            await asyncio.gather(to_node(), to_client())
        except (OSError, asyncio.IncompleteReadError):
            pass  # one of the two has hung up, and the other will hear of it
        finally:
            node_writer.close()
            client_writer.close()


async def main():
    words = [word for word in sys.argv[1:] if word != "--hold"]
    with open(words[1], "w") as log:
        witness = Witness(words[0], log, "--hold" in sys.argv)
        server = await asyncio.start_server(witness.connection, "127.0.0.1", 0)
        print("{}:{}".format(*server.sockets[0].getsockname()), flush=True)
        await server.serve_forever()


asyncio.run(main())
