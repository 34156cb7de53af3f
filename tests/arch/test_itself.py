# SPDX-License-Identifier: Apache-2.0
"""A check that can't fail is a defect: each one is fed a tree that breaks its rule."""

import copy
import importlib.util
import json
import os
import tempfile
import unittest

import arch
import test_budgets
import test_catalogue
import test_checklist
import test_documents
import test_format
import test_hardening
import test_layers
import test_packages
import test_sbom
import test_scripts
import test_symbols
import test_text
import test_units

ROW = 'TL_ROW(%d, %s, "any", TL_FATAL, "c", "e", "a")\n'
# Calls a checked function, has an array to protect, and an address that needs a relocation.
HARDENED = """#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
	char text[64];
	memset(text, argc, (size_t)argc);
	printf("%s", strcpy(text + 1, argv[0]));
	return 0;
}
"""
NO_STACK = '\n.section .note.GNU-stack,"",@progbits\n'
SOURCES = {"x.c": HARDENED, "both.s": '.section .both,"awx"\n.quad 1' + NO_STACK,
           "address.s": ".text\n.quad main" + NO_STACK}
# Property of test_hardening -> what takes it, alone, from a program.
WEAKER = {
    "position independent": ["-fno-pie", "-no-pie"],
    "relocations read-only": ["-Wl,-z,norelro"],
    "bound at start": ["-Wl,-z,lazy"],
    "stack not executable": ["-Wl,-z,execstack"],
    "no segment writable and executable": ["-Wl,--no-warn-rwx-segments", "both.s"],
    "no text relocations": ["-Wl,-z,notext", "address.s"],
    "no search path": ["-Wl,-rpath,/opt"],
    "stack protector": ["-fno-stack-protector"],
    "checked library calls": ["-U_FORTIFY_SOURCE"],
}
LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"


class Breaks(unittest.TestCase):
    def tree(self, files):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in files.items():
            path = os.path.join(folder.name, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        return arch.Tree(folder.name)

    def finds(self, check, files, *words):
        found = "\n".join(check(self.tree(files)))
        for word in words:
            self.assertIn(word, found)

    def accepts(self, check, files):
        self.assertEqual(check(self.tree(files)), [])

    def test_layers(self):
        check = test_layers.includes_follow_the_layers
        policy = {"policy/verdict.c": "", "include/teelaunch/verdict.h": ""}
        self.accepts(check, {**policy, "launcher/a.c": "#include <teelaunch/verdict.h>\n"})
        self.finds(check, {**policy, "attest/a.c": "\n#include <teelaunch/verdict.h>\n"},
                   "attest/a.c:2: attest may not include")
        self.finds(check, {"policy/b.c": '#include "../launcher/a.h"\n', "launcher/a.h": ""},
                   "policy may not include launcher/a.h")
        self.finds(check, {"launcher/a.c": "#include <curl/curl.h>\n"}, "belongs to src/io")
        self.finds(check, {"launcher/a.c": "#include <no-such.h>\n"}, "in no row")
        self.finds(check, {"include/teelaunch/lost.h": ""}, "which layer")
        self.finds(check, {"attest/tee.c": "", "include/teelaunch/tee.h": "#include <jansson.h>\n"},
                   "include/teelaunch/tee.h:1: <jansson.h> belongs to")
        self.finds(check, {"src/teelaunchd.c": '#include "attest/verifier/v.h"\n',
                           "attest/verifier/v.h": ""}, "teelaunchd may not include")

    def test_budgets(self):
        body = "int f(void)\n{\n%s\treturn 0;\n}\n"
        self.accepts(test_budgets.functions_stay_small, {"a.c": body % ("\t;\n" * 76)})
        self.finds(test_budgets.functions_stay_small, {"a.c": body % ("\t;\n" * 77)},
                   "a.c:1: f() has 81 lines")
        self.finds(test_budgets.files_stay_small, {"a.c": "\n" * 601, "b.h": "\n" * 151},
                   "a.c:600", "b.h:150")

    def test_text(self):
        self.finds(test_text.no_forbidden_calls,
                   {"a.c": 'int f(void)\n{\n\tgoto out;\n\treturn atoi("1");\n}\n'},
                   "a.c:3: goto", "a.c:4: atoi")
        self.accepts(test_text.no_forbidden_calls,
                     {"a.c": '/* system() */ int x = a->system("goto x;"); my_exit();\n'})
        self.finds(test_text.every_local_with_cleanup_is_initialised,
                   {"a.c": "{\n\tauto_buf struct tl_buf b;\n\tauto_free char *p = NULL;\n}\n"}, "a.c:2")
        self.finds(test_text.every_source_names_its_licence, {"a.c": "int x;\n"}, "a.c:1")
        self.finds(test_text.the_top_level_holds_only_what_the_design_names,
                   {"lib/a.c": ""}, "lib:")
        self.finds(test_text.no_file_names_a_machine, {"docs/a": "\n/%s/joe/x" % "home"},
                   "docs/a:2")

    def test_catalogue(self):
        def tree(rows, code="", test="", script=""):
            return {test_catalogue.CATALOGUE: rows, "policy/a.c": code, "tests/unit/t.c": test,
                    "tests/integration/t.py": script}

        one = ROW % (1, "TL_E_ONE")
        check = test_catalogue.every_row_has_a_test
        self.finds(test_catalogue.rows_are_ordered_and_dense, tree(ROW % (2, "TL_E_TWO")), "after 0")
        self.finds(test_catalogue.every_row_is_used, tree(one, test="TL_E_ONE"), "used nowhere")
        self.accepts(test_catalogue.every_row_is_used, tree(one, code="TL_E_ONE"))
        self.finds(check, tree(one, code="TL_E_ONE"), "no test expects TL_E_ONE")
        self.accepts(check, tree(one, test="assert_int_equal(err.code, TL_E_ONE);"))
        self.accepts(check, tree(one, test='"TL0001"'))
        self.accepts(check, tree(one, script='expect("TL0001")'))
        for claim in ("/* TL_E_ONE */", "// TL_E_ONE", 'return tl_fail(err, TL_E_ONE, 5, "x");',
                      "struct tl_error in = { .code = TL_E_ONE };"):
            self.finds(check, tree(one, test=claim), "no test expects")
        for claim in ('def f():\n    """TL_E_ONE"""\n', "# TL0001\n"):
            self.finds(check, tree(one, script=claim), "no test expects")

    def listed(self, tree, *commands):
        """A build folder of which ctest says that it has these tests: (name, command's last word)."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        with open(os.path.join(folder.name, "CTestTestfile.cmake"), "w", encoding="utf-8") as f:
            for name, word in commands:
                f.write('add_test("%s" "/usr/bin/python3" "%s")\n' % (name, word.replace("TOP", tree.top)))
        return folder.name

    def test_checklist(self):
        check = test_checklist.every_item_of_the_checklist_has_an_answer
        rows = "".join("| %s | attack | `three` |\n" % i for i in test_checklist.IDS)
        named = rows.replace("`three`", "`test_s01_one`, `two`, `three`", 1)
        sources = {"tests/unit/t.c": "cmocka_unit_test(two)",
                   "tests/integration/t.py": "class A:\n    def test_s01_one(self):\n"}

        def finds(files, *commands):
            tree = self.tree(files)
            return "\n".join(check(tree, self.listed(tree, *commands)))

        self.assertEqual(finds({test_checklist.DOCUMENT: rows}, ("three", "x")), "")
        self.assertIn("S07 has no row", finds({test_checklist.DOCUMENT: rows.replace("| S07 |", "| S7 |")}))
        self.assertIn("S06 has several rows", finds({test_checklist.DOCUMENT: rows.replace("| S07 |", "| S06 |")}))
        for answer in ("", "reviewed", "not yet: disk"):
            self.assertIn("S01 names no test", finds({test_checklist.DOCUMENT: rows.replace("`three`", answer, 1)}))
        document = {test_checklist.DOCUMENT: named}
        run = (("three", "x"), ("u", "t"), ("i", "TOP/tests/integration/t.py"))
        for name in ("test_s01_one", "two", "three"):
            self.assertIn("no test " + name, finds(document))
        self.assertEqual(finds({**document, **sources}, *run), "")
        self.assertIn("two is in tests/unit/t.c, which ctest doesn't run", finds({**document, **sources}, run[0], run[2]))
        self.assertIn("which ctest doesn't run", finds({**document, **sources}, *run[:2]))

    def test_quirks(self):
        check = test_checklist.every_quirk_has_an_answer
        rows = "".join("| %d | so | fixed | `test_of_this_one` |\n" % i for i in test_checklist.NUMBERS)

        def finds(text, vectors='{"cases": [{"id": "v", "quirk": "9"}, {"id": "w", "quirk": "9.1, x"}]}'):
            tree = self.tree({test_checklist.QUIRKS: text, test_checklist.VECTORS: vectors})
            return "\n".join(check(tree, self.listed(tree, ("test_of_this_one", "x"))))

        def changed(number, state, answer):
            row = "| %d | so | fixed | `test_of_this_one` |" % number
            return rows.replace(row, "| %d | so | %s | %s |" % (number, state, answer))

        self.assertEqual(finds(rows), "")
        self.assertIn("70 has 0 rows", finds(rows.replace("| 70 |", "| 71 |")))
        self.assertIn("3 has 2 rows", finds(rows.replace("| 70 |", "| 3 |")))
        self.assertIn("2: 'done' is neither", finds(changed(2, "done", "`test_of_this_one`")))
        self.assertIn("2: names no test", finds(changed(2, "fixed", "by chance, all of it is fixed")))
        self.assertIn("2: there is no test test_of_another", finds(changed(2, "fixed", "`test_of_another`")))
        self.assertIn("2: gives no reason", finds(changed(2, "kept", "`test_of_this_one`")))
        self.assertIn("2: gives no reason", finds(changed(2, "fixed", "no test")))
        self.assertEqual(finds(changed(2, "fixed", "no test: nothing there can fail any more")), "")
        kept = changed(9, "kept", "verifiers rely on this as it is: `test_of_this_one`")
        self.assertIn("v shows quirk 9 fixed", finds(kept))
        self.assertNotIn("w shows", finds(kept))

    def test_exposures(self):
        unit, page = "systemd/teelaunchd.service", test_units.EXPOSURE_PAGE
        figure, exposed = test_units.exposures(
            self.tree({unit: "[Service]\nExecStart=/bin/true\nPrivateNetwork=yes\n"}).path(unit))
        self.assertIn("PrivateTmp=", exposed)
        self.assertNotIn("PrivateNetwork=", exposed)

        def tree(names, told=figure):
            rows = "".join("| `%s` | launcher | so |\n" % n.replace("|", "\\|") for n in sorted(names))
            return {unit: "[Service]\nExecStart=/bin/true\nPrivateNetwork=yes\n",
                    page: "| `teelaunchd.service` | %s |\n%s" % (told, rows)}

        check = test_units.every_exposure_is_explained
        self.accepts(check, tree(exposed))
        self.finds(check, tree(exposed, "1.0"), "teelaunchd.service is %s, not 1.0" % figure)
        self.finds(check, tree(exposed - {"PrivateTmp="}), "PrivateTmp= of teelaunchd.service has no reason")
        self.finds(check, tree(exposed | {"PrivateNetwork="}), "PrivateNetwork= is no exposure")

    def test_documents(self):
        check = test_documents.pages_name_every_member_of_a_document
        sources = {source: "".join('{ "m%d" }' % i for i in range(least))
                   for _, source, least in test_documents.DOCUMENTS}
        pages = {page: "".join(".BR m%d \", \" m%d\n" % (i, i + 1) for i in range(0, least, 2))
                 for page, _, least in test_documents.DOCUMENTS}
        self.accepts(check, {**sources, **pages})
        page, source, _ = test_documents.DOCUMENTS[0]
        self.finds(check, {**sources, **pages, page: pages[page].replace("m7", "x7")}, page + ":1: lacks m7")
        self.finds(check, {**sources, **pages, source: ""}, source + ":1: only 0 members")

    def test_packages(self):
        rows = [("a", "usr/bin/a"), ("b", "usr/share/man/man7"), ("b", "usr/share/c*")]
        files = ["usr/bin/a", "usr/share/man/man7/x.7", "usr/share/c1"]
        self.assertEqual(test_packages.compare(rows, files), [])
        self.assertIn("usr/share/man/man78/x is in no package",
                      "".join(test_packages.compare(rows, files + ["usr/share/man/man78/x"])))
        self.assertIn("usr/bin/a is in a and b", "".join(test_packages.compare(rows + [("b", "usr/bin")], files)))
        self.assertIn("'usr/gone' is installed by nothing",
                      "".join(test_packages.compare(rows + [("a", "usr/gone")], files)))
        self.assertIn("systemd/a.service:1: is not", "".join(test_packages.lacking(files, ["systemd/a.service"])))
        self.assertIn("completions/teelaunchd:1: is not", "".join(test_packages.lacking(files, [])))
        check = test_packages.a_unit_is_with_its_program
        tree = {"debian/a.install": "usr/sbin/p\nusr/lib/systemd/system/u.service lib/systemd/system\n",
                "systemd/u.service": "ExecStart=/usr/sbin/p --x\n"}
        self.accepts(check, tree)
        self.finds(check, {**tree, "debian/a.install": "usr/sbin/p\n",
                           "debian/b.install": "usr/lib/systemd/system\n"}, "u.service:1: is in b")

    def test_policy_coverage(self):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../unit/policy/coverage.py")
        spec = importlib.util.spec_from_file_location("coverage", path)
        coverage = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(coverage)
        key = ("a.c", "f", "if (x)")
        self.assertEqual(coverage.compare({key: 1}, {key: 1}), [])
        self.assertIn("f(): 1 branches", "".join(coverage.compare({key: 1}, {})))
        self.assertIn("0 uncovered branches, not 1", "".join(coverage.compare({}, {key: 1})))
        table = self.tree({"t": "a.c f 1: if (x)\n\twhy\na.c g 2: if (y)\nodd\n"}).path("t")
        rows, faults = coverage.table_read(table)
        self.assertEqual(rows, {key: 1, ("a.c", "g", "if (y)"): 2})
        self.assertEqual([f.split(":")[1] for f in faults], ["4", "3"])

    def test_format_and_scripts(self):
        style = "BasedOnStyle: LLVM\n"
        self.finds(test_format.c_is_formatted, {".clang-format": style, "a.c": "int  x ;\n"}, "a.c:1")
        self.finds(test_format.every_check_that_is_off_has_a_reason,
                   {".clang-tidy": "# a-b: why\nChecks: >-\n  x-*,\n  -a-b,\n  -c-d.E,\n"}, "c-d.E is off")
        self.finds(test_scripts.shell_scripts_pass_shellcheck,
                   {"a.sh": "#!/bin/sh\necho $1\n"}, "a.sh:2")
        self.finds(test_scripts.python_uses_the_standard_library_alone,
                   {"a.py": "import os\nimport requests\n", "b.py": "def f(:\n"},
                   "a.py:2: imports requests", "b.py:1")

    def test_units(self):
        unit = "[Service]\nExecStart=/usr/sbin/x\n%s\nPrivateTmp=yes\n"
        bad = {"systemd/x.service": unit % "Protekt=yes"}
        self.finds(test_units.every_restriction_has_a_reason, bad, "x.service:4: PrivateTmp")
        self.finds(test_units.systemd_accepts_the_units, bad, "Protekt")
        good = {"systemd/x.service": unit % "# Why."}
        self.accepts(test_units.every_restriction_has_a_reason, good)
        self.accepts(test_units.systemd_accepts_the_units, good)
        allows = test_units.the_launchers_unit_allows_what_the_launcher_calls
        calls = {"launcher/a.c": "int f(void)\n{\n\treturn unshare(CLONE_NEWNS);\n}\n"}
        self.finds(allows, {"systemd/teelaunchd.service": "RestrictNamespaces=yes\n", **calls},
                   "teelaunchd.service:1: RestrictNamespaces")
        self.accepts(allows, {"systemd/teelaunchd.service": "RestrictNamespaces=mnt\n", **calls})
        ends = {"launcher/a.c": "int f(void)\n{\n\treturn reboot(0);\n}\n"}
        self.finds(allows, {"systemd/teelaunchd-exit@.service": "SystemCallFilter=@system-service\n", **ends},
                   "teelaunchd-exit@.service:1: SystemCallFilter")
        dropped = "image/r/usr/lib/systemd/system/x.service.d/y.conf"
        self.finds(test_units.systemd_accepts_the_units, {dropped: "[Unit]\nRequirez=y.service\n"}, "Requirez")
        self.accepts(test_units.systemd_accepts_the_units, {dropped: "[Unit]\nRequires=y.service\n"})

    def library(self, name, code, *flags):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        source, obj = (os.path.join(folder.name, f) for f in ("x.c", "x.c.o"))
        with open(source, "w", encoding="utf-8") as f:
            f.write(code)
        for argv in (["gcc", *flags, "-c", source, "-o", obj],
                     ["ar", "rcs", os.path.join(folder.name, "lib%s.a" % name), obj]):
            done = arch.run(argv)
            self.assertEqual(done.returncode, 0, done.stdout)
        return folder.name

    def test_symbols(self):
        build = self.library("tl_policy", "#include <stdlib.h>\n#include <time.h>\n"
                             "long f(void) { return time(NULL) + !getenv(\"A\"); }\n")
        found = test_symbols.pure_libraries_call_nothing_impure
        for bad in ("tl_policy: needs time,", "tl_policy: needs getenv,", "tl_core: not built"):
            self.assertIn(bad, "\n".join(self.pure(found, build)))
        build = self.library("tl_attest", "int f(int x) { static int seen; static int one = 1;"
                             " static const char *const names[] = { \"a\" };"
                             " return seen += x + one++ + names[0][x]; }\n", "-fPIC")
        self.assertEqual(len(test_symbols.no_library_holds_state(None, build)), 2)

    def test_verifier_stays_out(self):
        build = self.library("tl_verifier", "int judge(void) { return 0; }\n"
                             "int main(void) { return judge(); }\n")
        with open(os.path.join(build, "CMakeCache.txt"), "w", encoding="utf-8") as f:
            f.write("TL_BIN_DIR:UNINITIALIZED=%s\n" % build)
        arch.run(["gcc", os.path.join(build, "x.c"), "-o", os.path.join(build, "teelaunchd")],
                 check=True)
        self.assertIn("teelaunchd: holds judge of tl_verifier",
                      test_symbols.programs_leave_out_what_is_not_theirs(None, build))

    @staticmethod
    def pure(check, build):
        # Only the libraries that exist can be below; the rest is reported as not built.
        kept = test_symbols.PURE
        test_symbols.PURE = {n: ((), p) for n, (_, p) in kept.items()}
        try:
            return check(None, build)
        finally:
            test_symbols.PURE = kept

    def linked(self, *flags, name="teelaunchd"):
        """A build folder in which @name has every property but what the flags take away."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for inner in ("bin", "image"):
            os.mkdir(os.path.join(folder.name, inner))
        for path, text in {"CMakeCache.txt": "CMAKE_C_COMPILER:STRING=gcc\n", **SOURCES}.items():
            with open(os.path.join(folder.name, path), "w", encoding="utf-8") as f:
                f.write(text)
        done = arch.run(["gcc", "-O2", "-Wall", "-fPIE", "-pie", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong",
                         "-fcf-protection=full", "-Wl,-z,relro,-z,now,-z,noexecstack", "x.c", *flags,
                         "-o", os.path.join("bin", name)], cwd=folder.name,
                        env={**os.environ, "TMPDIR": folder.name})
        self.assertEqual(done.returncode, 0, done.stdout)
        return folder.name

    def test_hardening(self):
        check = test_hardening.programs_are_hardened
        self.assertEqual([b for b in check(None, self.linked()) if "not built" not in b], [])
        self.assertIn("teeverifierd: not built", "\n".join(check(None, self.linked())))
        for what, flags in WEAKER.items():
            found = check(None, self.linked(*flags, name="teelaunch-more"))
            self.assertEqual([f for f in found if "not so" in f], ["teelaunch-more: not so: " + what])
        self.assertEqual(set(WEAKER), set(test_hardening.PROPERTIES))

    def test_hardening_of_the_first_program(self):
        check = test_hardening.the_images_first_program_is_hardened
        self.assertIn("not built", "".join(check(None, self.linked())))

        def first(*flags, objects=("-D_FORTIFY_SOURCE=2",)):
            build = self.linked(*flags, name="../image/teelaunch-init")
            done = arch.run(["gcc", "-O2", *objects, "-fstack-protector-strong", "-c", "x.c", "-o",
                             os.path.join("image", "init.c.o")], cwd=build)
            self.assertEqual(done.returncode, 0, done.stdout)
            return "\n".join(check(None, build))

        self.assertEqual(first("-static-pie"), "")
        self.assertIn("not so: static", first())
        self.assertIn("not so: position independent", first("-static", "-no-pie"))
        self.assertIn("not so: checked", first("-static-pie", objects=("-U_FORTIFY_SOURCE",)))

    def test_bill_of_materials(self):
        build = self.linked("-Wl,-Map=x.map")
        os.mkdir(os.path.join(build, "maps"))
        os.rename(os.path.join(build, "x.map"), os.path.join(build, "maps", "teelaunchd.map"))
        program = os.path.join(build, "bin", "teelaunchd")
        tree = arch.Tree(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
        good = json.loads(test_sbom.made(tree, build, [program]))
        mapped = test_sbom.mapped_by_the_loader(program)
        start = os.path.realpath(arch.run(["gcc", "-print-file-name=Scrt1.o"], check=True).stdout.strip())

        def faults(change):
            doc = copy.deepcopy(good)
            change(doc)
            bad = test_sbom.form_faults(doc) or test_sbom.program_faults(doc, "teelaunchd", program, mapped, {start})
            reader = test_sbom.Reader(doc)
            return "\n".join(bad + [b for f in doc["files"] for b in test_sbom.package_faults(reader, f)])

        def without(end):
            return lambda doc: doc.update(relationships=[
                r for r in doc["relationships"] if not r["relatedSpdxElement"].endswith(end)])

        self.assertEqual(len(mapped), 2)
        self.assertEqual(faults(lambda doc: None), "")
        self.assertIn("libc.so.6, which isn't listed", faults(without("libc.so.6")))
        self.assertIn("Scrt1.o, which isn't listed", faults(without("Scrt1.o")))
        self.assertIn("isn't listed with its digest", faults(
            lambda doc: doc["packages"][0]["checksums"][1].update(checksumValue="00")))
        self.assertIn("has another digest", faults(
            lambda doc: doc["files"][0]["checksums"][1].update(checksumValue="00")))
        self.assertIn("dpkg says", faults(lambda doc: [p.update(versionInfo="0") for p in doc["packages"][1:]]))
        self.assertIn("has no SHA1", faults(lambda doc: doc["files"][0].update(checksums=[])))
        self.assertIn("stands for two", faults(lambda doc: doc["files"].append(doc["files"][0])))
        self.assertIn("which is nothing", faults(lambda doc: doc["files"].pop()))
        for field in test_sbom.REQUIRED["document"]:
            self.assertIn("lacks " + field, faults(lambda doc, f=field: doc.pop(f)))

    def test_hardening_of_objects(self):
        if os.uname().machine != "x86_64":
            return
        check = test_hardening.objects_carry_the_cet_note
        for flag, is_bad in (("full", False), ("none", True), ("branch", True), ("return", True)):
            build = self.library("tl_x", "int f(void) { return 1; }\n", "-fcf-protection=" + flag)
            self.assertEqual("tl_x: no CET note" in "\n".join(check(None, build)), is_bad)
            where = os.path.join(build, "src", "CMakeFiles", "teelaunchd.dir")
            os.makedirs(where)
            os.rename(os.path.join(build, "x.c.o"), os.path.join(where, "teelaunchd.c.o"))
            self.assertEqual("teelaunchd.c.o: no CET note" in "\n".join(check(None, build)), is_bad)


if __name__ == "__main__":
    unittest.main()
