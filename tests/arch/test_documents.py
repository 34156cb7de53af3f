# SPDX-License-Identifier: Apache-2.0
"""The manual pages of documents name every member that the sources write."""

import re

import arch

# A document's page, and the sources that write its members.
DOCUMENTS = (("docs/man/teelaunch-report.5", "launcher/report.c", 40),
             ("docs/man/teelaunch-token-status.5", "attest/token_file.c", 8))
MEMBER = re.compile(r'\\?"([a-z][a-z0-9_]+)\\?"')
VALUES = {"none", "valid", "stale", "expired"}  # that the same sources have as literals


def pages_name_every_member_of_a_document(tree):
    """In the sources a member is a literal of one word; in the page it is bold."""
    bad = []
    for page, source, least in DOCUMENTS:
        code = re.sub(r"/\*.*?\*/", "", tree.read(source), flags=re.S)
        members = set(MEMBER.findall(code)) - VALUES
        bold = re.findall(r"^\.(?:B|BR|RB) (.*)$", tree.read(page).replace("\\-", "-"), re.M)
        if len(members) < least:
            bad.append("%s:1: only %d members found" % (source, len(members)))
        bad += ["%s:1: lacks %s" % (page, m)
                for m in sorted(members - set(re.findall(r"[\w.]+", " ".join(bold))))]
    return bad


if __name__ == "__main__":
    arch.main(pages_name_every_member_of_a_document)
