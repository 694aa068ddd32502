"""A client of a worker's gRPC service."""

import json
import subprocess
from urllib.parse import quote

import grpc

from harness import LIMIT_S, start
from snakepit_bridge import snakepit_pb2 as pb

_SERVICE = "/snakepit.SnakepitBridge/"
_OPTIONS = [
    # Without a shared subchannel, a failed connection to an earlier worker causes no backoff.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class Client:
    """A client with the six methods of the service."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=_OPTIONS)

        def unary(name, request, reply):
            return self.channel.unary_unary(
                _SERVICE + name, request.SerializeToString, reply.FromString
            )

        def stream(name, request, reply):
            return self.channel.unary_stream(
                _SERVICE + name, request.SerializeToString, reply.FromString
            )

        self.execute = unary("Execute", pb.ExecuteRequest, pb.ExecuteResponse)
        self.execute_in_session = unary("ExecuteInSession", pb.SessionRequest, pb.ExecuteResponse)
        self.execute_stream = stream("ExecuteStream", pb.ExecuteRequest, pb.StreamResponse)
        self.execute_in_session_stream = stream(
            "ExecuteInSessionStream", pb.SessionRequest, pb.StreamResponse
        )
        self.health = unary("Health", pb.HealthRequest, pb.HealthResponse)
        self.get_info = unary("GetInfo", pb.InfoRequest, pb.InfoResponse)

    def call(self, command, **args):
        """The reply to Execute."""
        request = pb.ExecuteRequest(command=command, args=encode(args), request_id="call")
        return self.execute(request, timeout=LIMIT_S)

    def stream(self, command, **args):
        """The call object of ExecuteStream."""
        request = pb.ExecuteRequest(command=command, args=encode(args), request_id="stream")
        return self.execute_stream(request, timeout=LIMIT_S)


class GrpcWorker(Client):
    """A worker process that serves on a Unix socket, and a client of it."""

    def __init__(self, arguments, path, env):
        self.process = start(
            [*arguments, "--transport", "grpc", "--socket", path],
            subprocess.DEVNULL,
            subprocess.PIPE,
            **env,
        )
        self.announced = self.process.stdout.readline().decode()
        super().__init__("unix:" + quote(path))

    def wait(self):
        """Waits for the end of the process; returns (exit status, stderr)."""
        _, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, errors.decode()

    def kill(self):
        """Kills the process and closes the connection."""
        self.channel.close()
        self.process.kill()
        self.process.communicate()


def encode(args):
    """Arguments as legacy map values."""
    return {
        key: value if isinstance(value, bytes) else json.dumps(value).encode()
        for key, value in args.items()
    }


def decode(fields):
    """The values of a legacy map: JSON if valid, else text, else bytes."""
    return {key: _value(data) for key, data in fields.items()}


def _value(data):
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    try:
        return json.loads(text)
    except ValueError:
        return text
