# SPDX-License-Identifier: Apache-2.0
"""The error catalogue: ordered, every row used by the code, every row produced by some test."""

import ast
import re

import arch

CATALOGUE = "src/core/catalogue.def"
ROW = re.compile(r"^TL_ROW\((\d+),\s*(TL_E_\w+),", re.M)
NAME = re.compile(r"\bTL_E_[A-Z0-9_]+\b")
ID = re.compile(r"\bTL(\d{4})\b")


def rows(tree):
    return [(int(number), name) for number, name in ROW.findall(tree.read(CATALOGUE))]


def names_in(tree, texts):
    """Codes mentioned by name or, as scripts see them, by id."""
    by_number = dict(rows(tree))
    found = set()
    for text in texts:
        found.update(NAME.findall(text))
        found.update(by_number.get(int(i)) for i in ID.findall(text))
    return found


def c_without_claims(text):
    """A test's C code: what it holds against what came. Neither its comments nor the errors that it
    makes itself, as input."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
    text = token.sub(lambda match: match.group(0) if match.group(0)[0] == '"' else " ", text)
    text = re.sub(r"\btl_(?:fail|fail_sys|wrap)\([^;]*;", " ", text)
    return re.sub(r"\bcode\s*=\s*TL_E_\w+", " ", text)


def python_without_claims(text):
    """The string literals of a test's Python code, but for what says what a function is for."""
    tree = ast.parse(text)
    said = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and node.body and isinstance(node.body[0], ast.Expr)}
    return "\n".join(node.value for node in ast.walk(tree)
                     if isinstance(node, ast.Constant) and isinstance(node.value, str)
                     and id(node) not in said)


def tests_of(tree):
    for name in tree.named(".c", ".py", ".sh", ".h"):
        if name.startswith("tests/") and not name.startswith("tests/arch/"):
            text = tree.read(name)
            yield python_without_claims(text) if name.endswith(".py") else \
                c_without_claims(text) if name.endswith((".c", ".h")) else text


def rows_are_ordered_and_dense(tree):
    bad = []
    last = 0
    for number, name in rows(tree):
        if number != last + 1 and not (number > last and number % 100 == 1):
            bad.append("%s:1: %s has number %d after %d" % (CATALOGUE, name, number, last))
        last = number
    return bad


def every_row_is_used(tree):
    used = names_in(tree, [tree.read(f) for f in tree.c_files() if not f.startswith("tests/")])
    return ["%s:1: %s is used nowhere" % (CATALOGUE, name) for _, name in rows(tree)
            if name not in used]


def every_row_has_a_test(tree):
    """No exemptions: a new row comes with its test, and what no test can produce is no row."""
    names = {name for _, name in rows(tree)}
    tested = names_in(tree, tests_of(tree)) & names
    print("every_row_has_a_test: %d of %d rows" % (len(tested), len(names)))
    return ["%s:1: no test expects %s" % (CATALOGUE, n) for n in sorted(names - tested)]


if __name__ == "__main__":
    arch.main(rows_are_ordered_and_dense, every_row_is_used, every_row_has_a_test)
