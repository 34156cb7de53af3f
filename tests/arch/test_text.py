# SPDX-License-Identifier: Apache-2.0
"""Rules about the text of the files: calls that are ruled out, licence lines, names of machines."""

import re

import arch

# Call -> what to use.
FORBIDDEN = {
    "alloca": "a buffer with a maximum", "atoi": "tl_str_parse_u64()",
    "atol": "tl_str_parse_u64()", "atoll": "tl_str_parse_u64()",
    "exit": "return from main()", "gets": "tl_file_read()", "mktemp": "mkstemp()",
    "popen": "posix_spawn()", "sprintf": "tl_buf_printf()", "strcat": "tl_buf_append_str()",
    "setlocale": "the C locale",
    "strcpy": "memcpy() with a size, or strdup()", "strtok": "strchr()",
    "strtol": "tl_str_parse_u64()", "strtoll": "tl_str_parse_u64()",
    "strtoul": "tl_str_parse_u64()", "strtoull": "tl_str_parse_u64()",
    "system": "posix_spawn()", "vsprintf": "tl_buf_printf()",
}
CALL = re.compile(r"(?<![\w.>])(%s)\s*\(|\b(goto)\s+\w+\s*;" % "|".join(FORBIDDEN))

SPDX = "SPDX-License-Identifier: Apache-2.0"
SPDX_ENDINGS = (".c", ".h", ".def", ".py", ".sh", ".proto")

# design.md, section 3.
TOP_LEVEL = re.compile(
    r"\..*|CMakeLists\.txt|CMakePresets\.json|Makefile|LICENSE|README\.md|NEWS\.md|SECURITY\.md|"
    r"CONTRIBUTING\.md|src|include|launcher|attest|policy|tests|systemd|docs|image|debian")

# Where a developer, a session or a mirror lives. In brackets, so that this file doesn't match.
MACHINE = re.compile(
    r"/(?:[w]ork/(?:main|shared|wt)|[f]arm/|[r]oot/\w|[h]ome/\w)|"
    r"[.](?:[d]ebian[.]org/debian|[u]buntu[.]com/ubuntu)|(?:deb|snapshot|security)[.][d]ebian[.]org|"
    r"[p]ypi[.]org|[n]pmjs[.]|[c]rates[.]io|proxy[.][g]olang[.]org|[m]aven[.]org")


def no_forbidden_calls(tree):
    bad = []
    for name in tree.c_files():
        text = arch.without_comments(tree.read(name))
        for match in CALL.finditer(text):
            call = match.group(1) or match.group(2)
            bad.append("%s:%d: %s: use %s" % (name, arch.line_of(text, match.start()), call,
                                              FORBIDDEN.get(call, "the cleanup attributes")))
    return bad


def every_source_names_its_licence(tree):
    return ["%s:1: no line '%s' at the top" % (name, SPDX) for name in tree.named(*SPDX_ENDINGS)
            if SPDX not in "\n".join(tree.read(name).split("\n", 3)[:3])]


def the_top_level_holds_only_what_the_design_names(tree):
    tops = sorted({name.split("/")[0] for name in tree.files})
    return ["%s: not in the design's list of the top level" % top for top in tops
            if not TOP_LEVEL.fullmatch(top)]


def no_file_names_a_machine(tree):
    bad = []
    for name in tree.files:
        text = tree.read(name)
        bad += ["%s:%d: names a place of one machine: %s" % (
            name, arch.line_of(text, m.start()), m.group(0)) for m in MACHINE.finditer(text)]
    return bad


# A return above the initialisation would run the cleanup on what was never set.
CLEANUP_LOCAL = re.compile(r"^[ \t]*(?:static )?auto_[a-z0-9_]+[^=;(]*;", re.M)


def every_local_with_cleanup_is_initialised(tree):
    bad = []
    for name in tree.c_files():
        text = arch.without_comments(tree.read(name))
        bad += ["%s:%d: a local with cleanup is not initialised where it is declared" % (
            name, arch.line_of(text, m.start())) for m in CLEANUP_LOCAL.finditer(text)]
    return bad


if __name__ == "__main__":
    arch.main(no_forbidden_calls, every_local_with_cleanup_is_initialised,
              every_source_names_its_licence,
              the_top_level_holds_only_what_the_design_names, no_file_names_a_machine)
