"""A TCP balancer before API replicas. It notes which replica responded, and loses a response when it is told to."""

from __future__ import annotations

import itertools
import queue
import socket
import threading
from contextlib import suppress

_CHUNK = 1 << 16


class Balancer:
    """Listens on a free port; every connection goes to the next replica that accepts it."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.responded: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.lost: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._replicas = itertools.cycle(ports.items())
        self._count = len(ports)
        self._lose = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def lose_next_response(self) -> None:
        """The next response is read from the replica and not passed on; the client's connection ends instead."""
        self._lose.set()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        for name, port in itertools.islice(self._replicas, self._count):
            with suppress(OSError):
                replica = socket.create_connection(("127.0.0.1", port), timeout=5)
                replica.settimeout(None)
                break
        else:
            client.close()
            return
        threading.Thread(target=self._pass_requests, args=(client, replica), daemon=True).start()
        self._pass_responses(name, client, replica)

    @staticmethod
    def _pass_requests(client: socket.socket, replica: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                replica.sendall(data)
        with suppress(OSError):
            replica.shutdown(socket.SHUT_WR)

    def _pass_responses(self, name: str, client: socket.socket, replica: socket.socket) -> None:
        with suppress(OSError):
            while data := replica.recv(_CHUNK):
                if self._lose.is_set():
                    self._lose.clear()
                    self.lost.put(name)
                    break
                client.sendall(data)
                self.responded.put(name)
        for end in (client, replica):
            # Closing alone would leave the other thread waiting in recv, and the connection open.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
