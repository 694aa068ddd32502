"""A worker with one switchable bug, each of which the judge has to find.

Start: python3 mutant_worker.py --bug NAME --transport stdio|grpc [--socket PATH]

With the bug `none` it passes every case: it speaks protocol 2, takes four calls at a
time and has the fixture commands. It is made of frames and messages alone, since the SDK
does not let a worker have most of these bugs.
"""

import argparse
import os
import sys

from mutant_commands import Commands

REFUSED_START_EXIT_CODE = 3

BUGS = {
    "none": "",
    "wrong-echo": "ping echoes other arguments than it got",
    "no-status": "ping has no status, once the worker is ready",
    "exits-after-100": "the worker ends after a hundred calls",
    "unknown-is-success": "an unknown command succeeds with an empty result",
    "unknown-is-a-failure": "an unknown command fails like any other",
    "exits-at-unknown": "an unknown command ends the worker",
    "swaps-chunks": "the second and the third chunk change places",
    "drops-a-chunk": "of a long stream, a chunk is never sent",
    "empty-has-a-chunk": "a stream of nothing has a chunk",
    "early-final": "the last chunk but one is final",
    "collects-chunks": "the chunks are sent when all are there",
    "unary-gives-no-chunk": "a command that does not stream gives no chunk",
    "exits-after-stream": "the call after a stream ends the worker",
    "starts-once": "a worker that is replaced does not start again",
    "starts-five-times": "a worker starts five times and not again",
    "runs-ahead": "a handler does not wait until its chunks can be sent",
    "swallows-stream-errors": "a stream that fails ends as if it had not",
    "health-without-figures": "health says that it is healthy, and no more",
    "counts-twice": "each call that ends is counted twice",
    "silent-while-busy": "health is answered when no handler runs",
    "tells-no-handler": "no handler learns that its call was given up",
    "never-ends-cancelled": "a call that was cancelled never ends",
    "hides-deadline": "no handler sees the time limit of its call",
    "deadline-in-seconds": "a handler sees seconds for milliseconds",
    "one-at-a-time": "a second handler waits for the first, despite the capacity",
    "swaps-replies": "of calls at the same time, one gets what is another's",
    "keeps-no-state": "a session is new in each of its calls",
    "shares-state": "all sessions have one state",
    "never-forgets": "the end of a session is ignored",
    "forgets-all": "the end of a session ends all",
    "bytes-become-text": "bytes that are UTF-8 come back as text",
    "text-becomes-json": "text that is JSON comes back as what the JSON says",
    "integers-become-doubles": "integers come back as doubles",
    "forgets-nan-payload": "a NaN comes back as another",
    "hides-exception-type": "an exception of a handler is told without its type",
    "exits-at-exception": "an exception of a handler ends the worker",
    "unencodable-is-null": "a result that cannot be encoded is sent as null",
    "exits-at-unencodable": "a result that cannot be encoded ends the worker",
    "asks-no-token": "gRPC: the token is not looked at",
    "health-asks-no-token": "gRPC: only calls need the token",
    "takes-part-of-token": "gRPC: a part of the token will do",
    "runs-and-then-refuses": "gRPC: the token is looked at when the call has run",
    "refusal-tells-token": "gRPC: the refusal says which token is the right one",
    "logs-token": "gRPC: the token is written to stderr",
    "token-in-command-line": "gRPC: the token is in the command line of the worker",
    "loses-version": "the version is left out of what the worker agrees to",
    "lists-what-it-lacks": "streams that are listed are UNIMPLEMENTED",
    "banner-on-stdout": "stdio: a line of text comes before the first frame",
    "ignores-preferred": "stdio: the first codec offered is taken, not the preferred one",
    "exits-at-unknown-codec": "stdio: an offer with a codec that it does not know is refused",
    "takes-any-codec": "stdio: an offer without its codecs is answered with json",
    "exit-0-after-refusal": "stdio: a refused offer is no failure of the process",
    "reads-any-offer": "stdio: an offer that breaks its clause is taken for a usual one",
    "always-says-version": "stdio: the answer has a version where none was offered",
    "no-timestamp": "stdio: replies of version 1 have no timestamp",
    "echoes-version": "stdio: the answer has the version of the offer",
    "all-features": "stdio: the answer has features that were not offered",
    "capacity-zero": "stdio: the answer has a capacity of 0",
    "needs-handshake": "stdio: a request that comes first is not answered",
    "answers-in-json": "stdio: everything is answered in JSON",
    "exits-at-bad-first-frame": "stdio: a first frame that cannot be read ends the worker",
    "refuses-unknown-members": "stdio: messages with a member that it does not know are refused",
    "one-read-one-frame": "stdio: each read is taken for one frame",
    "one-frame-a-read": "stdio: what comes behind the first frame of a read is lost",
    "needs-a-socket": "stdio: the input is read as a socket",
    "exits-at-empty-frame": "stdio: a frame without a payload ends the worker",
    "exits-at-bad-frame": "stdio: a payload that cannot be decoded ends the worker",
    "logs-bad-frames": "stdio: a payload that cannot be decoded is not answered",
    "ignores-non-maps": "stdio: a payload that is no map is not answered",
    "forgets-readable-id": "stdio: the refusal of a bad request has no id",
    "echoes-any-id": "stdio: the refusal of a bad request has an id that is no integer",
    "runs-duplicate-id": "stdio: a request with the id of a call in flight is run",
    "waits-for-oversized": "stdio: a frame over the limit is awaited",
    "silent-at-oversized": "stdio: a frame over the limit is not answered",
    "exit-0-at-oversized": "stdio: a frame over the limit ends the worker in good order",
    "reserves-by-claim": "stdio: memory is taken by the length that a frame claims",
    "exit-0-in-frame": "stdio: an input that ends within a frame is no failure",
    "runs-cut-frame": "stdio: a request whose frame is cut is run",
    "answers-unknown-types": "stdio: a message of an unknown type is answered",
    "null-is-absent": "stdio: a member that is null counts as absent",
    "takes-bad-members": "stdio: members of requests are not checked",
    "falls-back-to-json": "stdio: JSON is taken on a connection in MessagePack",
    "takes-nan-tokens": "stdio: NaN is taken for JSON",
    "takes-lone-surrogates": "stdio: half a surrogate pair is taken for text",
    "replies-twice": "stdio: each reply is sent twice",
    "heartbeats": "stdio: a message that answers nothing follows each reply",
    "ignores-bad-queries": "stdio: a query with a bad id is not answered",
    "ignores-eof": "stdio: the worker outlives its input",
    "exit-1-at-eof": "stdio: the end of the input is a failure",
    "drops-calls-at-eof": "stdio: calls in progress are lost at the end of the input",
    "forgets-queued-at-eof": "stdio: calls that wait are lost at the end of the input",
    "ignores-sigterm": "stdio: SIGTERM has no effect",
    "exits-at-sigterm": "stdio: SIGTERM ends the worker at once",
    "runs-queued-after-sigterm": "stdio: calls that wait are begun after SIGTERM",
    "loses-queued-at-sigterm": "stdio: calls that wait get no reply after SIGTERM",
    "ignores-environment": "stdio: SNAKEPIT_MAX_FRAME_BYTES is not looked at",
    "ignores-pool-limit": "stdio: replies may be over the limit of the pool",
    "error-over-limit": "stdio: the text of an error is not cut",
    "limit-off-by-one": "stdio: a frame of the limit itself is refused",
    "wrong-chunk-id": "stdio: one chunk of many has another id",
    "success-on-chunks": "stdio: chunks have the member success",
    "index-from-1": "stdio: the first chunk has the index 1",
    "chunk-after-final": "stdio: a chunk comes after the last message",
    "error-index-0": "stdio: the error of a stream has the index 0",
    "unary-success": "stdio: a command that does not stream answers with a success",
    "ignores-credit": "stdio: chunks are sent without credit",
    "credit-in-chunks": "stdio: credit is counted in chunks",
    "final-needs-credit": "stdio: the end of a stream waits for credit",
    "answers-late-credit": "stdio: credit for a call that has ended is answered",
    "waits-for-credit-at-eof": "stdio: a stream awaits credit after the end of the input",
    "chunk-after-cancel": "stdio: one more chunk is sent after the cancellation",
    "runs-cancelled-queue": "stdio: a call that was cancelled while it waited is run",
    "answers-late-cancel": "stdio: a cancellation of a call that has ended is answered",
    "two-last-messages": "stdio: a cancelled call ends twice",
    "counts-queries": "health checks are counted as calls",
    "counts-no-refusals": "an unknown command is not counted",
    "uptime-in-seconds": "the uptime is in seconds",
    "streams-nothing": "all streams are UNIMPLEMENTED, despite the feature",
}

# Liberties that a worker may take: no case may fail it for one.
LIBERTIES = {
    "version-1": "the worker speaks version 1",
    "json-alone": "stdio: the worker has no MessagePack",
    "no-sessions": "the worker lacks the feature `session`",
    "no-streams": "the worker lacks the feature `stream`",
    "ping-without-echo": "ping has a status, and no more",
    "ignores-interval": "ping_stream sends its chunks at once",
    "tells-streams-apart": "version 1, and ping is no stream",
}


def refuse_start_after(starts):
    """Ends this process if it is one too many of its worker in this case of the judge."""
    name = "mutant-%s-%s" % (
        os.environ.get("SNAKEPIT_CONFORMANCE_CASE", "case"),
        os.environ.get("SNAKEPIT_WORKER_ID", "0"),
    )
    with open(os.path.join(os.environ.get("TMPDIR", "/tmp"), name), "ab") as file:
        file.write(b".")
        file.flush()
        if file.tell() > starts:
            print("this worker does not start again", file=sys.stderr)
            sys.exit(REFUSED_START_EXIT_CODE)


def show_token(bug):
    """Reveals the token, if that is the bug."""
    token = os.environ.get("SNAKEPIT_TOKEN", "")
    if bug == "logs-token":
        print(f"the token is {token}", file=sys.stderr, flush=True)
    if bug == "token-in-command-line" and token not in sys.argv:
        os.execv(sys.executable, [sys.executable, "-B", *sys.argv, "--note", token])


def main():
    parser = argparse.ArgumentParser(description="A worker with one bug.")
    parser.add_argument("--bug", choices=[*BUGS, *LIBERTIES], required=True)
    parser.add_argument("--transport", choices=["stdio", "grpc"], default="stdio")
    parser.add_argument("--socket", help="of gRPC: where to listen")
    parser.add_argument("--note", help="ignored")
    options = parser.parse_args()
    if options.transport == "grpc" and not options.socket:
        parser.error("--transport grpc needs --socket")
    if options.bug == "starts-once":
        refuse_start_after(1)
    if options.bug == "starts-five-times":
        refuse_start_after(5)
    commands = Commands(options.bug)
    if options.transport == "grpc":
        from mutant_grpc import serve

        show_token(options.bug)
        serve(commands, options.socket)
    else:
        from mutant_stdio import serve

        serve(commands)


if __name__ == "__main__":
    main()
