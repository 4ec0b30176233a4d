"""A TCP balancer before API replicas. It notes which replica responded, and loses a response when it is told to."""

import asyncio
import itertools
import queue
import threading
from contextlib import suppress

_CHUNK = 1 << 16


class Balancer:
    """Listens on a free port at `url`; every connection goes to the next replica that accepts it."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.responded: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.lost: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._replicas = itertools.cycle(ports.items())
        self._count = len(ports)
        self._lose = threading.Event()
        loop = asyncio.new_event_loop()
        listening = loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        threading.Thread(target=loop.run_forever, daemon=True).start()

    def lose_next_response(self) -> None:
        """The next response is read from the replica and not passed on; the client's connection ends instead."""
        self._lose.set()

    async def _serve(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        for name, port in itertools.islice(self._replicas, self._count):
            with suppress(OSError):
                responses, replica = await asyncio.open_connection("127.0.0.1", port)
                break
        else:
            client.close()
            return
        passing = asyncio.create_task(self._pass_requests(requests, replica))
        with suppress(OSError):
            while data := await responses.read(_CHUNK):
                if self._lose.is_set():
                    self._lose.clear()
                    self.lost.put(name)
                    break
                client.write(data)
                await client.drain()
                self.responded.put(name)
        passing.cancel()
        for end in (client, replica):
            end.close()

    @staticmethod
    async def _pass_requests(requests: asyncio.StreamReader, replica: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await requests.read(_CHUNK):
                replica.write(data)
                await replica.drain()
            replica.write_eof()
