#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What comes in from the network, seen from another host: a network namespace beside the launcher's own.
Which rules are in force is read with nft(8); what they do, with connections."""
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))

import launch_case  # noqa: E402
import parts  # noqa: E402
from containerd import unshare  # noqa: E402

CLONE_NEWNET = 0x40000000  # linux/sched.h
HERE4, PEER4, HERE6, PEER6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"  # RFC 5737, RFC 3849
OPEN, SHUT, UDP, READY = 8080, 8082, 8081, 8090
# A dropped SYN gets no answer; a port that is open answers at once.
PATIENCE_S = 1.0


def ip(*arguments):
    parts.run("ip", *arguments)


def table():
    """The sets and the policies of the launcher's table: {name: elements}, as nft says."""
    rules = json.loads(parts.run("nft", "-j", "list", "table", "inet", "teelaunch"))["nftables"]
    found = {r["set"]["name"]: r["set"].get("elem", []) for r in rules if "set" in r}
    found.update({r["chain"]["name"]: r["chain"]["policy"] for r in rules if "chain" in r})
    return found


class Peer:
    """Another host: a namespace at the other end of a cable."""

    def __init__(self):
        self.child = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE)
        self.child.stdout.readline()
        self.fd = os.open("/proc/%d/ns/net" % self.child.pid, os.O_RDONLY)
        ip("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(self.child.pid))
        for name, four, six, run in (("here", HERE4, HERE6, self.inside_here), ("there", PEER4, PEER6, self.inside)):
            run("ip", "address", "add", four + "/24", "dev", name)
            run("ip", "-6", "address", "add", six + "/64", "dev", name, "nodad")
            run("ip", "link", "set", name, "up")

    def inside_here(self, *command):
        parts.run(*command)

    def inside(self, *command):
        parts.run("nsenter", "--net=/proc/%d/ns/net" % self.child.pid, *command)

    def call(self, function):
        """Its result, called in a thread that is in the namespace."""
        result = []

        def work():
            if parts.libc.setns(self.fd, CLONE_NEWNET) != 0:
                raise parts.Failure("no setns")
            result.append(function())
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return result[0]

    def reaches(self, port, host=HERE4):
        def connect():
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
                s.settimeout(PATIENCE_S)
                try:
                    s.connect((host, port))
                except TimeoutError:
                    return False
                return s.recv(16) == b"hello\n"
        return self.call(connect)

    def close(self):
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()
        os.close(self.fd)


@contextlib.contextmanager
def listening(port, kind=socket.SOCK_STREAM):
    """A server that says hello, on all addresses of here."""
    with socket.socket(socket.AF_INET6, kind) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("::", port))
        if kind == socket.SOCK_STREAM:
            s.listen()
            s.settimeout(0.05)
            done = threading.Event()

            def serve():
                while not done.is_set():
                    with contextlib.suppress(TimeoutError):
                        with s.accept()[0] as peer:
                            peer.sendall(b"hello\n")
            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield s
            finally:
                done.set()
                thread.join()
        else:
            s.settimeout(PATIENCE_S)
            yield s


class Firewall(launch_case.LaunchCase):
    images = ("test/server:1", "demo/hello:1")

    @classmethod
    def setUpClass(cls):
        unshare(CLONE_NEWNET)
        ip("link", "set", "lo", "up")
        cls.peer = Peer()
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.peer.close()

    def setUp(self):
        super().setUp()
        subprocess.run(["nft", "flush", "ruleset"], check=True)

    def program(self, *words):
        return subprocess.run([os.path.join(self.world.programs, "teelaunchd"), "firewall", *words], check=False,
                              capture_output=True, text=True, timeout=20)

    def test_nothing_comes_in_but_what_is_named(self):
        with listening(OPEN), listening(SHUT), listening(UDP, socket.SOCK_DGRAM) as udp:
            for host in (HERE4, HERE6):
                self.assertTrue(self.peer.reaches(SHUT, host))
            self.assertEqual(self.program("--also", "%d/tcp,%d/udp" % (OPEN, UDP)).returncode, 0)
            self.assertEqual(table(), {"tcp_open": [OPEN], "udp_open": [UDP], "input": "drop", "forward": "drop"})
            for host in (HERE4, HERE6):
                self.assertTrue(self.peer.reaches(OPEN, host))
                self.assertFalse(self.peer.reaches(SHUT, host))
            self.peer.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (HERE4, UDP)))
            self.assertEqual(udp.recv(16), b"x")
            self.assertEqual(self.program().returncode, 0)
            self.assertFalse(self.peer.reaches(OPEN))
            self.peer.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (HERE4, UDP)))
            with self.assertRaises(TimeoutError):
                udp.recv(16)

    def test_replies_and_the_loopback_interface_pass(self):
        self.assertEqual(self.program().returncode, 0)
        with listening(SHUT):
            for host in ("127.0.0.1", "::1", HERE4):
                with socket.create_connection((host, SHUT), timeout=PATIENCE_S) as s:
                    self.assertEqual(s.recv(16), b"hello\n")
        there = self.peer.call(lambda: socket.create_server((PEER4, SHUT)))
        with there, socket.create_connection((PEER4, SHUT), timeout=PATIENCE_S) as s:
            with there.accept()[0] as accepted:
                accepted.sendall(b"a reply")
            self.assertEqual(s.recv(16), b"a reply")

    def test_rules_of_others_stay(self):
        parts.run("nft", "add", "table", "inet", "other")
        self.assertEqual(self.program().returncode, 0)
        parts.run("nft", "list", "table", "inet", "other")

    def test_a_port_that_is_none_changes_nothing(self):
        self.assertEqual(self.program("--also", "22/tcp").returncode, 0)
        for text in ("80", "80/tcp; flush ruleset", "99999/tcp"):
            done = self.program("--also", text)
            self.assertEqual(done.returncode, 2)
            self.assertIn("TL0003", done.stderr)
        self.assertEqual(table()["tcp_open"], [22])

    def test_who_may_not_set_rules_is_told_so(self):
        """TL_E_FIREWALL"""
        done = subprocess.run(["capsh", "--drop=cap_net_admin", "--", "-c", "exec %s firewall" % os.path.join(
            self.world.programs, "teelaunchd")], check=False, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn("TL0120", done.stderr)

    def test_a_launch_opens_what_the_image_exposes_while_the_workload_runs(self):
        seen = {}
        attributes = self.world.attributes("test/server:1", cmd='["listen=%d,%d"]' % (OPEN, SHUT),
                                           container_log_redirect="true")
        launch = self.world.launch_start(attributes, options=["--firewall", "on", "--firewall-also", "22/tcp",
                                                                 "--readiness", str(READY)])
        launch.wait_for("stage=metadata")  # "machine" is done
        seen["before"] = table()
        launch.wait_for("workload.started")
        parts.wait_until(lambda: "listening at %d" % SHUT in launch.console, "the workload listening")
        seen["during"] = table()
        for host in (HERE4, HERE6):
            self.assertTrue(self.peer.reaches(OPEN, host))
            self.assertFalse(self.peer.reaches(SHUT, host))
        launch.send(15)
        launch.wait()
        seen["after"] = table()
        drop = {"input": "drop", "forward": "drop"}
        shut = {"tcp_open": [22], "udp_open": [], **drop}
        self.assertEqual(seen, {"before": shut, "after": shut,
                                "during": {"tcp_open": [22, OPEN, READY], "udp_open": [UDP], **drop}})
        self.assertIn("event=firewall.open count=2 ports='8080/tcp,8081/udp'", launch.stderr)
        self.assertLess(launch.stderr.index("stage=measure"), launch.stderr.index("event=firewall.open"))
        self.assert_clean(launch)

    def test_a_denied_launch_opens_nothing(self):
        launch = self.world.launch(self.world.attributes("test/server:1", env_NOPE="1"),
                                   options=["--firewall", "on"])
        self.assert_end(launch, 1, "denied")
        self.assertNotIn("firewall.open", launch.stderr)
        self.assertEqual(table()["tcp_open"], [])

    def test_without_the_firewall_nothing_is_touched_and_it_is_said(self):
        launch = self.world.launch(self.world.attributes(cmd='["exit=0"]'))
        self.assertEqual(launch.exit_code, 0, launch.stderr)
        self.assertIn("event=firewall.off", launch.stderr)
        self.assertEqual(json.loads(parts.run("nft", "-j", "list", "ruleset"))["nftables"][1:], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
