# SPDX-License-Identifier: Apache-2.0
"""containerd.proto against the files that containerd itself is built from (Debian's
golang-github-containerd-containerd-dev): every message is a subset of the one its comment names, equal
in number, name, type and label of each field. Usage: proto.py OURS"""

import os
import re
import subprocess
import sys
import tempfile

GO = "/usr/share/gocode/src"
API = "github.com/containerd/containerd/api/"
FILES = ["services/%s/v1/%s.proto" % names for names in (
    ("version", "version"), ("namespaces", "namespace"), ("leases", "leases"),
    ("content", "content"), ("images", "images"), ("snapshots", "snapshots"), ("diff", "diff"),
    ("containers", "containers"), ("tasks", "tasks"), ("events", "events"))] + ["events/task.proto"]

# descriptor.proto: FieldDescriptorProto.Type
ENUM, MESSAGE, REPEATED = 14, 11, 3


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, value) of each field of an encoded message; protobuf.dev/programming-guides/encoding."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            size = {1: 8, 5: 4}[key & 7]
            value, at = data[at:at + size], at + size
        yield key >> 3, value


def collect(data, number):
    return [v for n, v in fields(data) if n == number]


def one(data, number, default=b""):
    return (collect(data, number) or [default])[-1]


class Schema:
    """Messages and enums of a descriptor set by their full names; numbers as in descriptor.proto."""

    def __init__(self, data):
        self.messages, self.enums = {}, {}
        for file in collect(data, 1):
            package = one(file, 2).decode()
            for message in collect(file, 4):
                self.add(package, message)
            for enum in collect(file, 5):
                self.add_enum(package, enum)

    def add(self, scope, message):
        name = scope + "." + one(message, 1).decode()
        self.messages[name] = {}
        for field in collect(message, 2):
            self.messages[name][one(field, 3, 0)] = {
                "name": one(field, 1).decode(), "label": one(field, 4, 0), "type": one(field, 5, 0),
                "of": one(field, 6).decode().lstrip(".")}
        for nested in collect(message, 3):
            self.add(name, nested)
        for enum in collect(message, 4):
            self.add_enum(name, enum)

    def add_enum(self, scope, enum):
        self.enums[scope + "." + one(enum, 1).decode()] = {
            one(v, 2, 0): one(v, 1).decode() for v in collect(enum, 2)}


def compile_schema(arguments):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "set")
        subprocess.run(["protoc", "--include_imports", "--descriptor_set_out=" + out, *arguments],
                       check=True, stderr=subprocess.DEVNULL)
        with open(out, "rb") as f:
            return Schema(f.read())


def partners(text):
    """Our name -> the names its comment gives; a nested message is named through its outer one."""
    found, scope, waiting = {}, ["cd"], []
    for line in text.splitlines():
        word = line.strip()
        named = re.match(r"// = ([\w.]+\.\w+)", word)
        opened = re.match(r"(message|enum) (\w+) \{", word)
        if named:
            waiting.append(named.group(1))
        elif opened:
            scope.append(opened.group(2))
            found[".".join(scope)] = waiting
            waiting = []
        elif word.startswith("}"):
            scope.pop()
    return found


class Comparison:
    def __init__(self, ours, theirs, pairs):
        self.ours, self.theirs, self.pairs, self.faults, self.n = ours, theirs, pairs, [], 0

    def fault(self, *words):
        self.faults.append(" ".join(str(w) for w in words))

    def message(self, mine, yours):
        there = self.theirs.messages.get(yours)
        if there is None:
            return self.fault(mine, "names", yours, "which does not exist")
        for number, field in self.ours.messages[mine].items():
            self.n += 1
            other = there.get(number)
            if not other or any(field[k] != other[k] for k in ("name", "label", "type")):
                self.fault(mine, field, "is not field", number, "of", yours, other)
            elif field["type"] in (ENUM, MESSAGE):
                self.reference(mine, field, other)
        return None

    def reference(self, mine, field, other):
        """What a field refers to must be a pair as well; entries of maps are compared in place."""
        if field["of"].endswith("Entry"):
            self.message(field["of"], other["of"])
        elif other["of"] not in self.pairs.get(field["of"], []):
            self.fault(mine, field["name"], "is a", field["of"], "there it is a", other["of"])

    def enum(self, mine, yours):
        there = self.theirs.enums.get(yours, {})
        for number, name in self.ours.enums[mine].items():
            self.n += 1
            # Values of one package share a scope, so ours may have a prefix.
            if not there.get(number) or not name.endswith(there[number]):
                self.fault(mine, name, number, "is not in", yours)

    def all(self):
        for mine, names in self.pairs.items():
            if not names:
                self.fault(mine, "does not say where its numbers come from")
            for yours in names:
                (self.enum if mine in self.ours.enums else self.message)(mine, yours)
        return self.faults


def main(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    ours = compile_schema(["-I", os.path.dirname(path), path])
    theirs = compile_schema(["-I", GO, "-I", GO + "/github.com/gogo/protobuf", "-I", "/usr/include",
                             *(os.path.join(GO, API, name) for name in FILES)])
    comparison = Comparison(ours, theirs, partners(text))
    faults = comparison.all()
    # The comparison itself must be able to fail.
    broken = compile_broken(text)
    if not Comparison(broken, theirs, partners(text)).all():
        faults.append("a wrong number was not noticed")
    if comparison.n < 100:
        faults.append("only %d fields were compared" % comparison.n)
    print("\n".join(faults + ["%d messages and enums, %d fields and values" % (
        len(comparison.pairs), comparison.n)]))
    sys.exit(1 if faults else 0)


def compile_broken(text):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "broken.proto")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("uint32 exit_status = 9;", "uint32 exit_status = 8;"))
        return compile_schema(["-I", folder, path])


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
