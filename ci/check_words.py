"""Checks the words of this project: docs/hacking.md has the rules and their reasons.

    python3 ci/check_words.py [--list] [PATH...]

Reads every source file below the given paths (the whole project without one) and fails when

- more than 3% of the comments open with a bare function word: "What", "Who", "Of", "Whether";
- a comment has a broken reflow: a line that ends early in the middle of a sentence;
- the name of a test has 60 letters or more.

--list prints each comment that opens with a function word, also when they are few enough.
"""

import argparse
import ast
import dataclasses
import io
import pathlib
import re
import sys
import tokenize

MOST_BARE_OPENINGS = 0.03
LONGEST_TEST_NAME = 59
# The columns of .clang-format and of black's configuration.
COLUMNS = 100
# A line may end this many columns early, since words are whole, before the reflow counts as broken.
SLACK = 22

FUNCTION_WORDS = frozenset(
    "what whatever who whoever whose whom whether those how when where as of for by in".split()
)
HASH_COMMENTS = {".py", ".sh", ".bzl", ".bazel"}
SLASH_COMMENTS = {".h", ".cc", ".proto", ".js", ".mjs", ".ts"}
GENERATED = re.compile(r"_pb2(_grpc)?\.py$")


@dataclasses.dataclass(frozen=True)
class Comment:
    """A run of comment lines, or a docstring. `indent`: the columns before each line's text."""

    path: pathlib.Path
    line: int  # number of its first line, from 1
    indent: int
    lines: tuple[str, ...]

    def place(self, offset: int = 0) -> str:
        return f"{self.path}:{self.line + offset}"

    def opens_with_function_word(self) -> bool:
        words = re.findall(r"[A-Za-z']+", self.lines[0])
        return bool(words) and words[0].lower() in FUNCTION_WORDS

    def broken_reflows(self) -> list[int]:
        """The offsets of lines that end early, although the next line goes on with the sentence."""
        broken = []
        for offset, (line, following) in enumerate(zip(self.lines, self.lines[1:])):
            next_word = following.split(" ")[0]
            if not is_prose(line) or not is_prose(following) or ends_a_thought(line):
                continue
            if self.indent + len(line) + 1 + len(next_word) <= COLUMNS - SLACK:
                broken.append(offset)
        return broken


def is_prose(line: str) -> bool:
    """True for running text: no list item, code, table, drawing or empty line."""
    return bool(re.match(r"[A-Za-z`'\"(]", line)) and "  " not in line.strip()


def ends_a_thought(line: str) -> bool:
    return line.endswith((".", ":", ";", "!", "?", ",", "}", "{", '"')) and not line.endswith(
        ("e.g.", "i.e.")
    )


def joined(path: pathlib.Path, marked: list[tuple[int, int, str, bool]]) -> list[Comment]:
    """Comments of (line number, column, text, alone on its line): runs of neighbours are one."""
    comments: list[Comment] = []
    last_line, last_column = -1, -1
    for number, column, text, is_alone in marked:
        text = text.rstrip()
        if comments and number == last_line + 1 and column == last_column and is_alone:
            comments[-1] = dataclasses.replace(comments[-1], lines=comments[-1].lines + (text,))
        elif text.strip():
            comments.append(Comment(path, number, column, (text,)))
        last_line, last_column = number, column
    return comments


def slash_comments(path: pathlib.Path, source: str) -> list[Comment]:
    """The // comments. Strings are skipped, and so are raw strings of several lines."""
    marked = []
    in_raw_string = None
    for number, line in enumerate(source.splitlines(), 1):
        if in_raw_string is not None:
            if in_raw_string not in line:
                continue
            in_raw_string = None
            continue
        raw = re.search(r'R"([^()\s]*)\(', line)
        if raw and f'){raw[1]}"' not in line[raw.end() :]:
            in_raw_string = f'){raw[1]}"'
            continue
        bare = re.sub(r'"(\\.|[^"\\])*"', lambda m: "_" * len(m[0]), line)
        start = bare.find("//")
        if start < 0 or "NOLINT" in line:
            continue
        text = line[start + 2 :]
        marked.append((number, start + 3, text.removeprefix(" "), not line[:start].strip()))
    return joined(path, marked)


def hash_comments(path: pathlib.Path, source: str) -> list[Comment]:
    marked = []
    for number, line in enumerate(source.splitlines(), 1):
        found = re.match(r"(.*?)(?:^|(?<=\s))#(?!!)(.*)$", line)
        if not found or found[1].count('"') % 2 or found[1].count("'") % 2:
            continue
        text = found[2].removeprefix(" ")
        marked.append((number, len(found[1]) + 2, text, not found[1].strip()))
    return joined(path, marked)


def python_comments(path: pathlib.Path, source: str) -> list[Comment]:
    marked = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith("#!"):
            text = token.string[1:].removeprefix(" ")
            row, column = token.start
            marked.append((row, column + 2, text, not token.line[:column].strip()))
    comments = joined(path, marked)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node)
            if docstring and docstring.strip():
                indent = node.body[0].col_offset
                lines = tuple(docstring.splitlines())
                comments.append(Comment(path, node.body[0].lineno, indent, lines))
    return comments


def comments_of(path: pathlib.Path, source: str) -> list[Comment]:
    if path.suffix == ".py":
        return python_comments(path, source)
    if path.suffix in HASH_COMMENTS:
        return hash_comments(path, source)
    return slash_comments(path, source)


def test_names(path: pathlib.Path, source: str) -> list[tuple[int, str]]:
    """The line and the name of each test of a file."""
    if path.suffix == ".cc":
        pattern = r"^(?:TYPED_)?(?:TEST(?:_F|_P)?|RC_GTEST_\w+)\(\s*\w+,\s*(\w+)"
    elif path.suffix == ".py":
        pattern = r"^ *(?:async )?def test_(\w+)\("
    else:
        return []
    return [
        (source.count("\n", 0, found.start()) + 1, found[1])
        for found in re.finditer(pattern, source, re.MULTILINE)
    ]


def sources(paths: list[pathlib.Path]) -> list[pathlib.Path]:
    found = []
    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            inside = file.relative_to(path).parts if file != path else ()
            if any(part.startswith((".", "bazel-")) for part in inside) or not file.is_file():
                continue
            if file.suffix in HASH_COMMENTS | SLASH_COMMENTS and not GENERATED.search(file.name):
                found.append(file)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print every bare opening")
    parser.add_argument("paths", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parent.parent
    comments: list[Comment] = []
    names: list[tuple[str, str]] = []
    for path in sources(arguments.paths or [root]):
        source = path.read_text()
        comments += comments_of(path, source)
        names += [(f"{path}:{line}", name) for line, name in test_names(path, source)]
    if not comments:
        print("check_words: no comment was found: are the paths right?")
        return 1
    faults = 0
    bare = [comment for comment in comments if comment.opens_with_function_word()]
    too_many = len(bare) > MOST_BARE_OPENINGS * len(comments)
    if arguments.list or too_many:
        for comment in bare:
            print(f"{comment.place()}: opens with a bare function word: {comment.lines[0]}")
    if too_many:
        faults += 1
    for comment in comments:
        for offset in comment.broken_reflows():
            faults += 1
            print(f"{comment.place(offset)}: broken reflow: {comment.lines[offset]}")
    for place, name in names:
        if len(name) > LONGEST_TEST_NAME:
            faults += 1
            print(f"{place}: a test name of {len(name)} letters, at most {LONGEST_TEST_NAME}: {name}")
    print(
        f"check_words: {len(bare)} of {len(comments)} comments open with a bare function word"
        f" ({len(bare) / len(comments):.1%}, at most {MOST_BARE_OPENINGS:.0%});"
        f" {len(names)} test names; {faults} faults"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
