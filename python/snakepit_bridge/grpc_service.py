"""The six methods of a worker over gRPC. PROTOCOL.md 4 and 6.11."""

import hmac
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import grpc

from . import snakepit_pb2 as pb
from .budget import OverBudget, check_map, decoded_limit, smallest_over
from .calls import (
    CANCELLED,
    HANDLER_FAILED,
    INVALID_ARGUMENT,
    MESSAGE_TOO_LARGE,
    NO_CHUNK,
    CallError,
    printable,
)
from .handshake import FEATURES, MAX_MESSAGE_LIMIT, MIN_MESSAGE_LIMIT
from .lossless import LosslessMessagePackCodec
from .sessions import BAD_SESSION_ID, is_session_id
from .values import DecodeError, EncodeError, from_map_bytes, to_map

# The number of threads for RPCs that wait for their turn or their request.
WAITING_THREADS = 64


class TokenCheck(grpc.ServerInterceptor):
    """Refuses every RPC without the pool's token. PROTOCOL.md 6.13."""

    def __init__(self, token):
        self._token = token.encode("ascii")

        def refuse(_requests, rpc):
            rpc.abort(
                grpc.StatusCode.UNAUTHENTICATED, "the metadata snakepit-token is missing or wrong"
            )

        # A handler of this kind refuses any method without waiting for a message.
        self._refusal = grpc.stream_stream_rpc_method_handler(refuse)

    def intercept_service(self, continuation, handler_call_details):
        """The handler of an RPC, or the refusal."""
        given = [
            value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
            for key, value in handler_call_details.invocation_metadata
            if key == "snakepit-token"
        ]
        if len(given) == 1 and hmac.compare_digest(given[0], self._token):
            return continuation(handler_call_details)
        return self._refusal


class Service:
    """The methods. A call's error is in its reply; the gRPC status is OK. Thread-safe."""

    def __init__(self, worker, max_message_bytes):
        self._worker = worker
        self.max_message_bytes = max_message_bytes
        self._max_decoded_bytes = decoded_limit(max_message_bytes)
        self._smallest_to_check = smallest_over(self._max_decoded_bytes)
        # The limit for calls of version 2: the smaller of this one and the pool's.
        self._send_limit = max_message_bytes
        self._calls = _CallsInProgress(worker.capacity)
        self._is_ending = False
        # Health and GetInfo have threads of their own, so busy handlers do not delay them.
        self.control_threads = ThreadPoolExecutor(2, "control")
        self._call_threads = _CallThreads(worker.capacity + WAITING_THREADS, self._calls)
        try:
            self._codec = LosslessMessagePackCodec(self._max_decoded_bytes)
        except ImportError:
            self._codec = None  # the worker speaks version 1 only

    def end_calls(self, timeout_s):
        """Refuses new calls, and waits until all others have ended and their replies are sent.

        timeout_s: seconds, the longest time to wait.
        """
        self._is_ending = True
        self._calls.wait_until_idle(timeout_s)

    def methods(self):
        """The method handlers by name."""

        # grpc reads the thread pool from an attribute, which a bound method cannot have.
        def execute(request, rpc):
            return self._execute(request, rpc)

        def execute_stream(request, rpc):
            return self._execute_stream(request, rpc)

        execute.experimental_thread_pool = self._call_threads
        execute_stream.experimental_thread_pool = self._call_threads
        unary, stream = (grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler)
        return {
            name: make(
                method,
                request_deserializer=request.FromString,
                response_serializer=response.SerializeToString,
            )
            for name, make, method, request, response in (
                ("Execute", unary, execute, pb.ExecuteRequest, pb.ExecuteResponse),
                ("ExecuteStream", stream, execute_stream, pb.ExecuteRequest, pb.StreamResponse),
                ("ExecuteInSession", unary, execute, pb.SessionRequest, pb.ExecuteResponse),
                (
                    "ExecuteInSessionStream",
                    stream,
                    execute_stream,
                    pb.SessionRequest,
                    pb.StreamResponse,
                ),
                ("Health", unary, self._health, pb.HealthRequest, pb.HealthResponse),
                ("GetInfo", unary, self._get_info, pb.InfoRequest, pb.InfoResponse),
            )
        }

    def _execute(self, request, rpc):
        call = self._open(request, rpc)
        reply = pb.ExecuteResponse()
        try:
            if _ends_session(request) and not request.command:
                return self._end_session(request)
            args = self._begin(call, request)
            result = self._worker.registry.call(request.command, args, call.context)
            self._put(reply, request, "result", result)
            reply.success = True
        except CallError as error:
            reply = pb.ExecuteResponse(**self._failure(error))
        finally:
            self._calls.end(call)
        reply.request_id = request.request_id
        reply.timestamp = time.time_ns()
        self._worker.count(reply.success)
        return reply

    def _execute_stream(self, request, rpc):
        call = self._open(request, rpc)
        index, is_counted = 0, False
        chunks = iter(())

        def count(succeeded):
            nonlocal is_counted
            if not is_counted:  # done before the last message, after which the pool may ask
                self._worker.count(succeeded)
            is_counted = True

        def message(**fields):
            return pb.StreamResponse(
                request_id=request.request_id, timestamp=time.time_ns(), chunk_index=index, **fields
            )

        try:
            args = self._begin(call, request)
            chunks = self._worker.registry.stream(request.command, args, call.context)
            for chunk, final in chunks:
                reply = message(is_final=final)
                if chunk is not NO_CHUNK:
                    self._put(reply, request, "chunk", chunk)
                if final:
                    break
                yield reply
                index += 1
            count(True)
            # Version 1 cannot tell an empty map from no chunk: PROTOCOL.md 4.5.2.
            if chunk is not NO_CHUNK and not (reply.chunk or reply.typed_chunk):
                reply.is_final = False
            # The handler has ended; sending the rest may take long.
            self._calls.end(call)
            yield reply
            if not reply.is_final:
                index += 1
                yield message(is_final=True)
        except CallError as error:
            count(False)
            self._calls.end(call)
            yield message(is_final=True, **self._failure(error))
        finally:
            # Reached also after a cancel, when grpc drops this generator.
            if hasattr(chunks, "close"):
                chunks.close()
            self._calls.end(call)
            count(False)

    def _end_session(self, request):
        """Ends a session and returns the reply. Raises CallError. PROTOCOL.md 6.11.9."""
        _check_session_id(request)
        self._worker.sessions.end(request.session_id)
        return pb.ExecuteResponse(
            request_id=request.request_id, timestamp=time.time_ns(), success=True
        )

    def _open(self, request, rpc):
        """The call of a request, which has arrived."""
        session_id = None
        if isinstance(request, pb.SessionRequest) and not request.end_session:
            if is_session_id(request.session_id) and not self._is_ending:
                session_id = request.session_id
        timeout_ms = request.timeout_ms
        left_s = rpc.time_remaining()
        if left_s is not None and timeout_ms >= 0:
            left_ms = int(left_s * 1000) or -1
            timeout_ms = min(timeout_ms, left_ms) if timeout_ms else left_ms
        context = self._worker.context(request.request_id, session_id, timeout_ms)
        return self._calls.open(context, rpc)

    def _begin(self, call, request):
        """The arguments of a call, once its turn has come. Raises CallError."""
        if self._is_ending:  # PROTOCOL.md 1.4.8
            raise CallError(CANCELLED, "the worker is ending", True)
        if isinstance(request, pb.SessionRequest):
            _check_session_id(request)
        if _ends_session(request):
            problem = "end_session excludes a command and a streaming method"
            raise CallError(INVALID_ARGUMENT, problem, True)
        # Decoded only now, since decoded arguments may take many times their size.
        self._calls.wait_for_turn(call)
        if call.context.cancelled:
            return {}  # the registry does not call the handler
        return self._arguments(request)

    def _arguments(self, request):
        if not request.typed_args:
            return self._arguments_of_map(request.args)
        if self._codec is None:
            raise CallError(INVALID_ARGUMENT, "typed_args needs python3-msgpack", True)
        try:
            args = self._codec.decode_args(request.typed_args)
        except DecodeError as error:
            problem = f"typed_args cannot be decoded: {printable(error)}"
            code = MESSAGE_TOO_LARGE if error.is_too_large else INVALID_ARGUMENT
            raise CallError(code, problem, True) from None
        if type(args) is not dict:
            problem = f"typed_args must be a map, not {type(args).__name__}"
            raise CallError(INVALID_ARGUMENT, problem, True)
        return args

    def _arguments_of_map(self, args):
        if not args:
            return {}
        size = sum(map(len, args.values())) + sum(map(len, args)) + len(args)
        try:
            if size >= self._smallest_to_check:
                check_map(args.items(), self._max_decoded_bytes)
            return {key: from_map_bytes(value) for key, value in args.items()}
        except OverBudget as error:
            problem = printable(error)
        except MemoryError:
            problem = f"out of memory for a message of {size} bytes"
        raise CallError(MESSAGE_TOO_LARGE, f"args cannot be decoded: {problem}", True)

    def _put(self, reply, request, name, value):
        """Sets the result or chunk of a reply, in the request's form. Raises CallError."""
        limit = self.max_message_bytes
        try:
            if request.typed_args:
                limit = self._send_limit
                setattr(reply, "typed_" + name, self._codec.encode_value(value))
            else:
                target = getattr(reply, name)
                for key, data in to_map(value).items():
                    target[key] = data
        except EncodeError as error:
            raise CallError(
                HANDLER_FAILED, f"the result cannot be encoded: {printable(error)}"
            ) from None
        # Room for the other fields; one of them is the caller's own request_id.
        size = reply.ByteSize() + 4 * len(request.request_id) + 64
        if size > limit:
            raise CallError(
                MESSAGE_TOO_LARGE, f"a result of {size} bytes is over the message limit of {limit}"
            )

    def _failure(self, error):
        """The fields that report an error; its text is cut to fit the limit."""
        return {
            "error": error.text[: self._send_limit // 8],
            "code": error.code,
            "did_not_run": error.did_not_run,
        }

    def _health(self, _request, _rpc):
        return pb.HealthResponse(
            **self._worker.health(), active_request_ids=self._calls.running_ids()
        )

    def _get_info(self, request, rpc):
        worker = self._worker
        info = worker.info(self.max_message_bytes)
        if not request.include_capabilities:
            del info["capabilities"]
        if not request.include_stats:
            del info["stats"]
        reply = pb.InfoResponse(**info)
        if request.protocol_version >= 2 and self._codec is not None:
            limit = request.max_message_bytes or self.max_message_bytes
            if not MIN_MESSAGE_LIMIT <= limit <= MAX_MESSAGE_LIMIT:
                rpc.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"max_message_bytes must be from {MIN_MESSAGE_LIMIT} to {MAX_MESSAGE_LIMIT}",
                )
            self._send_limit = min(limit, self.max_message_bytes)
            reply.protocol_version = 2
            reply.features.extend(f for f in FEATURES if f in request.features)
            reply.capacity = worker.capacity
            reply.max_message_bytes = self.max_message_bytes
            reply.worker_id = worker.worker_id
        return reply


def _ends_session(request):
    return isinstance(request, pb.SessionRequest) and request.end_session


def _check_session_id(request):
    if not is_session_id(request.session_id):
        raise CallError(INVALID_ARGUMENT, BAD_SESSION_ID, True)


class _Call:
    """A call that waits for its turn or runs."""

    __slots__ = ("context", "running")

    def __init__(self, context):
        self.context = context
        self.running = False


class _CallsInProgress:
    """The calls from their arrival until their replies are sent, and their order.

    Thread-safe. At most `capacity` handlers run at a time, first come, first served.
    """

    def __init__(self, capacity):
        self._changed = threading.Condition()
        self._free = capacity
        self._waiting = deque()
        self._running = set()
        self._arrived = 0

    def arrive(self):
        """Counts one more reason not to stop."""
        with self._changed:
            self._arrived += 1

    def leave(self, *_):
        """Counts one reason less."""
        with self._changed:
            self._arrived -= 1
            if self._arrived == 0:
                self._changed.notify_all()

    def wait_until_idle(self, timeout_s):
        """Blocks until there is no such reason, or for that many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._arrived == 0, timeout_s)

    def open(self, context, rpc):
        """A new call, which has arrived. The server must end() it."""
        call = _Call(context)

        def terminated():
            # Runs after every RPC. A call that has ended cannot be cancelled any more.
            context.cancel()
            with self._changed:
                if self._waiting:
                    self._changed.notify_all()
            self.leave()

        self.arrive()
        if not rpc.add_callback(terminated):
            terminated()
        return call

    def wait_for_turn(self, call):
        """Blocks until the handler may run or the call is cancelled.

        The registry does not call the handler of a cancelled call.
        """
        with self._changed:
            if self._free == 0 or self._waiting:
                self._waiting.append(call)
                self._changed.wait_for(
                    lambda: call.context.cancelled or (self._free > 0 and self._waiting[0] is call)
                )
                self._waiting.remove(call)
                # Wakes the next call, which may be the first now.
                self._changed.notify_all()
            # Health lists the call from here on. A cancel before this point is seen below, so a
            # call that Health does not list never begins: PROTOCOL.md 6.11.6.
            if not call.context.cancelled:
                self._free -= 1
                call.running = True
                self._running.add(call)

    def end(self, call):
        """Records that the handler of a call has ended. Idempotent."""
        call.context.end()
        with self._changed:
            if call.running:
                call.running = False
                self._running.discard(call)
                self._free += 1
                if self._waiting:
                    self._changed.notify_all()

    def running_ids(self):
        """The request ids, where given, of the calls whose handlers run; sorted."""
        with self._changed:
            ids = [call.context.request_id for call in self._running]
        return sorted(request_id for request_id in ids if request_id)


class _CallThreads(ThreadPoolExecutor):
    """The threads for calls. A call counts as in progress from its arrival on."""

    def __init__(self, count, calls):
        super().__init__(count, "call")
        self._calls = calls

    def submit(self, *args, **kwargs):
        """Called by grpc when a call has arrived."""
        self._calls.arrive()
        future = super().submit(*args, **kwargs)
        future.add_done_callback(self._calls.leave)
        return future
