#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The runner of the documentation's examples finds what is wrong with a page."""

import os
import tempfile
import unittest

import docs_examples

GOOD = """# Page

```json a.json
{"a": 1}
```

```console
$ cat a.json
{"a": 1}
$ echo one \\
> two; date
one two
[...]:[...]
$ false
$ echo $?
1
```

```sh
not run, as this needs a cloud
```
"""


class Runner(unittest.TestCase):
    def page(self, text):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "page.md")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return docs_examples.Page(path, docs_examples.environment([]))

    def finds(self, text, *words):
        found = "\n".join(self.page(text).check())
        for word in words:
            self.assertIn(word, found)

    def console(self, *lines):
        return "```console\n%s\n```\n" % "\n".join(lines)

    def test_a_good_page_passes_and_is_really_run(self):
        page = self.page(GOOD)
        self.assertEqual(page.check(), [])
        self.assertEqual(page.run, 4)

    def test_another_output_is_found_at_its_line(self):
        self.finds(GOOD.replace('\n{"a": 1}\n$', '\n{"a": 2}\n$'), "page.md:8:", '{"a": 2}',
                   "got:")
        self.finds(self.console("$ echo a"), "got:\na")
        self.finds(self.console("$ true", "a"), "expected:\na")
        self.finds(self.console("$ printf a", "a"), "newline")

    def test_elision_is_no_wildcard_for_the_rest(self):
        self.finds(self.console("$ printf 'a\\nb\\nc\\n'", "a", "[...]", "d"), "got:")
        self.finds(self.console("$ echo abc", "a[...]d"), "got:")
        self.finds(self.console("$ printf 'ab\\nc\\n'", "a[...]c"), "got:")
        self.finds(self.console("$ echo a.c", "abc"), "got:")
        self.finds(self.console("$ echo a", "[...]"), "all of the output is elided")
        self.assertEqual(self.page(self.console("$ seq 9", "1", "[...]", "8", "9")).check(), [])

    def test_a_failure_must_be_shown(self):
        self.finds(self.console("$ false"), "it failed (1)")
        self.finds(self.console("$ sh -c 'exit 3'", "$ true"), "failed (3)")
        self.finds(self.console("$ false", "$ echo $?", "0"), "got:\n1")

    def test_malformed_pages(self):
        self.finds("# Nothing to run\n", "no example is run")
        self.finds("```sh\nls\n```\n", "no example is run")
        self.finds("```console\n$ true\n", "line 1: this block is never closed")
        self.finds("```console\n```\n", "without a command")
        self.finds(self.console("true"), "must start with a command")
        self.finds("```\nls\n```\n", "a block '' is neither run")
        self.finds("```json\n{}\n```\n", "a block 'json' is neither run")
        self.finds("```json ../a\n{}\n```\n", "no name of a file")
        self.finds("```console a\n$ true\n```\n", "no name of a file")
        self.finds(" ```console\n$ true\n```\n", "a fence must start the line")

    def test_an_update_makes_the_page_right(self):
        page = self.page("a\n" + self.console("$ echo a; \\", "> echo b", "c", "$ echo d") + "b\n")
        self.assertEqual(len(page.check()), 2)
        page.update()
        again = docs_examples.Page(page.path, page.environment)
        self.assertEqual(again.check(), [])
        self.assertEqual(again.text, "a\n" + self.console(
            "$ echo a; \\", "> echo b", "a", "b", "$ echo d", "d") + "b\n")


if __name__ == "__main__":
    unittest.main()
