"""A worker with one switchable bug, each of which the judge has to find.

Start: python3 mutant_worker.py --bug NAME --transport stdio|grpc [--socket PATH]

With the bug `none` it passes every case: it speaks protocol 2, takes four calls at a
time and has the fixture commands. It is made of frames and messages alone, since the SDK
does not let a worker have most of these bugs. On stdio it speaks JSON.
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
    "streams-nothing": "all streams are UNIMPLEMENTED, despite the feature",
}

# Liberties that a worker may take: no case may fail it for one.
LIBERTIES = {
    "version-1": "the worker speaks version 1",
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
