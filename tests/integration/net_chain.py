#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Certificates above the attestation key's, fetched by the addresses in them: which hosts are asked, and
what a hostile one can do. Certificates are made and compared by openssl."""
import os
import subprocess

from net_world import BUSY_MS, Case, Server, main, probe, reset, respond, wait_for_the_end


class Chain(Case):
    """Authority `ca-0` is a root without an address; `ca-n` is signed by `ca-(n-1)`."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = Server(cls.answer)
        cls.addClassCleanup(cls.server.close)
        cls.host = "127.0.0.1:%d" % cls.server.port
        cls.pages, cls.asked = {}, []
        cls.make("ca-0", None)
        for n in range(1, 7):
            cls.make("ca-%d" % n, "ca-%d" % (n - 1), cls.url("ca-%d" % (n - 1)))

    @classmethod
    def url(cls, name, host=None):
        return "http://%s/%s.crt" % (host or cls.host, name)

    @classmethod
    def answer(cls, server, connection, request):
        cls.asked.append(request.target)
        page = cls.pages.get(request.target)
        if callable(page):
            return page(server, connection)
        return respond(connection, 404 if page is None else 200, page or b"")

    @classmethod
    def make(cls, name, issuer, *urls, key=None):
        """NAME.pem and NAME.der; served at url(NAME)."""
        path = lambda n: os.path.join(cls.folder.name, n)  # noqa: E731
        key = path((key or name) + ".key")
        run = lambda *a: subprocess.run(("openssl",) + a, check=True, capture_output=True, timeout=60)  # noqa: E731
        if not os.path.exists(key):
            run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        with open(path(name + ".ext"), "w", encoding="ascii") as f:
            f.write("basicConstraints=critical,CA:TRUE\n")
            if urls:
                f.write("authorityInfoAccess=" + ",".join("caIssuers;URI:" + u for u in urls) + "\n")
        run("req", "-new", "-key", key, "-subj", "/CN=" + name, "-out", path(name + ".csr"))
        signer = ("-CA", path(issuer + ".pem"), "-CAkey", path(issuer + ".key")) if issuer else ("-signkey", key)
        run("x509", "-req", "-in", path(name + ".csr"), "-days", "9", "-extfile", path(name + ".ext"), *signer,
            "-CAcreateserial" if issuer else "-set_serial", *(() if issuer else ("1",)), "-out", path(name + ".pem"))
        run("x509", "-in", path(name + ".pem"), "-outform", "DER", "-out", path(name + ".der"))
        cls.pages["/%s.crt" % name] = cls.der(name)

    @classmethod
    def der(cls, name, kind="der"):
        with open(os.path.join(cls.folder.name, name + "." + kind), "rb") as f:
            return f.read()

    def setUp(self):
        self.asked.clear()
        pages = dict(self.pages)
        self.addCleanup(lambda: (self.pages.clear(), self.pages.update(pages)))

    def fetch(self, name, *hosts, times=1, options=()):
        return probe(*options, "--times", times, "chain", os.path.join(self.folder.name, name + ".der"),
                     *(hosts or (self.host,)))

    def has(self, got, *names):
        self.assertEqual((got["r"], got["chain"]), (0, [self.der(n).hex() for n in names]), got)

    def lacks(self, got, *words):
        self.fails(got, "TL_E_AK_CHAIN", *words)
        self.assertEqual((got["class"], got["chain"]), ("retry", []))
        return got

    def test_a_chain_is_fetched_up_to_its_root_once(self):
        first, *others = self.fetch("ca-3", times=3)
        for got in (first, *others):
            self.has(got, "ca-2", "ca-1", "ca-0")
        self.assertEqual([g["is_news"] for g in (first, *others)], [True, False, False])
        self.assertEqual(self.asked, ["/ca-2.crt", "/ca-1.crt", "/ca-0.crt"])

    def test_pem_will_do_and_no_address_is_no_failure(self):
        self.pages["/ca-0.crt"] = self.der("ca-0", "pem")
        self.has(self.fetch("ca-1")[0], "ca-0")
        self.make("alone", "ca-0")
        self.asked.clear()
        self.has(self.fetch("alone")[0])
        self.assertEqual(self.asked, [])

    def test_the_first_three_addresses_are_tried_in_order(self):
        self.make("many", "ca-0", self.url("none"), self.url("ca-1"), self.url("ca-0"), self.url("never"))
        self.has(self.fetch("many")[0], "ca-0")
        self.assertEqual(self.asked, ["/none.crt", "/ca-1.crt", "/ca-0.crt"])
        self.make("late", "ca-0", self.url("a"), self.url("b"), self.url("c"), self.url("ca-0"))
        self.lacks(self.fetch("late")[0], "status 404")

    def test_only_hosts_of_the_list_are_asked(self):
        port = self.server.port
        for n, url in enumerate((
                "http://127.0.0.1/x", "http://127.0.0.2:%d/x" % port, "http://127.0.0.1:%d@x/" % port,
                "http://user@127.0.0.1:%d/x" % port, "http://127.0.0.1:%d\\\\@x/" % port, "ftp://%s/x" % self.host,
                "file:///etc/passwd", "http://%s.evil.example/x" % self.host, "http://[::1]:%d/x" % port,
                "http://169.254.169.254/computeMetadata/v1/", "//%s/x" % self.host, "http:/%s/x" % self.host,
                "http://x%s/x" % self.host, "http://localhost:%d/x" % port, "http://2130706433:%d/x" % port)):
            self.make("ssrf-%d" % n, "ca-0", url)
            self.lacks(self.fetch("ssrf-%d" % n)[0], "not at a host of the list")
        self.assertEqual(self.asked, [])
        self.lacks(self.fetch("ca-1", "storage.googleapis.com", "0.0.1:%d" % (port + 1))[0], "list")
        self.has(self.fetch("ca-1", "storage.googleapis.com", "0.0.1:%d" % port)[0], "ca-0")

    def test_what_comes_must_have_signed_what_is_there(self):
        self.make("ca-0-twin", None)
        bad = {"another authority": (self.der("ca-0-twin"), "not the certificate of the issuer"),
               "the certificate itself": (self.der("ca-1"), "not the certificate of the issuer"),
               "text": (b"<html>", "not one certificate"), "nothing": (b"", "not one certificate"),
               "two": (self.der("ca-0") * 2, "not one certificate"),
               "a cut one": (self.der("ca-0")[:-1], "not one certificate"),
               "two in PEM": (self.der("ca-0", "pem") * 2, "not one certificate"),
               "one that is too large": (self.der("ca-0", "pem") + b" " * 17000, "larger")}
        for what, (page, words) in bad.items():
            with self.subTest(what):
                self.pages["/ca-0.crt"] = page
                self.lacks(self.fetch("ca-1")[0], words)

    def test_an_endless_chain_ends(self):
        self.has(self.fetch("ca-4")[0], "ca-3", "ca-2", "ca-1", "ca-0")
        self.asked.clear()
        self.lacks(self.fetch("ca-6")[0], "more than 4 certificates")
        self.assertEqual(len(self.asked), 4)

    def test_a_circle_is_noticed(self):
        self.make("round-a", "ca-0", self.url("round-b"))
        self.make("round-b", "round-a", self.url("round-a"), key="round-b")
        self.make("round-a", "round-b", self.url("round-b"), key="round-a")
        self.make("leaf", "round-a", self.url("round-a"))
        self.asked.clear()
        self.lacks(self.fetch("leaf")[0], "circle")
        self.assertEqual(len(self.asked), 3)

    def test_a_redirect_is_not_followed(self):
        elsewhere = self.serve(lambda _s, c, _r: respond(c, 200, self.der("ca-0")))
        self.pages["/ca-0.crt"] = lambda _s, c: respond(c, 302, Location=elsewhere.url + "/x")
        self.lacks(self.fetch("ca-1", self.host, "127.0.0.1:%d" % elsewhere.port)[0], "status 302")
        self.assertEqual(elsewhere.requests, [])

    def test_bodies_without_end_and_silence_cost_seconds(self):
        def endless(_server, connection):
            connection.sendall(b"HTTP/1.1 200 X\r\n\r\n")
            while True:
                connection.sendall(b"x" * 65536)
        self.pages["/ca-0.crt"] = endless
        got = self.lacks(self.fetch("ca-1")[0], "larger")
        self.assertLess(got["took_ms"], 3000 + BUSY_MS)
        self.pages["/ca-0.crt"] = lambda _s, c: reset(c) or False
        self.lacks(self.fetch("ca-1")[0])
        self.pages["/ca-0.crt"] = lambda s, _c: wait_for_the_end(s) or False
        lines = self.fetch("ca-1", options=("--cancel", "300"))
        self.cancelled_at_once(lines)
        got = self.lacks(self.fetch("ca-1", times=2)[0], "deadline")
        self.assertLess(got["took_ms"], 10500 + BUSY_MS)

    def test_a_failure_is_not_repeated_at_every_call(self):
        self.pages["/ca-0.crt"] = b""
        first, second = self.fetch("ca-1", times=2)
        self.lacks(first)
        self.assertEqual((second["r"], second["chain"], second["is_news"]), (0, [], False))
        self.assertEqual(len(self.asked), 1)


if __name__ == "__main__":
    main()
