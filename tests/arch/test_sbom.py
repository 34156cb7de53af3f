# SPDX-License-Identifier: Apache-2.0
"""The programs' bill of materials (image/sbom_programs.py) against the loader, the linker's command line, dpkg and
sha256sum, and against what SPDX 2.3 demands of a document."""

import functools
import json
import os
import re
import shlex
import tempfile

import arch
from test_hardening import INIT, programs

SCRIPT = "image/sbom_programs.py"
# SPDX 2.3: the fields that each kind must have.
REQUIRED = {
    "document": ("spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo"),
    "creationInfo": ("created", "creators"),
    "packages": ("name", "SPDXID", "downloadLocation"),
    "files": ("fileName", "SPDXID", "checksums"),
    "relationships": ("spdxElementId", "relationshipType", "relatedSpdxElement"),
}
IDENTIFIER = re.compile(r"SPDXRef-[A-Za-z0-9.-]+")


def made(tree, build, names, **env):
    """The document's text."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "x.spdx.json")
        done = arch.run(["/usr/bin/python3", "-B", tree.path(SCRIPT), "--build", build, "--epoch", "1000000000",
                         "--out", out, *names], env={**os.environ, **env})
        if done.returncode:
            raise RuntimeError(done.stdout)
        with open(out, encoding="utf-8") as f:
            return f.read()


def form_faults(doc):
    """What SPDX 2.3 demands."""
    bad = ["the document lacks " + f for f in REQUIRED["document"] if f not in doc]
    bad += ["creationInfo lacks " + f for f in REQUIRED["creationInfo"] if f not in doc.get("creationInfo", {})]
    if doc.get("spdxVersion") != "SPDX-2.3" or doc.get("dataLicense") != "CC0-1.0":
        bad.append("another version or licence of the document")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", doc.get("creationInfo", {}).get("created", "")):
        bad.append("created is no UTC time")
    known = [doc.get("SPDXID")]
    for kind in ("packages", "files", "relationships"):
        for each in doc.get(kind, ()):
            bad += ["one of %s lacks %s: %s" % (kind, f, each) for f in REQUIRED[kind] if f not in each]
            if kind != "relationships":
                known.append(each.get("SPDXID"))
    bad += ["%s is no identifier" % i for i in known if not IDENTIFIER.fullmatch(i or "")]
    bad += ["%s stands for two" % i for i in sorted(set(known), key=str) if known.count(i) > 1]
    for each in doc.get("files", ()):
        if "SHA1" not in {c["algorithm"] for c in each["checksums"]}:
            bad.append("%s has no SHA1, which SPDX demands" % each["fileName"])
    for r in doc.get("relationships", ()):
        bad += ["a relation with %s, which is nothing" % r[end]
                for end in ("spdxElementId", "relatedSpdxElement") if r[end] not in known]
    return bad


class Reader:
    def __init__(self, doc):
        self.packages = {p["SPDXID"]: p for p in doc["packages"]}
        self.files = {f["SPDXID"]: f for f in doc["files"]}
        self.relations = [(r["spdxElementId"], r["relationshipType"], r["relatedSpdxElement"])
                          for r in doc["relationships"]]

    def linked(self, program, how):
        own = "SPDXRef-Program-" + program
        return {os.path.realpath(self.files[b]["fileName"]): self.files[b]
                for a, kind, b in self.relations if (a, kind) == (own, how)}

    def package_of(self, file):
        return [self.packages[a] for a, kind, b in self.relations if kind == "CONTAINS" and b == file["SPDXID"]]


def sha256(path):
    return arch.run(["sha256sum", path], check=True).stdout.split()[0]


def checksum(element):
    return next(c["checksumValue"] for c in element["checksums"] if c["algorithm"] == "SHA256")


def mapped_by_the_loader(path):
    out = arch.run(["ldd", path]).stdout
    return {os.path.realpath(p) for p in re.findall(r"(/\S+) \(0x", out)}


def given_to_the_linker(build, program):
    """Archives of others on the command line that linked @program, and the start files of gcc's."""
    target = INIT if program == os.path.basename(INIT) else None
    commands = arch.run(["ninja", "-C", build, "-t", "commands"], check=True).stdout.splitlines()
    last = [c for c in commands if re.search(r" -o \S*%s( |$)" % re.escape(target or program), c)]
    words = shlex.split(last[-1])
    archives = {w for w in words if w.startswith("/") and w.endswith(".a") and not w.startswith(build)}
    start = "rcrt1.o" if "-static-pie" in words else "Scrt1.o"
    wanted = archives | {arch.run(["gcc", "-print-file-name=" + f], check=True).stdout.strip()
                         for f in (start, "crti.o", "crtbeginS.o")}
    if "-static-pie" in words:
        wanted.add(arch.run(["gcc", "-print-file-name=libc.a"], check=True).stdout.strip())
    return {os.path.realpath(f) for f in wanted}


@functools.lru_cache
def by_dpkg(name):
    """What dpkg says of an installed package: name, versions; and its files."""
    show = arch.run(["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${source:Package} ${source:Version}\n",
                     name], check=True).stdout.split()
    listed = arch.run(["dpkg-query", "--listfiles", name], check=True).stdout.splitlines()
    return show[:4], {os.path.realpath(f) for f in listed}


def package_faults(reader, file):
    """dpkg's own words for where the file comes from."""
    found = reader.package_of(file)
    if len(found) != 1:
        return ["%s is in %d packages" % (file["fileName"], len(found))]
    name = found[0]["name"]
    show, listed = by_dpkg(name)
    bad = []
    if os.path.realpath(file["fileName"]) not in listed:
        bad.append("%s isn't in %s" % (file["fileName"], name))
    if [name, found[0]["versionInfo"], *found[0]["sourceInfo"].split()[-2:]] != show:
        bad.append("%s: dpkg says %s" % (name, " ".join(show)))
    return bad


def program_faults(doc, name, path, mapped, static):
    reader, bad = Reader(doc), []
    own = reader.packages.get("SPDXRef-Program-" + name)
    if own is None or checksum(own) != sha256(path):
        return ["%s isn't listed with its digest" % name]
    shared, inside = reader.linked(name, "DYNAMIC_LINK"), reader.linked(name, "STATIC_LINK")
    bad += ["%s maps %s, which isn't listed" % (name, f) for f in sorted(mapped - set(shared))]
    bad += ["%s is said to map %s" % (name, f) for f in sorted(set(shared) - mapped)]
    bad += ["%s was linked with %s, which isn't listed" % (name, f) for f in sorted(static - set(inside))]
    for real, file in (shared | inside).items():
        if checksum(file) != sha256(real):
            bad.append("%s has another digest" % real)
    return bad


def the_bill_is_what_loader_linker_and_dpkg_say(tree, build):
    found = {**programs(build), os.path.basename(INIT): os.path.join(build, INIT)}
    doc = json.loads(made(tree, build, found.values()))
    bad = form_faults(doc)
    for name, path in found.items():
        is_static = path.endswith(INIT)
        bad += program_faults(doc, name, path, set() if is_static else mapped_by_the_loader(path),
                              given_to_the_linker(build, name))
    reader = Reader(doc)
    for file in doc["files"]:
        bad += package_faults(reader, file)
    return ["%s:1: %s" % (SCRIPT, b) for b in bad]


def the_same_build_has_the_same_bill(tree, build):
    path = programs(build)["teelaunch-unpack"]
    if made(tree, build, [path], TZ="Asia/Tokyo", LC_ALL="tr_TR.UTF-8") != made(tree, build, [path]):
        return [SCRIPT + ":1: another time zone or language gives another document"]
    return []


if __name__ == "__main__":
    arch.main(the_bill_is_what_loader_linker_and_dpkg_say, the_same_build_has_the_same_bill)
