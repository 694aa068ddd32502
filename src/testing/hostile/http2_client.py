"""A gRPC call by hand, which sends as much of its body as the server allows. RFC 9113."""

import contextlib
import select
import socket
import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A literal header: RFC 7541, 6.2.2. Both texts are below 127 bytes."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


class LargeCall:
    """One call on a connection of its own, with a body of `size` bytes."""

    def __init__(self, path, method, metadata, size):
        self.sent = 0  # bytes of the body
        self.ended = False  # the server has answered, or ended the stream or the connection
        self._left = size
        self._initial = self._stream_window = self._window = 65535
        self._in = b""
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/snakepit.SnakepitBridge/" + method,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
            **dict(metadata),
        }
        block = b"".join(literal(name, value) for name, value in headers.items())
        self._out = PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, block)
        self._prefix = b"\0" + struct.pack(">I", size)
        self._left += len(self._prefix)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._socket.setblocking(False)

    def fileno(self):
        return self._socket.fileno()

    def close(self):
        self._socket.close()

    def wants_to_write(self):
        if not self._out and not self.ended:
            count = min(self._left, self._window, self._stream_window, 16384)
            if count > 0:
                data = self._prefix[:count] + bytes(count - len(self._prefix[:count]))
                self._prefix = self._prefix[count:]
                self._out = frame(DATA, END_STREAM * (count == self._left), 1, data)
                self._left -= count
                self._window -= count
                self._stream_window -= count
                self.sent += count
        return bool(self._out)

    def write(self):
        with contextlib.suppress(BlockingIOError):
            try:
                self._out = self._out[self._socket.send(self._out) :]
            except (BrokenPipeError, ConnectionResetError):
                self.ended = True

    def read(self):
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.ended = self.ended or not data
        self._in += data
        while len(self._in) >= 9:
            length = int.from_bytes(self._in[:3], "big")
            if len(self._in) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self._in[3:9])
            self._take(kind, flags, stream, self._in[9 : 9 + length])
            self._in = self._in[9 + length :]

    def _take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for begin in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, begin)
                if name == INITIAL_WINDOW_SIZE:
                    self._stream_window += value - self._initial
                    self._initial = value
            self._out += frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            self._out += frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE:
            more = struct.unpack(">I", payload)[0]
            if stream:
                self._stream_window += more
            else:
                self._window += more
        elif kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and flags & END_STREAM):
            self.ended = True


def run(calls, limit_s):
    """Runs all calls until each has ended."""
    while True:
        going_on = [call for call in calls if not call.ended]
        if not going_on:
            return
        writers = [call for call in going_on if call.wants_to_write()]
        readable, writable, _ = select.select(going_on, writers, [], limit_s)
        if not readable and not writable:
            raise AssertionError(f"{len(going_on)} calls are neither read nor answered")
        for call in readable:
            call.read()
        for call in writable:
            call.write()
