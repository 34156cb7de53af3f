# SPDX-License-Identifier: Apache-2.0
"""Resolving against a registry that misbehaves on order. Usage: image_resolve.py DRIVER"""

import base64
import email.utils
import json
import os
import sys
import tempfile
import time
import unittest

import image_world as w

DRIVER = None
CANARY = "canary-9c1f0b-access-token"
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}

# gcr.io must lead here: names come from an /etc/hosts of the driver's own mount namespace.
OWN_HOSTS = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
             'mount --bind "$0" /etc/hosts && exec "$@"']


def setUpModule():
    global folder, ca, registry, other, google, image, names
    folder = tempfile.TemporaryDirectory(prefix="tl-image-resolve-")
    ca = w.Authority(folder.name + "/ca")
    google = w.Authority(folder.name + "/google", "test Google")
    registry = w.Registry(*ca.issue("127.0.0.1"))
    other = w.Registry(*ca.issue("127.0.0.1"))
    image = w.Image([w.tar_of({"hello": b"one"}), w.tar_of({"there": b"two"})],
                    labels={"tee.launch_policy.log_redirect": "always"})
    names = folder.name + "/hosts"
    with open(names, "w") as f:
        f.write("127.0.0.1 localhost gcr.io us-docker.pkg.dev evil.example\n")
    with open(folder.name + "/token", "w") as f:
        f.write(CANARY)


def tearDownModule():
    registry.close()
    other.close()
    folder.cleanup()


class Case(unittest.TestCase):
    def setUp(self):
        registry.reset()
        other.reset()
        registry.put("demo/hello", "1", image)

    def drive(self, *options, verb="resolve", name="demo/hello:1", host=None, prefix=()):
        host = host or "127.0.0.1:%d" % registry.port
        roots = [a for port in (registry.port, other.port)
                 for a in ("--registry-roots", "127.0.0.1:%d=%s" % (port, ca.pem))]
        ok, values, text = w.drive(DRIVER, verb, "%s/%s" % (host, name), *roots, *options,
                                   prefix=prefix)
        self.assertNotIn(CANARY, text)
        return ok, values

    def assert_fails(self, code, klass, *words, **kwargs):
        options = kwargs.pop("options", ())
        ok, values = self.drive(*options, **kwargs)
        self.assertFalse(ok, values)
        self.assertEqual((values["code"], values["class"]), (code, klass), values)
        for word in words:
            self.assertIn(word, values["error"])
        return values


class Good(Case):
    def test_a_tag_resolves_to_manifest_config_and_chain(self):
        ok, got = self.drive()
        self.assertTrue(ok, got)
        self.assertEqual(got["target"], image.digest)
        self.assertEqual(got["manifest"], image.digest)
        self.assertEqual(got["config"], image.config_digest)
        self.assertEqual(got["chain"], image.chain_id())
        self.assertEqual(got["label.tee.launch_policy.log_redirect"], "always")
        self.assertEqual(int(got["layers_bytes"]), sum(x["size"] for x in image.layers))

    def test_no_layer_is_touched(self):
        self.drive()
        self.assertEqual([p for _, p, _, _ in registry.seen()],
                         ["/v2/demo/hello/manifests/1", "/v2/demo/hello/blobs/" + image.config_digest])

    def test_a_digest_decides_and_the_tag_is_not_asked_for(self):
        ok, got = self.drive(name="demo/hello:gone@" + image.digest)
        self.assertTrue(ok, got)
        self.assertEqual(got["target"], image.digest)
        self.assertEqual(registry.count("/manifests/gone"), 0)

    def test_an_index_is_the_target_and_its_manifest_what_runs(self):
        arm = w.Image([w.tar_of({"hello": b"arm"})], architecture="arm64")
        index = w.index_of((arm, ARM64), (image, AMD64))
        registry.put("demo/hello", "x", arm)
        registry.put_index("demo/hello", "2", index)
        ok, got = self.drive("--architecture", "amd64", name="demo/hello:2")
        self.assertTrue(ok, got)
        self.assertEqual(got["target"], w.digest_of(index))
        self.assertEqual(got["target_type"], w.OCI_INDEX)
        self.assertEqual(got["manifest"], image.digest)

    def test_the_first_of_two_entries_for_our_platform_is_taken(self):
        second = w.Image([w.tar_of({"hello": b"second"})])
        registry.put("demo/hello", "x", second)
        registry.put_index("demo/hello", "2", w.index_of((image, AMD64), (second, AMD64)))
        ok, got = self.drive("--architecture", "amd64", name="demo/hello:2")
        self.assertTrue(ok, got)
        self.assertEqual(got["manifest"], image.digest)

    def test_an_entry_without_platform_is_taken_if_its_config_fits(self):
        registry.put_index("demo/hello", "2", w.index_of((image, None)))
        ok, got = self.drive("--architecture", "amd64", name="demo/hello:2")
        self.assertTrue(ok, got)
        self.assert_fails("TL_E_IMAGE_PLATFORM", "denied", "linux/arm64",
                          options=("--architecture", "arm64"), name="demo/hello:2")

    def test_a_foreign_platform_without_index_is_only_marked(self):
        ok, got = self.drive("--architecture", "arm64")
        self.assertTrue(ok, got)
        self.assertEqual(got["foreign"], "1")


class Refused(Case):
    def hook_manifest(self, change):
        """`change(handler, type, body)` answers requests for manifests."""
        def hook(handler):
            if "/manifests/" not in handler.path:
                return False
            change(handler)
            return True
        registry.hooks.append(hook)

    def test_an_index_without_our_platform_names_what_there_is(self):
        arm = w.Image([w.tar_of({"hello": b"arm"})], architecture="arm64")
        registry.put_index("demo/hello", "2", w.index_of((arm, ARM64)))
        self.assert_fails("TL_E_IMAGE_PLATFORM", "denied", "linux/amd64", "linux/arm64",
                          options=("--architecture", "amd64"), name="demo/hello:2")

    def test_bytes_without_the_digest_asked_for(self):
        self.hook_manifest(lambda h: h.reply(200, image.manifest + b" ",
                                             {"Content-Type": w.OCI_MANIFEST}))
        self.assert_fails("TL_E_IMAGE_DIGEST", "fatal", image.digest,
                          name="demo/hello@" + image.digest)

    def test_a_tag_whose_stated_digest_differs(self):
        self.hook_manifest(lambda h: h.reply(200, image.manifest, {
            "Content-Type": w.OCI_MANIFEST, "Docker-Content-Digest": "sha256:" + "0" * 64}))
        self.assert_fails("TL_E_IMAGE_DIGEST", "fatal")

    def test_a_stated_digest_that_is_none(self):
        self.hook_manifest(lambda h: h.reply(200, image.manifest, {
            "Content-Type": w.OCI_MANIFEST, "Docker-Content-Digest": "md5:0"}))
        self.assert_fails("TL_E_REGISTRY_PROTOCOL", "retry", "Docker-Content-Digest")

    def test_a_config_that_was_changed(self):
        registry.blobs[image.config_digest] = \
            registry.blobs[image.config_digest].replace(b"A=b", b"A=c")
        self.assert_fails("TL_E_IMAGE_DIGEST", "fatal", "configuration")

    def test_a_config_of_another_size(self):
        good = registry.blobs[image.config_digest]
        for bad in (good + b" ", good[:-1]):
            registry.blobs[image.config_digest] = bad
            self.assert_fails("TL_E_IMAGE_DIGEST", "fatal", "configuration", str(len(good)))

    def test_an_oversized_manifest(self):
        self.hook_manifest(lambda h: h.reply(200, b" " * (4 * 1048 * 1048 + 1),
                                             {"Content-Type": w.OCI_MANIFEST}))
        self.assert_fails("TL_E_MANIFEST_LIMIT", "denied", "4393216")

    def test_an_oversized_config(self):
        image2 = w.Image([w.tar_of({"hello": b"x"})])
        image2.config["padding"] = " " * (5 << 20)
        registry.put("demo/hello", "big", image2.seal())
        self.assert_fails("TL_E_MANIFEST_LIMIT", "denied", "configuration",
                          name="demo/hello:big")
        self.assertEqual(registry.count("/blobs/"), 0)

    def test_an_index_served_as_a_manifest(self):
        registry.manifests["demo/hello", "2"] = (w.OCI_MANIFEST, w.index_of((image, AMD64)))
        self.assert_fails("TL_E_MANIFEST_TYPE", "denied", name="demo/hello:2")

    def test_text_that_is_no_manifest(self):
        registry.manifests["demo/hello", "2"] = (w.OCI_MANIFEST, b"<html>")
        self.assert_fails("TL_E_MANIFEST_SYNTAX", "denied", name="demo/hello:2")

    def test_a_layer_of_an_unknown_type(self):
        odd = w.Image([w.tar_of({"hello": b"x"})])
        odd.layers[0]["mediaType"] = "application/vnd.example.squashfs"
        registry.put("demo/hello", "odd", odd.seal())
        self.assert_fails("TL_E_LAYER_TYPE", "denied", "application/vnd.example.squashfs",
                          name="demo/hello:odd")

    def test_layers_and_diff_ids_of_different_number(self):
        odd = w.Image([w.tar_of({"hello": b"x"})])
        odd.config["rootfs"]["diff_ids"].append("sha256:" + "0" * 64)
        registry.put("demo/hello", "odd", odd.seal())
        self.assert_fails("TL_E_IMAGE_LAYERS", "denied", "1 layers", "2",
                          name="demo/hello:odd")


class Statuses(Case):
    def fail_with(self, status, headers=None, times=None, body=b""):
        def hook(handler):
            if times is not None and len(registry.seen()) > times:
                return False
            handler.reply(status, body, headers)
            return True
        registry.hooks.append(hook)

    def test_refusals_end_at_once(self):
        for status, code in ((401, "TL_E_REGISTRY_DENIED"), (403, "TL_E_REGISTRY_DENIED"),
                             (404, "TL_E_IMAGE_NOT_FOUND"), (400, "TL_E_REGISTRY_REQUEST"),
                             (302, "TL_E_REGISTRY_REQUEST"), (204, "TL_E_REGISTRY_REQUEST")):
            with self.subTest(status=status):
                self.setUp()
                self.fail_with(status)
                self.assert_fails(code, "denied", "HTTP %d" % status, "demo/hello")
                self.assertEqual(len(registry.seen()), 1)

    def test_the_registrys_error_code_is_shown_and_its_message_is_not(self):
        self.fail_with(403, body=b'{"errors":[{"code":"DENIED","message":"' + CANARY.encode() +
                       b'"}]}')
        self.assert_fails("TL_E_REGISTRY_DENIED", "denied", "HTTP 403 DENIED", "public")

    def test_an_error_body_that_would_be_costly_is_not_parsed(self):
        """Nested deeper than anything here needs: its code isn't read."""
        self.fail_with(403, body=b'{"errors":[{"code":"DENIED"}],"x":%s%s}' % (b"[" * 40, b"]" * 40))
        self.assertNotIn("DENIED", self.assert_fails("TL_E_REGISTRY_DENIED", "denied",
                                                     "HTTP 403")["error"])

    def test_failures_are_retried_and_every_attempt_counted(self):
        for status, code in ((500, "TL_E_REGISTRY_SERVER"), (503, "TL_E_REGISTRY_SERVER"),
                             (408, "TL_E_REGISTRY_SERVER"), (429, "TL_E_REGISTRY_BUSY")):
            with self.subTest(status=status):
                self.setUp()
                self.fail_with(status)
                got = self.assert_fails(code, "retry", "6 attempts")
                self.assertEqual(len(registry.seen()), 6)
                self.assertEqual(got["requests"], "6")

    def test_a_failure_that_goes_away_is_no_failure(self):
        self.fail_with(500, times=3)
        ok, got = self.drive()
        self.assertTrue(ok, got)
        self.assertEqual(got["requests"], "5")

    def test_retry_after_is_waited_for(self):
        for kind in ("seconds", "date"):
            with self.subTest(kind=kind):
                self.setUp()
                date = email.utils.formatdate(time.time() + 3, usegmt=True)
                self.fail_with(429, {"Retry-After": "1" if kind == "seconds" else date}, times=1)
                began = time.monotonic()
                ok, got = self.drive()
                self.assertTrue(ok, got)
                self.assertGreater(time.monotonic() - began, 0.9)

    def test_a_registry_that_hangs_up_is_tried_again(self):
        def hook(handler):
            if len(registry.seen()) > 2:
                return False
            handler.hang_up()
            return True
        registry.hooks.append(hook)
        ok, got = self.drive()
        self.assertTrue(ok, got)

    def test_a_registry_that_hangs_ends_with_the_deadline(self):
        def hook(handler):
            time.sleep(30)
            return True
        registry.hooks.append(hook)
        began = time.monotonic()
        got = self.assert_fails("TL_E_NET_TIMEOUT", "retry",
                                options=("--stall-ms", "300", "--deadline-ms", "1000"))
        self.assertLess(time.monotonic() - began, 20)
        self.assertGreater(int(got["requests"]), 1)

    def test_an_unknown_authority_is_not_retried(self):
        ok, values, _ = w.drive(DRIVER, "resolve", "127.0.0.1:%d/demo/hello:1" % registry.port,
                                "--registry-roots", "127.0.0.1:%d=%s" % (registry.port, google.pem))
        self.assertFalse(ok)
        self.assertEqual((values["code"], values["class"], values["requests"]),
                         ("TL_E_NET_TLS_UNTRUSTED", "denied", "1"))

    def test_bad_roots_are_named(self):
        for entry in ("nonsense", "=x", "host=", "ho st=x"):
            self.assert_fails("TL_E_USAGE", "denied", entry,
                              options=("--registry-roots", entry))


class Tokens(Case):
    """The token protocol, anonymously."""

    def protect(self, challenge, server=None, token="t0", answer=None, lives=10 ** 6):
        """The registry wants `token`; `server` hands it out at /token."""
        used = []

        def guard(handler):
            if handler.path.startswith("/token"):
                return False
            if handler.headers.get("Authorization") == "Bearer " + token and len(used) < lives:
                used.append(1)
                return False
            handler.reply(401, b"", {"WWW-Authenticate": challenge})
            used.clear()
            return True

        def hand_out(handler):
            if not handler.path.startswith("/token"):
                return False
            handler.reply(200, json.dumps({"token": token}).encode() if answer is None else answer)
            return True
        registry.hooks.append(guard)
        (server or registry).hooks.append(hand_out)

    def realm(self, server=None):
        return "https://127.0.0.1:%d/token" % (server or registry).port

    def test_an_anonymous_token_is_fetched_once_and_kept(self):
        self.protect('Bearer realm="%s",service="s p",scope="repository:demo/hello:pull"'
                     % self.realm(other), other)
        ok, got = self.drive()
        self.assertTrue(ok, got)
        self.assertEqual([(m, p) for m, p, _, _ in other.seen()],
                         [("GET", "/token?service=s%20p&scope=repository%3Ademo%2Fhello%3Apull")])
        self.assertNotIn("Authorization", other.seen()[0][2])

    def test_a_token_that_runs_out_is_renewed(self):
        self.protect('Bearer realm="%s"' % self.realm(), lives=1)
        ok, got = self.drive()
        self.assertTrue(ok, got)
        self.assertEqual(registry.count("/token"), 2)

    def test_scopes_are_sorted_and_unique(self):
        self.protect('Bearer realm="%s",scope="z repository:demo/hello:pull a z"' % self.realm())
        ok, got = self.drive()
        self.assertTrue(ok, got)
        path = [p for _, p, _, _ in registry.seen() if p.startswith("/token")][0]
        self.assertEqual(path, "/token?scope=a&scope=repository%3Ademo%2Fhello%3Apull&scope=z")

    def test_a_token_that_does_not_help_ends_it(self):
        self.protect('Bearer realm="%s"' % self.realm(), answer=b'{"token":"wrong"}')
        self.assert_fails("TL_E_REGISTRY_DENIED", "denied", "HTTP 401")
        self.assertEqual(registry.count("/token"), 1)

    def test_answers_that_hold_no_usable_token(self):
        for answer in (b"", b"{}", b'{"token":""}', b'{"token":"a\\r\\nX: y"}', b'{"token":7}',
                       b'{"token":"a","token":"b"}', b"[1]",
                       b'{"token":"a","x":%s%s}' % (b"[" * 40, b"]" * 40)):
            with self.subTest(answer=answer):
                self.setUp()
                self.protect('Bearer realm="%s"' % self.realm(), answer=answer)
                self.assert_fails("TL_E_REGISTRY_PROTOCOL", "retry", "usable token")

    def test_a_realm_without_tls_is_refused(self):
        self.protect('Bearer realm="http://127.0.0.1:%d/token"' % registry.port)
        self.assert_fails("TL_E_REGISTRY_PROTOCOL", "retry", "realm", "https")

    def test_a_challenge_that_can_be_read_two_ways_is_refused(self):
        self.protect('Bearer realm="%s",realm="https://x/"' % self.realm())
        self.assert_fails("TL_E_REGISTRY_PROTOCOL", "retry", "twice")

    def test_basic_without_a_credential_is_denied(self):
        self.protect('Basic realm="x"')
        self.assert_fails("TL_E_REGISTRY_DENIED", "denied", "no credential is sent")

    def test_our_access_token_goes_to_no_other_registry(self):
        for challenge in ('Bearer realm="%s"' % self.realm(other), 'Basic realm="x"'):
            self.setUp()
            self.protect(challenge, other)
            self.drive("--token-file", folder.name + "/token")
            for server in (registry, other):
                self.assertNotIn(CANARY, repr(server.seen()))


@unittest.skipIf(os.geteuid() != 0, "needs a mount namespace of its own")
class Google(Case):
    """A registry that may have the access token: gcr.io, by name, on loopback."""

    def setUp(self):
        super().setUp()
        self.gcr = w.Registry(*google.issue("gcr.io", "us-docker.pkg.dev"))
        self.addCleanup(self.gcr.close)
        self.gcr.put("demo/hello", "1", image)

    def resolve(self, *options, google_roots=None):
        return self.drive("--token-file", folder.name + "/token", "--google-roots",
                          google_roots or google.pem, *options, host="gcr.io:%d" % self.gcr.port,
                          prefix=[*OWN_HOSTS, names])

    def guard(self, challenge, want):
        def hook(handler):
            if handler.path.startswith("/token") or handler.headers.get("Authorization") == want:
                return False
            handler.reply(401, b"", {"WWW-Authenticate": challenge})
            return True
        self.gcr.hooks.append(hook)

    def token_server(self, server, post_status=200):
        def hook(handler):
            if not handler.path.startswith("/token"):
                return False
            if handler.command == "POST" and post_status != 200:
                handler.reply(post_status)
            else:
                handler.reply(200, b'{"access_token":"t1"}')
            return True
        server.hooks.append(hook)

    def test_the_password_grant_carries_our_token_to_the_realm_of_the_same_host(self):
        self.guard('Bearer realm="https://gcr.io:%d/token",service="gcr.io"' % self.gcr.port,
                   "Bearer t1")
        self.token_server(self.gcr)
        ok, got = self.resolve()
        self.assertTrue(ok, got)
        posts = [(p, b) for m, p, _, b in self.gcr.seen() if m == "POST"]
        self.assertEqual(posts, [("/token", b"grant_type=password&service=gcr.io&client_id="
                                  b"containerd-client&scope=repository%3Ademo%2Fhello%3Apull&"
                                  b"username=_token&password=" + CANARY.encode())])

    def test_a_token_server_without_the_grant_is_asked_by_basic(self):
        for status in (400, 401, 404, 405):
            with self.subTest(status=status):
                self.gcr.reset()
                self.gcr.put("demo/hello", "1", image)
                self.guard('Bearer realm="https://gcr.io:%d/token"' % self.gcr.port, "Bearer t1")
                self.token_server(self.gcr, status)
                ok, got = self.resolve()
                self.assertTrue(ok, got)
                sent = [h.get("Authorization") for m, p, h, _ in self.gcr.seen()
                        if p.startswith("/token") and m == "GET"]
                self.assertEqual(sent, ["Basic " + base64.b64encode(
                    ("_token:" + CANARY).encode()).decode()])

    def test_a_realm_elsewhere_gets_no_secret(self):
        """Quirk 39 of the reference: a registry could send the token wherever it liked."""
        evil = w.Registry(*google.issue("evil.example"))
        self.addCleanup(evil.close)
        self.guard('Bearer realm="https://evil.example:%d/token"' % evil.port, "Bearer t1")
        self.token_server(evil)
        ok, got = self.resolve()
        self.assertTrue(ok, got)
        self.assertEqual([m for m, _, _, _ in evil.seen()], ["GET"])
        self.assertNotIn("Authorization", evil.seen()[0][2])
        self.assertNotIn(CANARY, repr(evil.seen()))

    def test_the_realm_is_checked_against_the_pinned_roots(self):
        realm = w.Registry(*ca.issue("us-docker.pkg.dev"))
        self.addCleanup(realm.close)
        self.guard('Bearer realm="https://us-docker.pkg.dev:%d/token"' % realm.port, "Bearer t1")
        self.token_server(realm)
        ok, got = self.resolve()
        self.assertFalse(ok)
        self.assertEqual(got["code"], "TL_E_NET_TLS_UNTRUSTED")
        self.assertEqual(realm.seen(), [])

    def test_basic_carries_our_token(self):
        want = "Basic " + base64.b64encode(("_token:" + CANARY).encode()).decode()
        self.guard('Basic realm="gcr.io"', want)
        ok, got = self.resolve()
        self.assertTrue(ok, got)

    def test_the_host_itself_is_checked_against_the_pinned_roots(self):
        ok, got = self.resolve(google_roots=ca.pem)
        self.assertFalse(ok)
        self.assertEqual(got["code"], "TL_E_NET_TLS_UNTRUSTED")
        self.assertEqual(self.gcr.seen(), [])

    def test_a_redirect_to_another_host_loses_the_credential(self):
        elsewhere = w.Registry(*google.issue("evil.example"))
        self.addCleanup(elsewhere.close)
        elsewhere.put("demo/hello", "1", image)
        self.guard('Bearer realm="https://gcr.io:%d/token"' % self.gcr.port, "Bearer t1")
        self.token_server(self.gcr)

        def redirect(handler):
            if "/blobs/" not in handler.path:
                return False
            handler.reply(307, b"", {"Location": "https://evil.example:%d%s?sig=1"
                                     % (elsewhere.port, handler.path)})
            return True
        self.gcr.hooks.append(redirect)

        def strip(handler):
            handler.path = handler.path.split("?")[0]
            return False
        elsewhere.hooks.append(strip)
        ok, got = self.resolve()
        self.assertTrue(ok, got)
        self.assertEqual(len(elsewhere.seen()), 1)
        for _, _, headers, _ in elsewhere.seen():
            self.assertNotIn("Authorization", headers)


class Redirects(Case):
    def redirect(self, location, server=None):
        def hook(handler):
            if "/blobs/" not in handler.path and "/hop" not in handler.path:
                return False
            handler.reply(307, b"", {"Location": location % {"path": handler.path}})
            return True
        (server or registry).hooks.append(hook)

    def test_a_blob_elsewhere_is_fetched_with_the_roots_of_its_own_host(self):
        other.put("demo/hello", "1", image)
        self.redirect("https://127.0.0.1:%d%%(path)s" % other.port)
        ok, got = self.drive()
        self.assertTrue(ok, got)
        self.assertEqual(len(other.seen()), 1)

    def test_a_host_without_an_entry_is_checked_against_the_system(self):
        third = w.Registry(*ca.issue("127.0.0.1"))
        self.addCleanup(third.close)
        third.put("demo/hello", "1", image)
        self.redirect("https://127.0.0.1:%d%%(path)s" % third.port)
        self.assert_fails("TL_E_NET_TLS_UNTRUSTED", "denied")
        self.assertEqual(third.seen(), [])

    def test_a_circle_ends(self):
        self.redirect("/hop")
        self.assert_fails("TL_E_NET_REDIRECT", "retry", "10 redirects")
        self.assertEqual(len(registry.seen()), 12)

    def test_a_redirect_out_of_tls_is_refused(self):
        self.redirect("http://127.0.0.1:%d%%(path)s" % other.port)
        self.assert_fails("TL_E_REGISTRY_PROTOCOL", "retry", "https")


class Blobs(Case):
    def test_a_layer_streams(self):
        ok, got = self.drive(verb="fetch")
        self.assertTrue(ok, got)
        self.assertEqual(int(got["streamed"]), image.layers[0]["size"])

    def change_layer(self, change):
        digest = image.layers[0]["digest"]
        registry.blobs[digest] = change(registry.blobs[digest])

    def test_a_truncated_layer_is_not_retried(self):
        self.change_layer(lambda b: b[:-1])
        got = self.assert_fails("TL_E_LAYER_SIZE", "fatal", "1 bytes before", verb="fetch")
        self.assertEqual(got["retryable"], "0")

    def test_a_layer_that_is_too_long_ends_at_its_size(self):
        self.change_layer(lambda b: b + b"x" * 100000)
        got = self.assert_fails("TL_E_LAYER_SIZE", "fatal", "more bytes", verb="fetch")
        self.assertLessEqual(int(got["streamed"]), image.layers[0]["size"])

    def test_a_reset_may_be_tried_again(self):
        def hook(handler):
            if image.layers[0]["digest"] not in handler.path:
                return False
            handler.reply(200, b"abc", length=image.layers[0]["size"])
            handler.hang_up()
            return True
        registry.hooks.append(hook)
        got = self.assert_fails("TL_E_NET_RESET", "retry", verb="fetch")
        self.assertEqual((got["retryable"], got["streamed"]), ("1", "3"))


if __name__ == "__main__":
    DRIVER = sys.argv.pop(1)
    unittest.main()
