# SPDX-License-Identifier: Apache-2.0
"""The root's tree: files out of packages, the libraries they need, modules, our own files."""

import fnmatch
import glob
import os
import re
import shutil
import subprocess

import elf
import tables

LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib", "usr/lib64")
# Where /bin and its like point since the merge into /usr.
MERGED = ("bin", "sbin", "lib", "lib64")
# Mount points, and what has to be a link because / is read-only.
FOLDERS = ("dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/sbin", "usr/lib",
           "usr/lib64", "var", "etc/systemd/system")
LINKS = {"etc/mtab": "../proc/self/mounts", "etc/resolv.conf": "../run/systemd/resolve/resolv.conf",
         "usr/lib/systemd/system/default.target": "multi-user.target",
         **{name: "usr/" + name for name in MERGED}}


class Tree:
    def __init__(self, root, unpacked):
        self.root = root
        self.unpacked = unpacked  # a folder with one folder for each package
        self.used = set()         # packages of which something is in the image
        for name in FOLDERS:
            os.makedirs(os.path.join(root, name), exist_ok=True)
        for name, target in LINKS.items():
            self.link(target, name)

    def take(self, package, patterns):
        """The files of @package that one of @patterns names; each pattern must name one."""
        files = {merged(name): name for name in walk(os.path.join(self.unpacked, package))}
        for pattern in patterns:
            found = fnmatch.filter(files, pattern.lstrip("/"))
            if not found:
                raise RuntimeError("%s has no %s" % (package, pattern))
            for name in found:
                self.put(os.path.join(self.unpacked, package, files[name]), name)
            self.used.add(package)

    def put(self, source, name):
        target = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.lexists(target):
            os.unlink(target)
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
            return
        shutil.copyfile(source, target)
        # Neither the builder's umask nor set-user-id bits get into the image.
        os.chmod(target, 0o755 if os.stat(source).st_mode & 0o100 else 0o644)

    def put_all(self, folder):
        """Every file below @folder, in the same place."""
        for name in walk(folder):
            self.put(os.path.join(folder, name), merged(name))

    def libraries(self):
        """Brings what the programs need until nothing is missing."""
        providers = {}
        for package in sorted(os.listdir(self.unpacked)):
            for name in walk(os.path.join(self.unpacked, package)):
                if ".so" in os.path.basename(name):
                    providers.setdefault(merged(name), (package, name))
        todo = [name for name in walk(self.root) if is_regular(os.path.join(self.root, name))]
        while todo:
            name = todo.pop()
            found = elf.needs(os.path.join(self.root, name))
            if not found:
                continue
            interpreter, wanted, paths = found
            if interpreter:
                todo += self.provide(interpreter.lstrip("/"), providers, name)
            for library in wanted:
                places = [os.path.normpath(p.replace("$ORIGIN", "/" + os.path.dirname(name)))
                          for p in paths] + ["/" + p for p in LIBRARIES]
                # A private library of the same package, which the program has loaded already.
                places.append("/" + os.path.dirname(name))
                todo += self.provide_library(library, places, providers, name)

    def provide_library(self, library, places, providers, by):
        for place in places:
            name = merged(os.path.join(place, library).lstrip("/"))
            if os.path.lexists(os.path.join(self.root, name)):
                return []
            if name in providers:
                return self.provide(name, providers, by)
        raise RuntimeError("no package has %s, which %s needs" % (library, by))

    def provide(self, name, providers, by):
        name, new = merged(name), []
        while not os.path.lexists(os.path.join(self.root, name)):
            if name not in providers:
                raise RuntimeError("no package has %s, which %s needs" % (name, by))
            package, file = providers[name]
            source = os.path.join(self.unpacked, package, file)
            self.put(source, name)
            self.used.add(package)
            new.append(name)
            if not os.path.islink(source):
                break
            name = merged(os.path.normpath(os.path.join(
                "/" + os.path.dirname(name), os.readlink(source))).lstrip("/"))
        return [n for n in new if is_regular(os.path.join(self.root, n))]

    def modules(self, package):
        """Takes the modules of modules.conf and what they need; returns {name: path} and the order
        in which those for the initrd are loaded."""
        base = os.path.join(self.unpacked, package)
        version, = os.listdir(os.path.join(base, "lib/modules"))
        subprocess.run(["depmod", "-b", base, version], check=True)
        folder = os.path.join("lib/modules", version)
        depends = {}
        with open(os.path.join(base, folder, "modules.dep"), encoding="utf-8") as f:
            for line in f:
                path, after = line.split(":")
                depends[path] = after.split()
        by_name = {module_name(path): path for path in depends}
        order = {"initrd": [], "boot": [], "demand": []}
        for name, where in tables.modules():
            if name not in by_name:
                raise RuntimeError("the kernel has no module %s" % name)
            path = by_name[name]
            for each in reversed([path] + depends[path]):
                if each not in order[where]:
                    order[where].append(each)
        for path in sorted(set().union(*order.values())):
            self.put(os.path.join(base, folder, path), merged(os.path.join(folder, path)))
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            self.put(os.path.join(base, folder, name), merged(os.path.join(folder, name)))
        subprocess.run(["depmod", "-b", self.root, version], check=True)
        # Only the binary indexes are read; the others repeat them.
        for path in glob.glob(os.path.join(self.root, "usr", folder, "modules.*")):
            if not path.endswith(".bin"):
                os.unlink(path)
        self.used.add(package)
        self.text("usr/lib/modules-load.d/teelaunch.conf", "".join(
            name + "\n" for name, where in tables.modules() if where == "boot"))
        return version, [os.path.join(base, folder, path) for path in order["initrd"]]

    def certificates(self):
        """One file with every authority, as update-ca-certificates writes it."""
        files = sorted(glob.glob(os.path.join(self.root, "usr/share/ca-certificates/mozilla/*.crt")))
        bundle = []
        for path in files:
            with open(path, encoding="ascii") as f:
                bundle.append(f.read().rstrip("\n") + "\n")
        self.text("etc/ssl/certs/ca-certificates.crt", "".join(bundle))
        shutil.rmtree(os.path.join(self.root, "usr/share/ca-certificates"))

    def text(self, name, text):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o644)

    def enable(self):
        """What `systemctl enable` does, for every unit here that has an [Install] section; and
        links of Debian's to units that aren't here go."""
        units = os.path.join(self.root, "usr/lib/systemd/system")
        for name in sorted(os.listdir(units)):
            path = os.path.join(units, name)
            if not is_regular(path):
                continue
            with open(path, encoding="utf-8") as f:
                text = f.read()
            for key, value in re.findall(r"^(WantedBy|RequiredBy|Alias)=(.*)$", text, re.M):
                for other in value.split():
                    link = name if key != "Alias" else other
                    folder = "" if key == "Alias" else other + (
                        ".wants" if key == "WantedBy" else ".requires")
                    self.link("/usr/lib/systemd/system/" + name,
                              os.path.join("etc/systemd/system", folder, link))
        for name in walk(self.root):
            path = os.path.join(self.root, name)
            if os.path.islink(path) and name.startswith("usr/lib/systemd/system/") and \
                    not os.path.exists(path):
                os.unlink(path)

    def link(self, target, name):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.lexists(path):
            os.symlink(target, path)

    def finish(self):
        for folder, _, _ in os.walk(self.root):
            os.chmod(folder, 0o755)


def module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def is_regular(path):
    return os.path.isfile(path) and not os.path.islink(path)


def merged(name):
    return "usr/" + name if name.split("/")[0] in MERGED and "/" in name else name


def walk(folder):
    """Every file and link below @folder, as names relative to it, sorted."""
    names = []
    for where, folders, files in os.walk(folder):
        for name in files + [d for d in folders if os.path.islink(os.path.join(where, d))]:
            names.append(os.path.relpath(os.path.join(where, name), folder))
    return sorted(names)
