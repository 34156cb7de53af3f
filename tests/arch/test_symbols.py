# SPDX-License-Identifier: Apache-2.0
"""What the linker sees: policy is pure, no library holds state, the verifier stays out of teelaunchd.

For builds without sanitizers; those bring symbols of their own.
"""

import glob
import os
import re

import arch

# What a pure library may need from outside: memory, strings, arithmetic. No descriptor, clock,
# environment, log, thread or random number. <ctype.h> is the C locale's: nobody calls setlocale()
# (test_text.py).
PURE_LIBC = set("""
    malloc calloc realloc reallocarray free strdup strndup explicit_bzero
    memcpy memmove memset memcmp memchr memmem memrchr bcmp
    strlen strnlen strcmp strncmp strcasecmp strncasecmp strchr strrchr strchrnul strstr strspn
    strcspn strpbrk stpcpy strerrordesc_np
    qsort bsearch snprintf vsnprintf asprintf vasprintf inet_pton
    abort __stack_chk_fail __errno_location _GLOBAL_OFFSET_TABLE_
    __ctype_b_loc __ctype_tolower_loc tolower
    """.split())
# glibc's checked form of a permitted function is permitted: __memcpy_chk.
CHECKED = re.compile(r"__(\w+)_chk")

# Library -> (libraries below it, which may define what it needs; more that it may call).
PURE = {
    "tl_policy": (("tl_core",), re.compile(
        r"json_(?!.*(file|fd|_callback|object_seed)\b|dumpf|loadf)\w+")),
    # libcrypto for digests and for the wiping and locking of secrets.
    "tl_core": ((), re.compile(
        r"(EVP|OPENSSL|CRYPTO|OSSL_PARAM)_\w+|aligned_alloc|mlock2?|munlock|madvise|mmap|munmap|mprotect|"
        r"sysconf")),
}

# "library symbol" -> why this state may exist.
STATE = {
    "tl_io log_level": "set once by main; a log call must not need a context",
    "tl_io console_fd": "set once by main, beside the level",
    "tl_io console_turns": "lines of the log and of the workload stand on one console",
    "tl_io sink_lock": "over the next two, which any thread's log call reads",
    "tl_io journal_line": "set once by the launch, beside the console",
    "tl_io journal_ctx": "what the call above gets",
    "tl_io is_console_stuck": "one console for the whole process: a wait that was in vain isn't repeated",
    "tl_io is_stderr_stuck": "the same of standard error",
    "tl_io sink_line": "set once by the launch, beside the console",
    "tl_io sink_ctx": "the same",
    "tl_io dropped": "lines the console didn't take; only the log itself can know",
    "tl_fuzz_wire wire": "what stands in the place of connect(2) in a fuzz target gets no context",
}

# Program -> the library of which nothing may be in it.
KEPT_OUT = {
    "teelaunchd": "tl_verifier",
    "teelaunch": "tl_containerd",
}


def libraries(build):
    found = glob.glob(os.path.join(build, "**", "libtl_*.a"), recursive=True)
    return {os.path.basename(f)[3:-2]: f for f in found}


def symbols(path, *options):
    out = arch.run(["nm", "--format=posix", *options, path], check=True).stdout
    return {row.split()[0] for row in out.splitlines() if " " in row}


def is_pure(symbol, pattern):
    checked = CHECKED.fullmatch(symbol)
    name = checked.group(1) if checked else symbol
    return name in PURE_LIBC or bool(pattern.fullmatch(name))


def pure_libraries_call_nothing_impure(tree, build):
    bad = []
    have = libraries(build)
    for name, (below, pattern) in PURE.items():
        if name not in have:
            bad.append("%s: not built in %s" % (name, build))
            continue
        known = set()
        for library in (name, *below):
            known |= symbols(have[library], "--defined-only", "--extern-only")
        for symbol in sorted(symbols(have[name], "--undefined-only") - known):
            if not is_pure(symbol, pattern):
                bad.append("%s: needs %s, which is not on the list of pure functions"
                           % (name, symbol))
    return bad


# objdump -t: address, seven flag columns, section, size, name.
OBJECT = re.compile(r"^[0-9a-f]+ ([lgu! ]).{5}O (\.t?(?:data|bss)\S*|\*COM\*)\s+[0-9a-f]+\s+"
                    r"(?:\.\w+ )?(\S+)$", re.M)


def no_library_holds_state(tree, build):
    bad = []
    for name, path in sorted(libraries(build).items()):
        for _, section, symbol in OBJECT.findall(
                arch.run(["objdump", "-t", path], check=True).stdout):
            if section.startswith(".data.rel.ro") or symbol.startswith("__func__"):
                continue
            if "%s %s" % (name, symbol) not in STATE:
                bad.append("%s: mutable file-scope state: %s in %s" % (name, symbol, section))
    return bad


def programs_leave_out_what_is_not_theirs(tree, build):
    bad = []
    have = libraries(build)
    for program, kept_out in KEPT_OUT.items():
        path = os.path.join(bin_folder(build), program)
        if not os.path.exists(path) or kept_out not in have:
            bad.append("%s or %s: not built in %s" % (program, kept_out, build))
            continue
        inside = symbols(path, "--defined-only", "--extern-only")
        theirs = symbols(have[kept_out], "--defined-only", "--extern-only")
        bad += ["%s: holds %s of %s" % (program, s, kept_out) for s in sorted(inside & theirs)]
    return bad


def bin_folder(build):
    with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as cache:
        for row in cache:
            if row.startswith("TL_BIN_DIR:"):
                return row.split("=", 1)[1].strip()
    return os.path.join(build, "bin")


if __name__ == "__main__":
    arch.main(pure_libraries_call_nothing_impure, no_library_holds_state,
              programs_leave_out_what_is_not_theirs)
