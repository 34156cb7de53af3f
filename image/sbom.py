# SPDX-License-Identifier: Apache-2.0
"""The list of packages in the image, as an SPDX 2.3 document."""

import datetime
import os
import re
import uuid


def licences(path):
    """The short names in a package's machine-readable copyright file, as Debian spells them; none where the
    file has another form or isn't there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
    except OSError:
        return []
    if not re.match(r"Format:\s*https?://\S*copyright-format", text):
        return []
    return sorted(set(re.findall(r"^License:[ \t]*(\S[^\n]*?)[ \t]*$", text, re.M)))


def package(name, stanza, folder):
    found = licences(os.path.join(folder, name, "usr/share/doc", name, "copyright"))
    return {
        "SPDXID": "SPDXRef-Package-" + re.sub(r"[^A-Za-z0-9.-]", "-", name),
        "name": name, "versionInfo": stanza["Version"],
        "supplier": "Organization: Debian", "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
        "licenseComments": "; ".join(found) or "see Debian's copyright file",
        "copyrightText": "NOASSERTION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": stanza["SHA256"]}],
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
            "referenceLocator": "pkg:deb/debian/%s@%s?arch=%s" % (
                name, stanza["Version"].replace(":", "%3A").replace("+", "%2B"),
                stanza["Architecture"])}]}


def document(image, version, epoch, digest, stanzas, folder):
    """@stanzas: {name: fields of apt's record} of the packages that have a file in the image."""
    when = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    ours = {"SPDXID": "SPDXRef-Image", "name": image, "versionInfo": version,
            "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
            "licenseConcluded": "NOASSERTION", "licenseDeclared": "Apache-2.0",
            "copyrightText": "NOASSERTION",
            "checksums": [{"algorithm": "SHA256", "checksumValue": digest}]}
    found = [package(name, stanza, folder) for name, stanza in sorted(stanzas.items())]
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": image,
        "documentNamespace": "urn:uuid:%s" % uuid.uuid5(uuid.NAMESPACE_URL, image + digest),
        "creationInfo": {"created": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
                         "creators": ["Tool: teelaunch-image-build-" + version]},
        "packages": [ours] + found,
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
             "relatedSpdxElement": "SPDXRef-Image"}] + [
            {"spdxElementId": "SPDXRef-Image", "relationshipType": "CONTAINS",
             "relatedSpdxElement": each["SPDXID"]} for each in found]}
