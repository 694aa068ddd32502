"""The table of abilities, worker by worker and transport by transport, made by running.

    ./bazelw run //conformance:abilities > conformance/ABILITIES.md
    abilities.py --check FILE     exits with 1 if the file differs from the table of a run

Each ability stands for one case of the judge. A red case is exit code 1, too.
"""

import argparse
import concurrent.futures
import difflib
import json
import os
import subprocess
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
REPORT_SCHEMA_VERSION = 1
# Far longer than a run.
LIMIT_S = 280
SUBJECTS_AT_A_TIME = 2

STDIO_JSON = ["--transport", "stdio", "--codec", "json"]
STDIO_MSGPACK = ["--transport", "stdio", "--codec", "msgpack"]
GRPC = ["--transport", "grpc"]
SERVE_GRPC = ["--transport", "grpc", "--socket", "{socket}"]

ROOT = os.path.join(FOLDER, "..")
LEGACY = os.path.join(ROOT, "src", "testing", "legacy")
PYTHON_FIXTURE = os.path.join(ROOT, "python", "tests", "fixture_worker.py")
PYTHON_SDK = ["python_worker.sh", PYTHON_FIXTURE, "--capacity", "4"]
CPP_SDK = [os.path.join(ROOT, "src", "worker", "testing", "fixture_worker"), "--capacity", "4"]


def legacy(script, *arguments):
    return ["python_worker.sh", os.path.join(LEGACY, script), *arguments]


# The name, the judge's arguments, and the worker's command line, which begins in this folder.
SUBJECTS = [
    ("Python SDK, JSON", STDIO_JSON, PYTHON_SDK),
    ("Python SDK, MessagePack", STDIO_MSGPACK, PYTHON_SDK),
    ("Python SDK, gRPC", GRPC, [*PYTHON_SDK, *SERVE_GRPC]),
    ("C++ SDK, JSON", STDIO_JSON, CPP_SDK),
    ("C++ SDK, MessagePack", STDIO_MSGPACK, CPP_SDK),
    ("C++ SDK, gRPC", GRPC, [*CPP_SDK, *SERVE_GRPC]),
    ("legacy v1", STDIO_JSON, legacy("v1_bridge.py", "--mode", "pool-worker")),
    (
        "legacy v2, MessagePack",
        STDIO_MSGPACK,
        legacy("v2_bridge.py", "--mode", "pool-worker", "--protocol", "msgpack"),
    ),
    ("legacy js", STDIO_JSON, legacy("js_bridge.py", "--mode", "pool-worker")),
    ("legacy gRPC", GRPC, legacy("grpc_bridge.py", "--port", "{port}")),
]

# Each ability, and the case that judges it.
ABILITIES = [
    ("calls", "ping/roundtrip"),
    ("an unknown command is UNIMPLEMENTED", "err/unknown-command"),
    ("protocol version 2, with health", "ver/agreed"),
    ("values without loss", "fid/values"),
    ("a failure names its exception", "err/handler-exception"),
    ("a result that cannot be encoded fails its call alone", "err/unencodable-result"),
    ("streams", "str/order"),
    ("a stream that fails keeps its chunks", "str/error-mid"),
    ("the handler of a stream waits for its reader", "str/backpressure"),
    ("a call can be cancelled", "can/unary"),
    ("a stream can be cancelled", "can/mid-stream"),
    ("a cancellation that is late does no harm", "can/one-terminal"),
    ("a worker that ignores a cancellation is replaced", "can/ignored"),
    ("a deadline ends the call, and not the worker", "dl/unary"),
    ("a handler sees its deadline", "dl/visible"),
    ("several calls at a time on one worker", "con/capacity"),
    ("a slow call does not hold up quick ones", "con/out-of-order"),
    ("a stream without a reader holds up no other call", "con/stalled-stream"),
    ("health is answered while all handlers are busy", "con/health-while-busy"),
    ("a session's calls go to one worker", "ses/hint-prefers"),
    ("a worker keeps a session's state", "ses/state-kept"),
    ("sessions do not see each other's state", "ses/isolation"),
    ("a session can be ended", "ses/end"),
    ("a caller without the token is refused", "auth/refuses-missing"),
    ("the token is not visible", "auth/token-not-visible"),
    ("a lost worker is reported and replaced", "cra/kill9-mid-request"),
]

HEAD = """\
# What each transport can do

Made by `./bazelw run //conformance:abilities > conformance/ABILITIES.md`: the judge runs the case of
each row against each worker. A test compares the file with a run. The workers of the two SDKs take
four calls at a time. `conformance explain CASE` shows the requirement of a case.

- **yes**: the case passes.
- **no**: the worker speaks protocol version 1, and the case is one of version 2.
- **–**: the case does not apply. Tokens are for gRPC, since the descriptors of a stdio worker are
  private.

"""


class RedCase(Exception):
    """A run with a red case, which is no basis for a table."""


def judge(subject, folder):
    """The cells of a subject: one for each ability."""
    name, arguments, worker = subject
    command = [os.path.join(FOLDER, "conformance"), "run", *arguments, "--out", folder]
    for _, case in ABILITIES:
        command += ["--case", case]
    command += ["--", os.path.join(FOLDER, worker[0]), *worker[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode != 0:
        raise RedCase(f"{name}:\n{done.stdout}{done.stderr}")
    with open(os.path.join(folder, "report.json"), encoding="utf-8") as file:
        report = json.load(file)
    if report["schema_version"] != REPORT_SCHEMA_VERSION:
        raise RedCase(f"{name}: report.json has another schema")
    cells = {case["id"]: cell(case) for case in report["cases"]}
    return [cells[case] for _, case in ABILITIES]


def cell(case):
    if case["status"] == "pass":
        return "yes"
    is_version_1 = case["observed"].startswith("protocol version 1")
    return "no" if is_version_1 else "–"


def table():
    """The whole text of ABILITIES.md."""
    with tempfile.TemporaryDirectory() as folder:
        folders = [os.path.join(folder, str(i)) for i in range(len(SUBJECTS))]
        with concurrent.futures.ThreadPoolExecutor(SUBJECTS_AT_A_TIME) as executor:
            columns = list(executor.map(judge, SUBJECTS, folders))
    lines = ["| ability | case |" + "".join(f" {name} |" for name, _, _ in SUBJECTS)]
    lines.append("|---|---|" + ":-:|" * len(SUBJECTS))
    for row, (ability, case) in enumerate(ABILITIES):
        cells = "".join(f" {column[row]} |" for column in columns)
        lines.append(f"| {ability} | `{case}` |{cells}")
    return HEAD + "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Prints the table of abilities.")
    parser.add_argument("--check", metavar="FILE", help="compare with it instead")
    options = parser.parse_args()
    try:
        made = table()
    except RedCase as error:
        sys.exit(f"abilities: {error}")
    if options.check is None:
        sys.stdout.write(made)
        return
    with open(options.check, encoding="utf-8") as file:
        kept = file.read()
    if kept != made:
        difference = difflib.unified_diff(
            kept.splitlines(), made.splitlines(), options.check, "this run", lineterm=""
        )
        sys.exit("\n".join([*difference, "abilities: make the file anew; see its head"]))


if __name__ == "__main__":
    main()
