"""Run the Python and console blocks of Markdown files, in order, in a scratch folder.

Python blocks of one file share their names. In console blocks each `$ command` runs; printed
lines are for the reader. Set-up commands are left to the other checks. Local links must exist.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
SETUP = ("make", "git", "pip", "cd")


def blocks(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield the language, the code and the first line's number of every block that runs."""
    for match in BLOCK.finditer(text):
        yield match[1], match[2], text.count("\n", 0, match.start(2))


def commands(block: str) -> list[str]:
    """Return what is typed after the prompts; a backslash continues a line."""
    typed = re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE)
    return [command for command in typed if command.split()[0] not in SETUP]


def run_console(block: str) -> None:
    """Run each command of a block; the first that fails ends the check."""
    for command in commands(block):
        print(f"$ {command}", flush=True)
        subprocess.run(command, shell=True, check=True)


def run_file(path: Path) -> None:
    """Run every block of one file in an empty folder."""
    names: dict[str, object] = {"__name__": "__main__"}
    text = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        for language, code, line in blocks(text):
            print(f"-- {path.name}:{line + 1} {language}", flush=True)
            if language == "console":
                run_console(code)
            else:
                exec(compile("\n" * line + code, path.name, "exec"), names)


def broken_links(path: Path) -> list[str]:
    """Return the local targets of links and pictures that do not exist."""
    targets = LINK.findall(path.read_text(encoding="utf-8"))
    return [target for target in targets if not (path.parent / target).exists()]


def main(names: list[str]) -> None:
    """Check each file named on the command line."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ.setdefault("MPLBACKEND", "Agg")
    for path in (Path(name).resolve() for name in names):
        if missing := broken_links(path):
            sys.exit(f"{path.name} links to files that do not exist: {', '.join(missing)}")
        run_file(path)


if __name__ == "__main__":
    main(sys.argv[1:])
