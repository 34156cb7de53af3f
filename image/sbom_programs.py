#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sbom_programs.py --build DIR [--epoch SECONDS] --out FILE PROGRAM...

What the programs consist of, as an SPDX 2.3 document in JSON: each program's digest, the shared libraries
that the loader maps for it, what the linker took out of static archives and start files, the Debian packages
(with source package, versions and licences) that all of it comes from, and the tools that built it. The same
build on the same machine gives the same bytes.

DIR is the CMake build: its maps/PROGRAM.map is what the linker says it did. What headers bring inline is in no
map, and not listed: it is the C library's and that of the libraries named.
"""

import argparse
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import elf  # noqa: E402
import sbom  # noqa: E402

# Beside compiler and linker, which CMake's cache names.
BUILD_TOOLS = ("protoc-c", "cmake", "ninja")
# "PATH(MEMBER)", at the beginning of a line, in the map's first part; "LOAD PATH" in its last one.
MEMBER = re.compile(r"^(/\S+\.a)\((\S+?)\)", re.M)
OBJECT = re.compile(r"^LOAD (/\S+\.o)$", re.M)


def run(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout


def digests(path):
    with open(path, "rb") as f:
        data = f.read()
    return [{"algorithm": "SHA1", "checksumValue": hashlib.sha1(data).hexdigest()},
            {"algorithm": "SHA256", "checksumValue": hashlib.sha256(data).hexdigest()}]


def loader_cache():
    """Name of a library -> the file that the loader takes for it on this machine."""
    flags = {"x86_64": r"libc6,x86-64", "aarch64": r"libc6,AArch64"}[os.uname().machine]
    found = {}
    for name, path in re.findall(r"^\t(\S+) \(%s[^)]*\) => (\S+)$" % flags, run("/sbin/ldconfig", "-p"), re.M):
        found.setdefault(name, path)
    return found


def mapped(program, cache):
    """Files of the shared libraries of @program, and theirs in turn; its interpreter."""
    interpreter, wanted, paths = elf.needs(program)
    if paths:
        raise RuntimeError("%s has a search path of its own" % program)
    files, names = {interpreter} - {None}, set()
    while wanted:
        name = wanted.pop()
        # The interpreter is also asked for by name.
        if name not in names and name != os.path.basename(interpreter or ""):
            names.add(name)
            files.add(cache[name])
            wanted += elf.needs(cache[name])[1]
    return files


def contained(build, program):
    """Of @program's static parts: file -> the members that were taken, or none for a whole object."""
    path = os.path.join(build, "maps", os.path.basename(program) + ".map")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    found = {}
    for archive, member in MEMBER.findall(text.partition("\nMemory Configuration")[0]):
        found.setdefault(os.path.normpath(archive), set()).add(member)
    for name in OBJECT.findall(text):
        found.setdefault(os.path.normpath(name), set())
    # What the build itself made is the program's own.
    top = os.path.realpath(build) + os.sep
    return {f: members for f, members in found.items() if not os.path.realpath(f).startswith(top)}


def owners(paths):
    """File -> the package that brought it, as dpkg names it; /lib is a link to /usr/lib."""
    names = {name: path for path in paths
             for name in (os.path.realpath(path).removeprefix("/usr"), os.path.realpath(path), path)}
    # It exits with 1 if it doesn't know one of them; what matters is that each file is known by one name.
    out = subprocess.run(["dpkg-query", "--search", *sorted(names)], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True, check=False).stdout
    found = {names[name]: package.split(",")[0] for package, name in
             (line.split(": ", 1) for line in out.splitlines()) if name in names}
    lost = sorted(set(paths) - set(found))
    if lost:
        raise RuntimeError("no package brought " + ", ".join(lost))
    return found


FIELDS = ("Package", "Version", "Architecture", "source:Package", "source:Version")


def records(packages):
    """Package, as dpkg names it -> its fields."""
    out = run("dpkg-query", "--show", "--showformat", "${binary:Package} %s\\n" % " ".join(
        "${%s}" % field for field in FIELDS), *sorted(packages))
    return {line.split()[0]: dict(zip(FIELDS, line.split()[1:])) for line in out.splitlines()}


def identifier(kind, name):
    return "SPDXRef-%s-%s" % (kind, re.sub(r"[^A-Za-z0-9.-]", "-", name.strip("/")))


def build_tools(build):
    """The files of the programs that built the others."""
    with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as f:
        chosen = re.findall(r"^CMAKE_(?:C_COMPILER|LINKER):\w+=(\S+)$", f.read(), re.M)
    return {os.path.realpath(shutil.which(tool)) for tool in (*chosen, *BUILD_TOOLS)}


def debian_package(fields):
    name, version = fields["Package"], fields["Version"]
    found = sbom.licences("/usr/share/doc/%s/copyright" % name)
    return {
        "SPDXID": identifier("Package", name), "name": name, "versionInfo": version,
        "supplier": "Organization: Debian", "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
        "sourceInfo": "Debian source package %s %s" % (fields["source:Package"], fields["source:Version"]),
        "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
        "licenseComments": "; ".join(found) or "see Debian's copyright file", "copyrightText": "NOASSERTION",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                          "referenceLocator": "pkg:deb/debian/%s@%s?arch=%s" % (
                              name, version.replace(":", "%3A").replace("+", "%2B"),
                              fields["Architecture"])}]}


def our_package(path, version):
    return {
        "SPDXID": identifier("Program", os.path.basename(path)), "name": os.path.basename(path),
        "versionInfo": version, "primaryPackagePurpose": "APPLICATION", "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "Apache-2.0",
        "copyrightText": "NOASSERTION", "checksums": digests(path)}


def debian_file(path):
    kind = "ARCHIVE" if path.endswith(".a") else "BINARY"
    return {"SPDXID": identifier("File", path), "fileName": path, "fileTypes": [kind], "checksums": digests(path)}


def relation(one, how, other, comment=""):
    return {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other,
            **({"comment": comment} if comment else {})}


def parts(programs, build):
    """(files that are in or are mapped for a program, relations of programs and files)."""
    files, relations, cache = set(), [], loader_cache()
    for program in programs:
        own = identifier("Program", os.path.basename(program))
        relations.append(relation("SPDXRef-DOCUMENT", "DESCRIBES", own))
        shared, static = mapped(program, cache), contained(build, program)
        files.update(shared, static)
        relations += [relation(own, "DYNAMIC_LINK", identifier("File", f)) for f in shared]
        relations += [relation(own, "STATIC_LINK", identifier("File", f),
                               "taken: " + ", ".join(sorted(members)) if members else "")
                      for f, members in static.items()]
    return files, relations


def document(programs, build, version, epoch):
    files, relations = parts(programs, build)
    tools = build_tools(build)
    by_file = owners(files | tools)
    fields = records(by_file.values())
    packages = {name: debian_package(f) for name, f in fields.items()}
    ours = [our_package(path, version) for path in programs]
    relations += [relation(packages[by_file[f]]["SPDXID"], "CONTAINS", identifier("File", f)) for f in files]
    relations += [relation(packages[by_file[tool]]["SPDXID"], "BUILD_TOOL_OF", own["SPDXID"])
                  for tool in tools for own in ours]
    key = "".join(p["name"] + p["checksums"][1]["checksumValue"] for p in ours)
    when = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": "teelaunch-" + version,
        "documentNamespace": "urn:uuid:%s" % uuid.uuid5(uuid.NAMESPACE_URL, key),
        "creationInfo": {"created": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
                         "creators": ["Tool: teelaunch-sbom-programs-" + version]},
        "packages": ours + [packages[name] for name in sorted(packages)],
        "files": [debian_file(path) for path in sorted(files)],
        "relationships": sorted(relations, key=lambda r: tuple(r.values()))}


def version_of(top):
    with open(os.path.join(top, "CMakeLists.txt"), encoding="utf-8") as f:
        return re.search(r"^project\(teelaunch VERSION (\S+)", f.read(), re.M).group(1)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", required=True)
    p.add_argument("--epoch", type=int, default=int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    p.add_argument("--out", required=True)
    p.add_argument("programs", nargs="+", metavar="PROGRAM")
    a = p.parse_args()
    text = document(sorted(a.programs, key=os.path.basename), a.build, version_of(os.path.dirname(HERE)), a.epoch)
    with open(a.out, "w", encoding="utf-8") as f:
        f.write(json.dumps(text, indent=1) + "\n")
    os.chmod(a.out, 0o644)
    return 0


if __name__ == "__main__":
    sys.exit(main())
