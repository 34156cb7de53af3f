# SPDX-License-Identifier: Apache-2.0
"""Signatures of images in cosign's form, made by openssl alone, and put into a registry beside the image.

Formats: cosign's SIGNATURE_SPEC.md; OCI distribution specification 1.1, "Listing Referrers" and its tag
schema for registries without it; key and algorithm in the payload's "optional" object."""
import base64
import hashlib
import json
import os

import parts

# name -> (how openssl makes a key, how it signs)
ALGORITHMS = {
    "ECDSA_P256_SHA256": (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), ()),
    "RSASSA_PSS_SHA256": (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
                          ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")),
    "RSASSA_PKCS1V15_SHA256": (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"), ()),
}
PUB, ALG = "dev.sigstore.cosign/pub", "dev.sigstore.cosign/sigalg"
ANNOTATION = "dev.cosignproject.cosign/signature"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
SIGNATURE_TYPE = "application/vnd.dev.cosign.artifact.sig.v1+json"
LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"


class Signer:
    """One key of an author."""

    def __init__(self, folder, name, algorithm, key=None):
        self.algorithm = algorithm
        make, self.how = ALGORITHMS[algorithm]
        self.key = os.path.join(folder, name + ".key")
        parts.run("openssl", "genpkey", *(key or make), "-out", self.key)
        self.pem = parts.run("openssl", "pkey", "-in", self.key, "-pubout")
        der = parts.run("openssl", "pkey", "-in", self.key, "-pubout", "-outform", "DER")
        self.key_id = parts.run("openssl", "dgst", "-sha256", "-r", stdin=der).split()[0].decode()

    def payload(self, digest, **changed):
        """What is signed; `changed` replaces entries of "optional", None takes one away."""
        optional = {PUB: base64.b64encode(self.pem).decode().rstrip("="), ALG: self.algorithm}
        optional.update({{"pub": PUB, "sigalg": ALG}.get(k, k): v for k, v in changed.items()})
        return json.dumps({
            "critical": {"identity": {"docker-reference": "registry.example/demo/hello"},
                         "image": {"docker-manifest-digest": digest},
                         "type": "cosign container image signature"},
            "optional": {k: v for k, v in optional.items() if v is not None}}).encode()

    def sign(self, payload):
        return parts.run("openssl", "dgst", "-sha256", "-sign", self.key, *self.how, stdin=payload)

    def signature(self, digest, **changed):
        payload = self.payload(digest, **changed)
        return payload, self.sign(payload)

    def claim(self, signature):
        return {"key_id": self.key_id, "signature": base64.b64encode(signature).decode(),
                "signature_algorithm": self.algorithm}


def claims(*signed):
    """The claim image_signatures of (signer, signature) pairs."""
    return sorted((signer.claim(signature) for signer, signature in signed),
                  key=lambda c: (c["key_id"], c["signature_algorithm"], c["signature"]))


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(media_type, data, **more):
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def manifest(signatures, subject=None):
    """The bytes of a manifest with one layer for each (payload, signature); a signature that is a string
    is the annotation as it is."""
    layers = []
    for payload, signature in signatures:
        text = signature if isinstance(signature, str) else base64.b64encode(signature).decode()
        layers.append(descriptor(LAYER, payload, annotations={ANNOTATION: text}))
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(SIGNATURE_TYPE, b"{}"),
                "layers": layers}
    if subject:
        document.update(artifactType=SIGNATURE_TYPE,
                        subject={"mediaType": MANIFEST, "digest": subject, "size": 1})
    return json.dumps(document).encode()


def index(manifests):
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        descriptor(MANIFEST, m, artifactType=SIGNATURE_TYPE) for m in manifests]}).encode()


def push_blobs(registry, repository, signatures):
    for data in [b"{}", *(payload for payload, _ in signatures)]:
        registry.push_blob(repository, data)


def push(registry, repository, digest, signatures):
    """As cosign does it by default: under a tag made of the image's digest."""
    push_blobs(registry, repository, signatures)
    registry.push_manifest(repository, digest.replace(":", "-") + ".sig", manifest(signatures), MANIFEST)


def push_referrer(registry, repository, digest, signatures):
    """As OCI 1.1 has it for a registry without referrers: an index under a tag of the digest."""
    push_blobs(registry, repository, signatures)
    one = manifest(signatures, subject=digest)
    registry.push_manifest(repository, digest_of(one), one, MANIFEST)
    registry.push_manifest(repository, digest.replace(":", "-"), index([one]), INDEX)
