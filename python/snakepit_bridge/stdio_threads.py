"""The threads that read a connection and run its calls. PROTOCOL.md 6.2 and 6.8.

The main thread reads, runs and answers a call that takes microseconds, since a hop to another
thread costs several times as much. But some thread must read while a handler runs: the pool may
cancel the call, grant it credit, or send another call. A second thread, the standby, waits for
input while a handler runs. It takes the reading over if the handler takes longer than TAKEOVER_S.
From then on the standby hands calls to other threads. At most `capacity` threads run calls, the
main thread among them. Once no call is in flight, the main thread reads again.

With a capacity of 1 all handlers run on the main thread. An idle connection wakes no thread.
"""

import os
import select
import signal
import sys
import time
from _queue import SimpleQueue
from _thread import allocate_lock, start_new_thread
from collections import deque

# Time that a handler may run before the standby takes the reading over. Short concurrent calls are
# quicker one after the other.
TAKEOVER_S = 0.002
# Limits of the queue of requests beyond the capacity; further ones are turned away. The bytes are
# also limited to those of one frame. Queued requests are decoded, which may take 100 times as much.
MAX_WAITING_CALLS = 1024
MAX_WAITING_BYTES = 8 << 20
# The most replies that wait for the writer thread; the standby writes further ones itself.
MAX_UNWRITTEN_REPLIES = 1024

_FOR_MAIN_THREAD = (signal.SIGTERM, signal.SIGALRM)

# epoll masks that tell the standby of input, or not. One-shot: the main thread has to ask again.
_NOTIFY_ONCE = select.EPOLLIN | select.EPOLLONESHOT
_MUTED = select.EPOLLONESHOT


class _Seat:
    """The place at which a thread that runs calls waits for its next call."""

    __slots__ = ("call", "given")

    def __init__(self):
        self.call = None
        self.given = allocate_lock()
        self.given.acquire()


class Threads:
    """The threads of one connection.

    calls: interprets the frames, an object with these methods:
        receive(frame): interprets a frame. Returns a call to be run, a reply in bytes, or None.
        refusal(error): the reply, or None, to input that cannot be read any more.
        turn_away(call): the reply to a call that exceeds the queue's limits.
        run(call): runs a call and writes its chunks. Returns its last message, bytes.
        write(payload): writes a frame.
        input_ended(): called when no more frames will come.
        A call's `size` is that of its request in bytes. All methods but refusal and input_ended
        are called from any thread; receive by one thread at a time.
    """

    def __init__(self, connection, capacity, calls):
        self._connection = connection
        self._reader = connection.reader
        self._capacity = capacity
        self._calls = calls
        # Held by the thread that reads; passed between the main thread and the standby.
        self._reading = allocate_lock()
        # Number of frames that the main thread has begun to handle. The standby compares it before
        # and after TAKEOVER_S to see that one handler has kept the main thread busy.
        self._turn = 0
        self._kick_fd = os.eventfd(0)  # wakes the standby
        self._standby = select.epoll()
        self._standby.register(self._kick_fd, select.EPOLLIN)
        self._standby.register(connection.input_fd, _MUTED)
        # The lock guards the members below, which are used only while the standby reads.
        self._lock = allocate_lock()
        self._main_seat = _Seat()
        self._idle = []  # the seats of threads without a call; the last used is at the end
        self._threads = 1  # the number of threads that run calls
        self._waiting = deque()  # calls that no thread was free for
        self._waiting_bytes = 0
        self._max_waiting_bytes = min(connection.max_frame_bytes, MAX_WAITING_BYTES)
        self._unwritten = 0
        self._outgoing = None
        self._input_ended = False
        self._failure = None

    def run(self):
        """Reads and runs calls until the input ends or the worker is told to stop.

        Main thread only. Returns after all calls have ended and their replies are written. Raises
        the connection's error: OversizedFrame, TruncatedFrame or OSError.
        """
        connection, calls = self._connection, self._calls
        reader, reading = self._reader, self._reading
        read = reader.read
        receive, run, write = calls.receive, calls.run, calls.write
        watch, input_fd = self._standby.modify, connection.input_fd
        reading.acquire()
        if self._capacity > 1:
            # Imported on this thread, since threading takes its first importer for the main thread.
            import threading  # noqa: F401
        # SIGTERM must reach the main thread, which runs its handler: on another thread it would not
        # end a blocking call of the main thread. New threads inherit this mask.
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
            watch(input_fd, _NOTIFY_ONCE)
            if reader.start < reader.end:
                os.eventfd_write(self._kick_fd, 1)  # epoll does not report input that has been read
            reply = work if type(work) is bytes or work is None else run(work)
            if reply is not None:
                write(reply)
            # Done after the reply, so that the pool need not wait for it. The standby wakes up for
            # nothing if the next request has arrived by now.
            watch(input_fd, _MUTED)
            if not reading.acquire(False):
                self._run_calls(self._main_seat, None)
                if self._failure is not None:
                    raise self._failure
                if self._input_ended:
                    return
            connection.busy = False

    def withdraw(self, call):
        """Removes a queued call: True if its handler has not begun. Reading thread only."""
        with self._lock:
            try:
                self._waiting.remove(call)
            except ValueError:
                return False
            self._waiting_bytes -= call.size
            return True

    # The threads that run calls.

    def _run_calls(self, seat, call):
        """Runs calls. Returns when the main thread, the owner of the seat, is to read again."""
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
        """The body of a thread that runs calls, other than the main thread."""
        seat = _Seat()
        while True:
            try:
                self._run_calls(seat, call)
            except BaseException as error:
                # An error of the connection: a handler's exception never leaves its call.
                self._fail(error)
                call = None

    def _is_settled(self):
        # True if no call is in flight and no reply is still to be written.
        return len(self._idle) == self._threads and not self._waiting and self._unwritten == 0

    def _fail(self, error):
        """Records that the connection is broken; the main thread raises the error."""
        with self._lock:
            if self._failure is None:
                self._failure = error
        os.eventfd_write(self._kick_fd, 1)

    # The standby.

    def _stand_by(self):
        """Takes the reading over whenever a handler keeps the main thread busy."""
        try:
            while True:
                if any(fd == self._kick_fd for fd, _ in self._standby.poll()):
                    os.eventfd_read(self._kick_fd)
                turn = self._turn
                time.sleep(TAKEOVER_S)
                if self._turn == turn and self._reading.acquire(False):
                    self._read()
        except (
            BaseException
        ) as error:  # a bug in this file: without an exit the connection would hang
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
                    if self._return_reading():
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
                if self._return_reading():
                    return
                continue
            work = self._calls.receive(frame)
            if type(work) is bytes:
                self._write_later(work)
            elif work is not None:
                self._dispatch(work)

    def _return_reading(self):
        """Lets the main thread read again if nothing is in flight; True if so."""
        with self._lock:
            if not self._is_settled():
                return False
            self._idle.remove(self._main_seat)
            self._main_seat.given.release()
            return True

    def _end_input(self):
        self._input_ended = True
        self._calls.input_ended()

    def _dispatch(self, call):
        """Gives a call to a thread, queues it, or turns it away."""
        with self._lock:
            if self._give_to_idle(call):
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
        if not self._enqueue(call):
            self._write_later(self._calls.turn_away(call))

    def _give_to_idle(self, call):
        """Gives the call to an idle thread: True if there is one. The lock must be held."""
        if not self._idle:
            return False
        seat = self._idle.pop()
        seat.call = call
        seat.given.release()
        return True

    def _enqueue(self, call):
        """Queues the call until a thread is free: True if there is room. PROTOCOL.md 6.8.3."""
        with self._lock:
            if self._give_to_idle(call):  # a thread has become idle meanwhile
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
        """Leaves a reply to the writer thread, since the standby must go on reading."""
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
