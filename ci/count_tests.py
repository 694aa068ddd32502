"""Counts the test targets of a `bazel test` by its build events.

Usage: count_tests.py EVENTS STATUS

EVENTS is what --build_event_json_file wrote, STATUS the exit status of Bazel. The last line is
"N passed, N failed"; a test that was not built or not run has failed. Exits with 0 only when
Bazel did and all tests passed, and there was one at least.
"""

import json
import sys


def read_results(path):
    """Returns the overall status of each test target, by its label."""
    results = {}
    with open(path, encoding="utf-8") as events:
        for line in events:
            event = json.loads(line)
            identity = event.get("id", {})
            # Each target announces itself; a test that cannot be built has no summary.
            configured = event.get("configured", {})
            if configured.get("testSize"):
                results.setdefault(identity["targetConfigured"]["label"], "NO_STATUS")
            if "testSummary" in event:
                label = identity["testSummary"]["label"]
                results[label] = event["testSummary"]["overallStatus"]
    return results


def main():
    path, status = sys.argv[1], int(sys.argv[2])
    results = read_results(path)
    failed = sorted(label for label, result in results.items() if result != "PASSED")
    for label in failed:
        print(f"failed: {label}: {results[label]}")
    if status != 0 and not failed:
        print(f"failed: bazel itself, with exit status {status}")
    passed = len(results) - len(failed)
    failures = len(failed) or int(status != 0 or not results)
    print(f"{passed} passed, {failures} failed")
    return status or int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
