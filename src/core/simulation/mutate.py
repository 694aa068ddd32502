"""Writes a mutation of one of the core's files: mutate.py MUTATIONS.bzl NAME SOURCE OUT."""

import sys


def read_mutations(path):
    scope = {}
    with open(path) as file:
        exec(file.read(), scope)  # only data, in what Starlark and Python share
    return scope["MUTATIONS"]


def main(mutations, name, source, out):
    mutation = next(m for m in read_mutations(mutations) if m["name"] == name)
    with open(source) as file:
        text = file.read()
    count = text.count(mutation["old"])
    if count != 1:
        sys.exit(f"mutation {name}: its text stands {count} times in {mutation['file']}, not once")
    with open(out, "w") as file:
        file.write(text.replace(mutation["old"], mutation["new"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
