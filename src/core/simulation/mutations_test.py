"""The simulator finds every mutation of the core, with the seeds that MUTATIONS.md says.

`bazelw run //src/core/simulation:write_mutations` writes that file anew.
"""

import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import unittest

from src.core.simulation.mutate import read_mutations

FOLDER = "src/core/simulation"
MOST_SEEDS = 20_000
HEAD = """# Mutations of the core, and the seeds that find them

Each mutation is a bug that is planted in the core's source (`mutations.bzl`). The simulator runs
seeds from 1 on until it sees a violation. Then it shortens the thousand steps of that seed to those
that are needed. `./bazelw run //src/core/simulation:write_mutations` writes this table, and
`mutations_test` compares it with the code.

| mutation | the bug | seeds | steps of its trace | the violation |
|---|---|---|---|---|
"""


def find(mutation):
    """The row of the table for a mutation."""
    run = subprocess.run(
        [f"{FOLDER}/mutant_{mutation['name']}", "--seeds", str(MOST_SEEDS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    seen = re.match(r"seed \d+: (.*)\n", run.stdout)
    seeds = re.search(r"It was seed (\d+) of this run", run.stdout)
    steps = re.search(r"(\d+) steps are enough", run.stdout)
    row = f"| {mutation['name']} | {mutation['what']} | "
    if run.returncode < 0:
        name = signal.Signals(-run.returncode).name
        return row + f"not found | | the mutant itself crashed: {name} |"
    if run.returncode != 1 or not (seen and seeds and steps):
        return row + f"not found | | exit {run.returncode} |"
    return row + f"{seeds[1]} | {steps[1]} | {seen[1]} |"


def table():
    mutations = read_mutations(f"{FOLDER}/mutations.bzl")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return HEAD + "".join(row + "\n" for row in pool.map(find, mutations))


class MutationsTest(unittest.TestCase):
    def test_each_mutation_is_found_with_the_seeds_of_the_table(self):
        self.maxDiff = None
        with open(f"{FOLDER}/MUTATIONS.md") as file:
            listed = file.read()
        found = table()
        self.assertNotIn("not found", found)
        self.assertEqual(found, listed)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        path = os.path.join(os.environ["BUILD_WORKSPACE_DIRECTORY"], FOLDER, "MUTATIONS.md")
        text = table()
        print(text)
        if "not found" in text:
            sys.exit("MUTATIONS.md is not written: the simulator has to find each mutation.")
        with open(path, "w") as file:
            file.write(text)
    else:
        unittest.main()
