#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs_examples.py [--update] PAGE...: runs the examples of a documentation page.

In document order, in one empty folder a page:

* a fenced block ```LANGUAGE NAME is written to the file NAME;
* in a ```console block each line that starts with "$ " is a command for /bin/sh ("> " continues
  it), and what follows is exactly what it prints, errors included. [...] stands for any text
  within a line; alone on a line, for any number of lines. A command that fails must be followed
  by "$ echo $?", so that the reader sees the exit status;
* a block of one of the languages in NOT_RUN is for reading.

Anything else is malformed and fails, and so does a page without a command. Commands share the
folder and $?, not variables. --update writes what was printed into the page where it differs;
read the difference before you keep it.
"""

import os
import re
import subprocess
import sys
import tempfile

ELIDED = "[...]"
STATUS = "echo $?"
NOT_RUN = ("sh", "text")
FENCE = re.compile(r"^(`{3,})(.*)$")
COMMAND_TIMEOUT_S = 60


class Malformed(Exception):
    def __init__(self, line, why):
        super().__init__("line %d: %s" % (line, why))


class Block:
    def __init__(self, line, info):
        self.line = line  # of the opening fence, from 1
        self.language, _, self.name = info.partition(" ")
        self.lines = []


class Command:
    def __init__(self, line, text):
        self.line = line
        self.text = text
        self.expected_from = line  # number of lines before the output
        self.expected = []


def blocks(text):
    block, fence = None, ""
    for number, line in enumerate(text.split("\n"), 1):
        found = FENCE.match(line)
        if block and line == fence:
            yield block
            block = None
        elif block:
            block.lines.append(line)
        elif found:
            fence = found.group(1)
            block = Block(number, found.group(2).strip())
        elif line.lstrip().startswith("```"):
            raise Malformed(number, "a fence must start the line")
    if block:
        raise Malformed(block.line, "this block is never closed")


def commands(block):
    found = []
    for number, line in enumerate(block.lines, block.line + 1):
        if line.startswith("$ "):
            found.append(Command(number, line[2:]))
        elif found and line.startswith("> ") and not found[-1].expected:
            found[-1].text += "\n" + line[2:]
            found[-1].expected_from = number
        elif found:
            found[-1].expected.append(line)
        else:
            raise Malformed(number, "a console block must start with a command: '$ ...'")
    if not found:
        raise Malformed(block.line, "a console block without a command")
    for command in found:
        if command.expected and not "".join(command.expected).replace(ELIDED, ""):
            raise Malformed(command.line, "all of the output is elided: that checks nothing")
    return found


def pattern(expected):
    """A regular expression for the whole output."""
    parts = []
    for line in expected:
        parts.append(r"(?:.*\n)*?" if line == ELIDED else
                     ".*".join(re.escape(p) for p in line.split(ELIDED)) + r"\n")
    return "".join(parts)


class Page:
    def __init__(self, path, environment):
        self.path = path
        self.environment = environment
        with open(path, encoding="utf-8") as f:
            self.text = f.read()
        self.run = 0       # commands so far
        self.wrong = []    # sentences
        self.changes = []  # (first line, number of lines, new lines): what --update would write

    def shell(self, folder, command, status):
        """(output, exit status) of one command that finds @status in $?."""
        done = subprocess.run(["/bin/sh", "-c", "(exit %d)\n%s" % (status, command.text)],
                              cwd=folder, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=COMMAND_TIMEOUT_S, check=False)
        return done.stdout.decode("utf-8", "replace"), done.returncode

    def say(self, line, words):
        self.wrong.append("%s:%d: %s" % (self.path, line, words))

    def judge(self, command, output):
        if output and not output.endswith("\n"):
            self.say(command.line, "the output doesn't end with a newline")
            output += "\n"
        if re.fullmatch(pattern(command.expected), output):
            return
        self.say(command.line, "$ %s\nexpected:\n%s\ngot:\n%s" % (
            command.text, "\n".join(command.expected), output.rstrip("\n")))
        self.changes.append((command.expected_from, len(command.expected),
                             output.split("\n")[:-1]))

    def console(self, folder, block):
        status, is_seen = 0, True
        found = commands(block)
        for command in found:
            if not is_seen and command.text != STATUS:
                self.say(command.line - 1, "the command before failed (%d); "
                         "show it by '$ %s'" % (status, STATUS))
            output, status = self.shell(folder, command, status)
            is_seen = status == 0
            self.run += 1
            self.judge(command, output)
        if not is_seen:
            self.say(found[-1].line, "it failed (%d); show it by '$ %s'" % (status, STATUS))

    def file(self, folder, block):
        if block.language in ("console", "") or not re.fullmatch(r"\w[\w.-]*", block.name):
            raise Malformed(block.line, "'%s' is no name of a file" % block.name)
        with open(os.path.join(folder, block.name), "w", encoding="utf-8") as f:
            f.write("\n".join(block.lines) + "\n")

    def walk(self, folder):
        for block in blocks(self.text):
            if block.name:
                self.file(folder, block)
            elif block.language == "console":
                self.console(folder, block)
            elif block.language not in NOT_RUN:
                raise Malformed(block.line, "a block '%s' is neither run, nor a file, nor one of "
                                "%s" % (block.language, ", ".join(NOT_RUN)))
        if not self.run:
            raise Malformed(1, "no example is run")

    def check(self):
        """What is wrong with the page: a list of sentences."""
        with tempfile.TemporaryDirectory(prefix="docs-examples.") as folder:
            try:
                self.walk(folder)
            except Malformed as e:
                self.wrong.append("%s: %s" % (self.path, e))
        return self.wrong

    def update(self):
        lines = self.text.split("\n")
        for first, n, new in reversed(self.changes):
            lines[first:first + n] = new
        with open(self.path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines))


def environment(programs):
    return {"PATH": ":".join([*programs, "/usr/bin", "/bin"]), "LC_ALL": "C.UTF-8",
            "HOME": "/nonexistent"}


def main():
    paths = [a for a in sys.argv[1:] if a != "--update"]
    programs = [os.environ["TL_PROGRAMS"]]
    is_bad = not paths
    for path in paths:
        page = Page(path, environment(programs))
        for sentence in page.check():
            print(sentence)
            is_bad = True
        print("%s: %d commands run" % (path, page.run))
        if "--update" in sys.argv[1:]:
            page.update()
    return 1 if is_bad else 0


if __name__ == "__main__":
    sys.exit(main())
