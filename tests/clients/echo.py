"""A client of an echo server on Python's selectors: many connections at once.

usage: echo.py HOST PORT CONNECTIONS BYTES

Each connection sends its own text in pieces of odd sizes and checks that every byte is echoed, in
order. Prints "ok" and the number of bytes that were echoed.
"""

import resource
import selectors
import socket
import sys
import time

PIECES = (1, 3, 7, 509, 1021, 4093, 13, 8191)


class Connection:
    def __init__(self, number, address, size):
        self.text = b"".join(b"%d:%d;" % (number, n) for n in range(size // 4))[:size]
        assert len(self.text) == size
        self.piece = number
        self.sent = self.received = 0
        self.socket = socket.create_connection(address)
        self.socket.setblocking(False)

    def events(self):
        writing = selectors.EVENT_WRITE if self.sent < len(self.text) else 0
        return selectors.EVENT_READ | writing

    def send(self):
        size = PIECES[self.piece % len(PIECES)]
        self.piece += 1
        self.sent += self.socket.send(self.text[self.sent : self.sent + size])

    def receive(self):
        data = self.socket.recv(65536)
        assert data, "closed after %d of %d" % (self.received, len(self.text))
        expected = self.text[self.received : self.received + len(data)]
        assert data == expected, "wrong bytes after %d" % self.received
        self.received += len(data)

    def done(self):
        return self.received == len(self.text)


def main():
    host, port, count, size = sys.argv[1], *map(int, sys.argv[2:])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    connections = [Connection(n, (host, port), size) for n in range(count)]
    deadline = time.monotonic() + 100
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, connection.events(), connection)
        left = count
        while left:
            assert time.monotonic() < deadline, "%d connections are not done" % left
            for key, mask in selector.select(1):
                connection = key.data
                if mask & selectors.EVENT_READ:
                    connection.receive()
                if mask & selectors.EVENT_WRITE and connection.sent < size:
                    connection.send()
                if connection.done():
                    selector.unregister(connection.socket)
                    left -= 1
                elif connection.events() != key.events:
                    selector.modify(connection.socket, connection.events(), connection)
    for connection in connections:
        connection.socket.close()
    print("ok", count * size)


main()
