#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teeverifierd as several replicas behind a balancer that knows nothing: challenges of one answered by another,
keys that change under load, a replica that ends in the middle, files that can't be used.

verifier_replicas.py BINARY [unittest arguments]
"""
import json
import os
import signal
import sys
import tempfile
import threading
import time
import unittest

import verifier
import verifier_evidence as ev
import verifier_signatures

path = verifier.path
FORGED, USED = "TL1006", "TL1008"


class World(verifier_signatures.World):
    @classmethod
    def start(cls, folder, binary):
        super().start(folder, binary)
        cls.daemon.stop()
        cls.keys = [ev.read(ev.make_key(path("key-%d" % i), *make)).decode() for i, make in
                    enumerate(((), ("-algorithm", "RSA"), ()))]
        ev.secret(path("old.key"), os.urandom(32))


def install(name, text):
    """As one should: the whole file at once."""
    ev.secret(path(name + ".new"), text)
    os.rename(path(name + ".new"), path(name))


class Replica(verifier.Daemon):
    """All of them read the same files."""

    def __init__(self, name):
        super().__init__(name, [path("token.keys")], [
            "--issuer", "https://verifier.test", "--challenge-key", path("old.key"),
            "--threads", "2"])

    def reload(self, word="verifier.reloaded"):
        count = ev.read(self.log).decode().count(word)
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while ev.read(self.log).decode().count(word) == count:
            assert time.monotonic() < deadline, ev.read(self.log).decode()
            time.sleep(0.01)
        return ev.read(self.log).decode().rsplit(word, 1)[1]

    def kids(self):
        return [k["kid"] for k in self.call("GET", "/.well-known/jwks.json")[1]["keys"]]


def kid_of(token):
    return json.loads(verifier.b64url(token.split(".")[0]))["kid"]


class Replicas(unittest.TestCase):
    def setUp(self):
        install("token.keys", World.keys[0] + World.keys[1])
        self.daemons = []
        self.a, self.b = self.replica("a"), self.replica("b")

    def tearDown(self):
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                self.assertEqual(daemon.stop(), 0)

    def replica(self, name):
        self.daemons.append(Replica("%s-%s" % (self.id().rsplit(".", 1)[1], name)))
        return self.daemons[-1]

    def token(self, made_by, judged_by):
        name, nonce = made_by.challenge()
        status, body = judged_by.verify(name, World.paper.evidence(nonce))
        self.assertEqual(status, 200, body)
        return body["attestationToken"]

    def refused(self, reply, code):
        self.assertEqual([d["reason"] for d in reply[1]["error"]["details"]], [code], reply)

    def test_any_replica_answers_for_any_other_and_one_may_end_in_the_middle(self):
        name, nonce = self.a.challenge()
        waiting = self.a.challenge()
        evidence = World.paper.evidence(nonce)
        self.assertEqual(self.b.verify(name, evidence)[0], 200)
        self.refused(self.b.verify(name, evidence), USED)
        # Nobody told the first one: a challenge serves once on each. The nonce still binds it.
        self.assertEqual(self.a.verify(name, evidence)[0], 200)
        self.a.process.kill()
        self.a.process.wait()
        again = self.replica("a-again")
        self.assertEqual(again.verify(waiting[0], World.paper.evidence(waiting[1]))[0], 200)
        kids = {kid_of(self.token(x, y)) for x, y in ((again, self.b), (self.b, again))}
        self.assertEqual(len(kids), 1)
        self.assertEqual(again.kids(), self.b.kids())
        claims = verifier.token_claims(again, self.token(self.b, self.b))  # openssl, b's token, a's set
        self.assertEqual(claims["iss"], "https://verifier.test")

    def test_token_keys_change_with_overlap(self):
        first = kid_of(self.token(self.a, self.a))
        self.assertEqual(self.a.kids()[0], first)
        coming = self.a.kids()[1]
        old = self.token(self.a, self.b)
        install("token.keys", World.keys[1] + World.keys[0] + World.keys[2])
        self.assertIn("kid='%s'" % coming, self.a.reload())
        # One replica has turned, the other not yet: every token is good with either's key set.
        for made_by in (self.a, self.b):
            token = self.token(made_by, made_by)
            self.assertEqual(kid_of(token), coming if made_by is self.a else first)
            for judge in (self.a, self.b):
                verifier.token_claims(judge, token)
        self.b.reload()
        self.assertEqual(self.b.kids(), self.a.kids())
        verifier.token_claims(self.b, old)
        _, document = self.b.call("GET", "/.well-known/openid-configuration")
        self.assertEqual(document["id_token_signing_alg_values_supported"], ["RS256", "ES256"])

    def test_challenge_keys_change_with_overlap(self):
        before = [self.a.challenge() for _ in range(2)]
        presented = self.a.challenge()
        self.assertEqual(self.a.verify(presented[0], World.paper.evidence(presented[1]))[0], 200)
        keys = ev.read(path("challenge.key")), ev.read(path("old.key"))
        try:
            install("challenge.key", keys[1])
            install("old.key", keys[0])
            self.a.reload()
            after = [self.a.challenge() for _ in range(2)]
            for daemon, challenges in ((self.a, (before[0], after[0])), (self.b, (before[1], after[1]))):
                for name, nonce in challenges:
                    self.assertEqual(daemon.verify(name, World.paper.evidence(nonce))[0], 200)
            self.refused(self.a.verify(presented[0], World.paper.evidence(presented[1])), USED)
            gone = self.b.challenge()
            install("old.key", os.urandom(32))
            self.a.reload()
            self.refused(self.a.verify(gone[0], World.paper.evidence(gone[1])), FORGED)
        finally:
            install("challenge.key", keys[0])
            install("old.key", keys[1])

    def test_files_that_cannot_be_used_change_nothing(self):
        kid = kid_of(self.token(self.a, self.a))
        for text, mode, word in (("junk", 0o600, "no unencrypted PEM"), (World.keys[2], 0o644, "0644"),
                                 (World.keys[2], 0o620, "0620"),
                                 (World.keys[2] + World.keys[1][:-60], 0o600, "no unencrypted PEM"),
                                 (World.keys[2] * 2, 0o600, "twice"), (None, 0, "can't open")):
            install("token.keys", text or "")
            os.chmod(path("token.keys"), mode)
            if text is None:
                os.unlink(path("token.keys"))
            said = self.a.reload("verifier.reload-failed")
            self.assertIn(word, said)
            self.assertNotIn("PRIVATE", said)
            self.assertEqual(kid_of(self.token(self.a, self.a)), kid)
        install("token.keys", World.keys[0])
        self.a.reload()
        self.assertEqual(self.a.kids(), [kid])

    def test_keys_change_under_load_and_no_request_fails(self):
        ends, faults, count = threading.Event(), [], [0]

        def ask(daemon):
            client = verifier.Client(daemon)
            try:
                while not ends.is_set():
                    name, nonce = client.challenge()
                    status, body = client.verify(name, World.paper.evidence(nonce))
                    count[0] += 1
                    if status != 200:
                        faults.append(body)
            except Exception as e:  # nobody sees what ends a thread
                faults.append(repr(e))

        threads = [threading.Thread(target=ask, args=(d,)) for d in (self.a, self.b) * 2]
        for thread in threads:
            thread.start()
        for turn in range(6):
            install("token.keys", World.keys[turn % 3] + World.keys[(turn + 1) % 3])
            self.a.reload()
            self.b.reload()
        ends.set()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        self.assertGreater(count[0], 4)

    def test_key_sets_may_be_cached_and_answers_may_not(self):
        for url, expected in (("/.well-known/jwks.json", "public, max-age=300"),
                              ("/.well-known/openid-configuration", "public, max-age=300"),
                              ("/healthz", "no-store"), (verifier.LOCATION, "no-store")):
            self.a.call("GET", "/healthz")
            self.a.connection.request("GET", url)
            response = self.a.connection.getresponse()
            response.read()
            self.assertEqual(response.getheader("Cache-Control"), expected, url)


def main():
    binary = os.path.abspath(sys.argv.pop(1))
    with tempfile.TemporaryDirectory() as folder:
        World.start(folder, binary)
        result = unittest.main(exit=False).result
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
