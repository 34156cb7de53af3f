#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks a token against a key set with openssl, and by nothing of this project's.

  token_check.py --token FILE --jwks FILE     prints the claims; exit 1 if the signature is not good
"""
import argparse
import base64
import json
import os
import sys
import tempfile

import parts


def unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def der(tag, *contents):
    """One DER value (ITU-T X.690, 8.1)."""
    body = b"".join(contents)
    n = len(body)
    if n < 128:
        return bytes([tag, n]) + body
    length = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def der_integer(data):
    data = data.lstrip(b"\0") or b"\0"
    return der(0x02, (b"\0" if data[0] & 0x80 else b"") + data)


# SubjectPublicKeyInfo of a JWK: RFC 3279, 2.3.1 (RSA) and RFC 5480, 2 (P-256).
def public_key(jwk):
    if jwk["kty"] == "RSA":
        algorithm = der(0x30, bytes.fromhex("06092a864886f70d010101"), der(0x05))
        key = der(0x30, der_integer(unbase64url(jwk["n"])), der_integer(unbase64url(jwk["e"])))
    elif jwk["kty"] == "EC" and jwk["crv"] == "P-256":
        algorithm = der(0x30, bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06082a8648ce3d030107"))
        key = b"\x04" + unbase64url(jwk["x"]) + unbase64url(jwk["y"])
    else:
        raise parts.Failure("the key set has a key of a kind that isn't known here: %s" % jwk["kty"])
    return der(0x30, algorithm, der(0x03, b"\0", key))


def check(token, jwks):
    """The claims of a token that a key of the set has signed; Failure otherwise."""
    head, claims, signature = token.strip().split(".")
    header = json.loads(unbase64url(head))
    keys = [k for k in jwks["keys"] if k.get("kid") == header.get("kid")]
    if len(keys) != 1 or {"RSA": "RS256", "EC": "ES256"}[keys[0]["kty"]] != header["alg"]:
        raise parts.Failure("the key set has no key '%s' for %s" % (header.get("kid"), header.get("alg")))
    raw = unbase64url(signature)
    if header["alg"] == "ES256":  # RFC 7518, 3.4: r and s side by side; openssl wants them in DER
        raw = der(0x30, der_integer(raw[:32]), der_integer(raw[32:]))
    with tempfile.TemporaryDirectory() as folder:
        key, sig = os.path.join(folder, "key"), os.path.join(folder, "signature")
        pem = parts.run("openssl", "pkey", "-pubin", "-inform", "DER", stdin=public_key(keys[0]))
        for path, data in ((key, pem), (sig, raw)):
            with open(path, "wb") as f:
                f.write(data)
        parts.run("openssl", "dgst", "-sha256", "-verify", key, "-signature", sig,
                  stdin=("%s.%s" % (head, claims)).encode())
    return json.loads(unbase64url(claims))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--token", required=True)
    p.add_argument("--jwks", required=True)
    a = p.parse_args()
    try:
        print(json.dumps(check(parts.read(a.token), json.loads(parts.read(a.jwks))), indent=1))
    except (parts.Failure, ValueError, KeyError) as fault:
        sys.exit("token_check.py: refused: %s" % fault)


if __name__ == "__main__":
    main()
