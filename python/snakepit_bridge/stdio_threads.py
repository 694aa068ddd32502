"""Which thread reads a connection, and which run its calls. PROTOCOL.md 6.2 and 6.8.

A call that takes microseconds is read, run and answered by the main thread, since a hop to
another thread costs several times as much. But while a handler runs, someone must read: the
pool may cancel it, grant it credit, or send another call. So a second thread, the standby,
waits for what comes while a handler runs, and when the handler then takes longer than a
moment, it takes the reading over. From then on it hands calls to threads of their own, at
most as many as the worker's capacity with the main thread among them, until no call is in
flight; then the main thread reads again.

With a capacity of 1 all handlers run on the main thread. While nothing comes, nobody wakes up.
"""

import os
import select
import signal
import sys
import time
from _queue import SimpleQueue
from _thread import allocate_lock, start_new_thread
from collections import deque

# How long a handler may go on before the standby reads in place of the main thread. Short calls
# that many callers make at once are quicker one after the other.
MOMENT_S = 0.002
# Requests beyond the capacity that are kept, and their bytes, at most those of a frame; what comes
# then is turned away. They are decoded by then, and may take a hundred times as much.
MAX_WAITING_CALLS = 1024
MAX_WAITING_BYTES = 8 << 20
# Replies that the standby has given to others to write; then it writes itself.
MAX_UNWRITTEN_REPLIES = 1024

_FOR_MAIN_THREAD = (signal.SIGTERM, signal.SIGALRM)

# Whether the standby is told of input. Once: then the main thread has to ask again.
_TELL = select.EPOLLIN | select.EPOLLONESHOT
_DO_NOT_TELL = select.EPOLLONESHOT


class _Seat:
    """Where a thread that runs calls waits for the next."""

    __slots__ = ("call", "given")

    def __init__(self):
        self.call = None
        self.given = allocate_lock()
        self.given.acquire()


class Threads:
    """The threads of one connection.

    calls: what the frames mean, an object with these methods:
        receive(frame): takes a frame in; what it asks for: a call to be run, bytes to be
            written as the reply, or None.
        refusal(error): the reply, or None, to frames that cannot be read any more.
        turn_away(call): the reply to a call that is one too many.
        run(call): runs it, and writes its chunks; its last message, bytes to be written.
        write(payload): writes a frame.
        input_ended(): no more frames will come.
        A call's `size` is that of its request in bytes. All but refusal and input_ended
        may be called from any thread, receive from one at a time.
    """

    def __init__(self, connection, capacity, calls):
        self._connection = connection
        self._reader = connection.reader
        self._capacity = capacity
        self._calls = calls
        # Held by whoever reads; passed on between the main thread and the standby.
        self._reading = allocate_lock()
        # The frames that the main thread has begun to deal with: whether it is the same one
        # still, after a moment, is what the standby goes by.
        self._turn = 0
        self._kick_fd = os.eventfd(0)  # wakes the standby
        self._standby = select.epoll()
        self._standby.register(self._kick_fd, select.EPOLLIN)
        self._standby.register(connection.input_fd, _DO_NOT_TELL)
        # What follows is guarded by this lock, and means something while the standby reads.
        self._lock = allocate_lock()
        self._main_seat = _Seat()
        self._idle = []  # the seats of threads without a call, the one used last at the end
        self._threads = 1  # those that run calls
        self._waiting = deque()  # calls that no thread was free for
        self._waiting_bytes = 0
        self._max_waiting_bytes = min(connection.max_frame_bytes, MAX_WAITING_BYTES)
        self._unwritten = 0
        self._outgoing = None
        self._input_ended = False
        self._failure = None

    def run(self):
        """Reads and runs calls until the input ends or the worker is told to stop.

        To be called by the main thread. Returns when all calls have ended, their replies
        written. Raises what went wrong with the connection.
        """
        connection, calls = self._connection, self._calls
        reader, reading = self._reader, self._reading
        read = reader.read
        receive, run, write = calls.receive, calls.run, calls.write
        tell, input_fd = self._standby.modify, connection.input_fd
        reading.acquire()
        if self._capacity > 1:
            # Here, since the thread that imports it first is what it takes for the main one.
            import threading  # noqa: F401
        # SIGTERM is to reach the main thread, whose handlers it is for: no other thread would wake
        # that from a wait. Threads have the mask of the one that starts them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_MAIN_THREAD)
        start_new_thread(self._stand_by, ())
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        while not connection.stopping:
            try:
                frame = read()
            except Exception as error:
                reply = calls.refusal(error)
                if reply is not None:
                    write(reply)
                raise
            if frame is None:
                return
            connection.busy = True
            work = receive(frame)
            self._turn += 1
            reading.release()
            tell(input_fd, _TELL)
            if reader.start < reader.end:
                os.eventfd_write(self._kick_fd, 1)  # what has been read is not told of
            reply = work if type(work) is bytes or work is None else run(work)
            if reply is not None:
                write(reply)
            # After the reply, so that the pool need not wait for it. Should the next request be
            # there already, the standby wakes up for nothing.
            tell(input_fd, _DO_NOT_TELL)
            if not reading.acquire(False):
                self._run_calls(self._main_seat, None)
                if self._failure is not None:
                    raise self._failure
                if self._input_ended:
                    return
            connection.busy = False

    def withdraw(self, call):
        """Whether the call had not been begun, and now never is. For the thread that reads."""
        with self._lock:
            try:
                self._waiting.remove(call)
            except ValueError:
                return False
            self._waiting_bytes -= call.size
            return True

    # The threads that run calls.

    def _run_calls(self, seat, call):
        """Runs calls; returns when the main thread, whose seat it then is, is to read."""
        while True:
            if call is not None:
                self._calls.write(self._calls.run(call))
            with self._lock:
                if self._waiting:
                    call = self._waiting.popleft()
                    self._waiting_bytes -= call.size
                    continue
                self._idle.append(seat)
                settled = self._is_settled()
            if settled:
                os.eventfd_write(self._kick_fd, 1)
            seat.given.acquire()
            call = seat.call
            if call is None:
                return
            seat.call = None

    def _run_calls_aside(self, call):
        """What a thread beside the main one does."""
        seat = _Seat()
        while True:
            try:
                self._run_calls(seat, call)
            except BaseException as error:
                # The connection: no handler's exception comes out of a call.
                self._fail(error)
                call = None

    def _is_settled(self):
        # No call is in flight, and no reply under way.
        return len(self._idle) == self._threads and not self._waiting and self._unwritten == 0

    def _fail(self, error):
        """The connection is of no use any more; the main thread is to say so."""
        with self._lock:
            if self._failure is None:
                self._failure = error
        os.eventfd_write(self._kick_fd, 1)

    # The standby.

    def _stand_by(self):
        """Takes the reading over whenever a handler keeps the main thread from it."""
        try:
            while True:
                if any(fd == self._kick_fd for fd, _ in self._standby.poll()):
                    os.eventfd_read(self._kick_fd)
                turn = self._turn
                time.sleep(MOMENT_S)
                if self._turn == turn and self._reading.acquire(False):
                    self._read()
        except BaseException as error:  # a fault of this file: the connection would hang
            sys.__excepthook__(type(error), error, error.__traceback__)
            os._exit(1)

    def _read(self):
        """Reads in place of the main thread until nothing is in flight."""
        input_fd, kick_fd = self._connection.input_fd, self._kick_fd
        poll = select.poll()
        poll.register(kick_fd, select.POLLIN)
        poll.register(input_fd, select.POLLIN)
        while True:
            if self._input_ended or self._reader.start == self._reader.end:
                if any(fd == kick_fd for fd, _ in poll.poll()):
                    os.eventfd_read(kick_fd)
                    if self._failure is not None and not self._input_ended:
                        poll.unregister(input_fd)
                        self._end_input()
                    if self._give_back():
                        return
                    continue
            frame = None
            try:
                frame = self._reader.read()
            except Exception as error:
                reply = self._calls.refusal(error)
                if reply is not None:
                    self._write_later(reply)
                with self._lock:
                    self._failure = self._failure or error
            if frame is None:
                poll.unregister(input_fd)
                self._end_input()
                if self._give_back():
                    return
                continue
            work = self._calls.receive(frame)
            if type(work) is bytes:
                self._write_later(work)
            elif work is not None:
                self._hand_on(work)

    def _give_back(self):
        """Has the main thread read again, if all is settled."""
        with self._lock:
            if not self._is_settled():
                return False
            self._idle.remove(self._main_seat)
            self._main_seat.given.release()
            return True

    def _end_input(self):
        self._input_ended = True
        self._calls.input_ended()

    def _hand_on(self, call):
        """Gives a call to a thread, or keeps it until one is free."""
        with self._lock:
            if self._give(call):
                return
            may_start = self._threads < self._capacity
            if may_start:
                self._threads += 1
        if may_start:
            from threading import Thread

            try:
                Thread(target=self._run_calls_aside, args=(call,), daemon=True).start()
                return
            except RuntimeError:  # the system has no more threads
                with self._lock:
                    self._threads -= 1
        if not self._keep(call):
            self._write_later(self._calls.turn_away(call))

    def _give(self, call):
        """Whether a thread was idle, which has the call now. With the lock."""
        if not self._idle:
            return False
        seat = self._idle.pop()
        seat.call = call
        seat.given.release()
        return True

    def _keep(self, call):
        """Whether the call is kept until a thread is free. PROTOCOL.md 6.8.3."""
        with self._lock:
            if self._give(call):  # one has become idle since
                return True
            in_flight = self._threads - len(self._idle) + len(self._waiting)
            if in_flight >= self._capacity and (
                len(self._waiting) >= MAX_WAITING_CALLS
                or self._waiting_bytes >= self._max_waiting_bytes
            ):
                return False
            self._waiting.append(call)
            self._waiting_bytes += call.size
            return True

    def _write_later(self, payload):
        """Has a reply written by another thread, since the reading must go on."""
        with self._lock:
            is_room = self._unwritten < MAX_UNWRITTEN_REPLIES
            if is_room:
                self._unwritten += 1
        if not is_room:
            self._calls.write(payload)
            return
        if self._outgoing is None:
            self._outgoing = SimpleQueue()
            start_new_thread(self._write_replies, ())
        self._outgoing.put(payload)

    def _write_replies(self):
        while True:
            payload = self._outgoing.get()
            try:
                self._calls.write(payload)
            except OSError as error:
                self._fail(error)
            with self._lock:
                self._unwritten -= 1
                settled = self._is_settled()
            if settled:
                os.eventfd_write(self._kick_fd, 1)
