# SPDX-License-Identifier: Apache-2.0
"""Finding signatures of an image, in a real registry and in one that misbehaves on order.
Usage: image_signatures.py DRIVER"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))
import image_world as w  # noqa: E402
import registry as real_registry  # noqa: E402
import signatures as s  # noqa: E402

DRIVER = None
IMAGE = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
TAG = IMAGE.replace(":", "-") + ".sig"
CANARY = "canary-5d20ce-access-token"


def setUpModule():
    global folder, real, rogue, ca, signer
    folder = tempfile.TemporaryDirectory(prefix="tl-image-signatures-")
    ca = w.Authority(folder.name + "/ca")
    rogue = w.Registry(*ca.issue("127.0.0.1"))
    real = real_registry.Registry(folder.name + "/registry", with_parent=True).start()
    signer = s.Signer(folder.name, "author", "ECDSA_P256_SHA256")
    with open(folder.name + "/token", "w", encoding="ascii") as f:
        f.write(CANARY)


def tearDownModule():
    rogue.close()
    real.stop()
    folder.cleanup()


class Driver:
    """One process that asks again at each line."""

    def __init__(self, *repos, budget_ms=10000):
        self.process = subprocess.Popen(
            [DRIVER, "--registry-roots", "%s=%s" % (real.host, real.ca),
             "--registry-roots", "127.0.0.1:%d=%s" % (rogue.port, ca.pem),
             "--token-file", folder.name + "/token", "--budget-ms", str(budget_ms), IMAGE, *repos],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self):
        """([(payload, signature)], [problem], milliseconds)"""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found, problems = [], []
        for line in self.process.stdout:
            kind, _, value = line.rstrip("\n").partition("=")
            if kind == "signature":
                found.append(tuple(map(base64.b64decode, value.split(" "))))
            elif kind == "problem":
                assert CANARY not in value
                problems.append(value)
            else:
                return found, problems, int(value)
        raise AssertionError("the driver ended")

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=20)


class Case(unittest.TestCase):
    def setUp(self):
        rogue.reset()
        self.drivers = []
        self.repo = "test/" + self._testMethodName.lower()

    def tearDown(self):
        for driver in self.drivers:
            self.assertEqual(driver.end(), 0)

    def driver(self, *repos, **options):
        self.drivers.append(Driver(*repos, **options))
        return self.drivers[-1]

    def ask(self, *repos, **options):
        return self.driver(*repos, **options).ask()

    def rogue_repo(self, name="sig"):
        return "127.0.0.1:%d/%s" % (rogue.port, name)

    def put(self, signatures, name="sig", tag=TAG, **changed):
        """A signature manifest in the rogue registry; `changed` replaces fields of its first layer."""
        document = json.loads(s.manifest(signatures))
        for layer in document["layers"][:1]:
            layer.update(changed)
        rogue.manifests[name, tag] = (s.MANIFEST, json.dumps(document).encode())
        rogue.blobs.update({s.digest_of(p): p for p, _ in signatures})


class RealRegistry(Case):
    def test_no_signatures_is_no_problem(self):
        real.push_blob(self.repo, b"{}")
        self.assertEqual(self.ask(real.ref(self.repo))[:2], ([], []))

    def test_cosigns_tag(self):
        pairs = [signer.signature(IMAGE, number=str(i)) for i in range(3)]
        s.push(real, self.repo, IMAGE, pairs)
        self.assertEqual(self.ask(real.ref(self.repo))[:2], (pairs, []))

    def test_referrers_by_their_tag(self):
        pairs = [signer.signature(IMAGE)]
        s.push_referrer(real, self.repo, IMAGE, pairs)
        self.assertEqual(self.ask(real.ref(self.repo))[:2], (pairs, []))

    def test_several_repositories_in_turn_and_no_doubles(self):
        one, two, three = (signer.signature(IMAGE, number=str(i)) for i in range(3))
        s.push(real, self.repo + "/a", IMAGE, [one, two])
        s.push(real, self.repo + "/b", IMAGE, [three, one])
        s.push_referrer(real, self.repo + "/b", IMAGE, [two])
        a, b = real.ref(self.repo + "/a"), real.ref(self.repo + "/b")
        self.assertEqual(self.ask(b, a, b)[:2], ([three, one, two], []))
        self.assertEqual(self.ask(a, b)[:2], ([one, three, two], []))

    def test_fifty_signatures_and_no_payload_fetched_twice(self):
        pairs = [(signer.payload(IMAGE, number=str(i)), b"%d" % i) for i in range(50)]  # nobody verifies here
        s.push(real, self.repo, IMAGE, pairs)
        driver = self.driver(real.ref(self.repo))
        self.assertEqual(driver.ask()[:2], (pairs, []))
        mark = real.mark()
        self.assertEqual(driver.ask()[:2], (pairs, []))
        asked = [path for _, path, _ in real.requests(mark) if self.repo in path]
        self.assertEqual(len(asked), 3, asked)  # the tag, the referrers, the tag that stands for them

    def test_signatures_added_and_taken_away_are_noticed(self):
        one, two = (signer.signature(IMAGE, number=str(i)) for i in range(2))
        s.push(real, self.repo, IMAGE, [one])
        driver = self.driver(real.ref(self.repo))
        self.assertEqual(driver.ask()[:2], ([one], []))
        s.push(real, self.repo, IMAGE, [one, two])
        self.assertEqual(driver.ask()[:2], ([one, two], []))
        s.push(real, self.repo, IMAGE, [two])
        self.assertEqual(driver.ask()[:2], ([two], []))


class RogueRegistry(Case):
    def dropped(self, why, good=None):
        """One signature is dropped, the other one stays."""
        found, problems, _ = self.ask(self.rogue_repo())
        self.assertEqual(found, [good] if good else [])
        self.assertEqual(len(problems), 1, problems)
        self.assertIn("TL_E_IMAGE_SIGNATURE", problems[0])
        self.assertIn(why, problems[0])

    def test_payloads_that_are_none_of_this_image(self):
        good = signer.signature(IMAGE, number="good")
        self.put([signer.signature(OTHER), good])
        self.dropped("another image", good)
        self.put([(b"no json", b"x"), good])
        self.dropped("is not a JSON object", good)
        self.put([(b'{"critical": {"type": "\\u001b[31m"}}', b"x"), good])
        self.dropped("is not of the type", good)

    def test_bytes_that_are_not_what_the_manifest_says(self):
        good, bad = signer.signature(IMAGE, number="good"), signer.signature(IMAGE)
        self.put([bad, good])
        rogue.blobs[s.digest_of(bad[0])] = bad[0].replace(b"registry.example", b"registry.exampel")
        self.dropped("doesn't have the size and digest", good)
        self.put([bad, good], size=len(bad[0]) - 1)
        self.dropped("doesn't have the size and digest", good)
        self.put([bad, good], size=len(bad[0]) + 1)
        self.dropped("doesn't have the size and digest", good)
        self.put([bad, good])
        del rogue.blobs[s.digest_of(bad[0])]
        self.dropped("not in the repository", good)

    def test_a_huge_payload_is_not_fetched(self):
        good, huge = signer.signature(IMAGE), signer.signature(IMAGE, filler="x" * 20000)
        self.put([huge, good])
        self.dropped("too large", good)
        self.assertEqual(rogue.count(s.digest_of(huge[0])), 0)

    def test_signatures_that_are_not_base64(self):
        good, payload = signer.signature(IMAGE, number="good"), signer.payload(IMAGE)
        for text, why in (("%%%%", "not base64"), ("QUJD\n", "not base64"), ("QUI", "not base64"),
                          ("QUJD" * 400, "too large")):
            self.put([(payload, text), good])
            self.dropped(why, good)
        self.put([(payload, b"x"), good], annotations={"other": "QUJD"})
        self.dropped("has no signature", good)

    def test_documents_that_are_no_signature_manifest(self):
        for media_type, body, code in (
                (s.MANIFEST, b"{", "TL_E_MANIFEST_SYNTAX"), (s.INDEX, s.index([]), "TL_E_MANIFEST_TYPE"),
                ("text/html", b"<html>", "TL_E_MANIFEST"), (s.MANIFEST, b"[" * 5000000, "TL_E_MANIFEST_LIMIT")):
            rogue.manifests["sig", TAG] = (media_type, body)
            found, problems, _ = self.ask(self.rogue_repo())
            self.assertEqual(found, [])
            self.assertEqual(len(problems), 1, problems)
            self.assertIn(code, problems[0])

    def test_more_signatures_than_are_looked_at(self):
        payload = signer.payload(IMAGE)
        pairs = [(payload, b"%d" % i) for i in range(200)]
        self.put(pairs)
        found, problems, _ = self.ask(self.rogue_repo())
        self.assertEqual(found, pairs[:128])
        self.assertIn("only the first 128", problems[0])

    def test_no_repository_crowds_out_another(self):
        payload = signer.payload(IMAGE)
        many, few = [(payload, b"m%d" % i) for i in range(200)], [(payload, b"f%d" % i) for i in range(3)]
        self.put(many, "many")
        self.put(few, "few")
        found, problems, _ = self.ask(self.rogue_repo("many"), self.rogue_repo("few"))
        self.assertEqual(len(found), 128, problems)
        self.assertEqual([pair for pair in found if pair in few], few)

    def test_the_referrers_interface(self):
        one, two, three = (signer.signature(IMAGE, number=str(i)) for i in range(3))
        asked = []

        def referrers(handler):
            if "/referrers/" not in handler.path:
                return False
            asked.append(handler.path)
            foreign = s.descriptor(s.MANIFEST, b"foreign", artifactType="application/spdx+json")
            index = json.loads(s.index([s.manifest([two], IMAGE), s.manifest([three], IMAGE)]))
            index["manifests"].insert(1, foreign)
            handler.reply(200, json.dumps(index).encode(), {"Content-Type": s.INDEX})
            return True
        self.put([one])
        for pair in (two, three):
            body = s.manifest([pair], IMAGE)
            rogue.manifests["sig", s.digest_of(body)] = (s.MANIFEST, body)
            rogue.blobs[s.digest_of(pair[0])] = pair[0]
        rogue.hooks.append(referrers)
        self.assertEqual(self.ask(self.rogue_repo())[:2], ([one, two, three], []))
        self.assertEqual(asked, ["/v2/sig/referrers/%s?artifactType=application%%2Fvnd.dev.cosign.artifact."
                                 "sig.v1%%2Bjson" % IMAGE])
        self.assertEqual(rogue.count(s.digest_of(b"foreign")), 0)

    def test_an_outage_takes_nothing_away_and_a_denial_does(self):
        pair = signer.signature(IMAGE)
        self.put([pair])
        driver = self.driver(self.rogue_repo())
        self.assertEqual(driver.ask()[:2], ([pair], []))
        status = [503]

        def refuse(handler):
            handler.reply(status[0], b"{}")
            return True
        rogue.hooks.append(refuse)
        before = len(rogue.seen())
        found, problems, _ = driver.ask()
        self.assertEqual(len(rogue.seen()) - before, 6)  # three tries for the tag and three for the referrers
        self.assertEqual(found, [pair])
        self.assertIn("TL_E_REGISTRY_SERVER", problems[0])
        status[0] = 403
        found, problems, _ = driver.ask()
        self.assertEqual(found, [])
        self.assertIn("TL_E_REGISTRY_DENIED", problems[0])

    def test_unreachable_slow_and_unreadable_repositories_keep_to_their_share(self):
        pair = signer.signature(IMAGE)
        s.push(real, self.repo, IMAGE, [pair])
        rogue.hooks.append(lambda handler: time.sleep(30))
        found, problems, took_ms = self.ask("127.0.0.1:1/closed", self.rogue_repo("slow"), "", "no-host",
                                            real.ref(self.repo) + " ", real.ref(self.repo), budget_ms=4000)
        self.assertEqual(found, [pair])
        self.assertEqual(len(problems), 5, problems)
        for problem, code in zip(problems, ("TL_E_NET_CONNECT", "TL_E_NET_TIMEOUT", "TL_E_IMAGE_REF",
                                            "TL_E_IMAGE_REF", "TL_E_IMAGE_REF")):
            self.assertIn(code, problem)
        self.assertLess(took_ms, 15000)

    def test_the_accounts_token_is_for_googles_registries_alone(self):
        def challenge(handler):
            handler.reply(401, b"{}", {"WWW-Authenticate":
                                       'Basic realm="https://127.0.0.1:%d/"' % rogue.port})
            return True
        rogue.hooks.append(challenge)
        found, problems, _ = self.ask(self.rogue_repo())
        self.assertEqual(found, [])
        self.assertIn("TL_E_REGISTRY_DENIED", problems[0])
        for _, _, headers, body in rogue.seen():
            self.assertNotIn("authorization", {name.lower() for name in headers})
            self.assertNotIn(CANARY.encode(), body)


if __name__ == "__main__":
    DRIVER = sys.argv.pop(1)
    unittest.main(verbosity=1)
