"""The legacy v1 worker: stdio, JSON, and no idea of a negotiation.

Start: python3 v1_bridge.py --mode pool-worker
"""

import argparse
import os
import sys

# Python resolves a symbolic link for its own idea of the script's folder; the
# neighbours are where the link is.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import legacy_stdio  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="pool-worker")
    parser.parse_args()
    legacy_stdio.end_at_once_on_sigterm()
    commands = legacy_stdio.Commands(version="1.0.0")
    return legacy_stdio.serve(
        legacy_stdio.JsonCodec(), lambda request: legacy_stdio.answer(commands, request)
    )


if __name__ == "__main__":
    sys.exit(main())
