#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One call of the launcher or of its unpackers to the system fails, or one to containerd, or one command of
the TPM; once, in a whole launch: one report, of the right class; nothing left; no workload that isn't fully
measured; no crash, no hang. TL_LONG=1: at each site of a call (injector.c says what that is), each call to
containerd, each command; else one of each kind, and those where something was found.

TL_SITES=REGEX runs the sites whose name matches; TL_PART=I/N every N-th of them; TL_FRAMES=N and TL_CALLERS=1 tell
more of them apart. TL_SEED=N runs in a random order, which that number gives again; TL_MINUTES=N ends each of the
three tests after so long and says how much of it was run."""
import os
import random
import re
import time

import injected_world
import injector
import parts
import tpm_proxy
from injected_world import CC_FLUSH_CONTEXT, TPM_FAILURE, TPM_RETRY, tpm_response
from rpc_proxy import RpcProxy

IS_LONG = "TL_LONG" in os.environ
# What containerd may answer (grpc/codes), and whether it does what it was asked before.
STATUS = {13: "INTERNAL", 14: "UNAVAILABLE"}
HARM = ((14, False), (13, False), (14, True))
# Of the short form.
RPCS = (("/containerd.services.tasks.v1.Tasks/Create", 1), ("/containerd.services.tasks.v1.Tasks/Start", 1))
# Sites where a fault once did harm, by their names; with True at their last call.
# Which frames there are besides depends on what a compiler inlines.
FOUND = (
    # what couldn't be removed is looked for once more (launch_sweep_late)
    (r"^teelaunchd open( < open)? < dir_open\b", True),
    (r"^teelaunchd open( < open)? < tl_token_files_remove\b", True),
    # a pipe stayed, until the machine's next boot
    (r"^teelaunchd unlinkat < folder_remove\b", True),
    # a context of ESAPI took no command any more: no other quote, and the key stayed loaded (tpm_esys_renew,
    # tpm_link_flush); of an event nothing may be tried again
    (r"^teelaunchd calloc of libtss2-esys\S* < run_quote\b", False),
    (r"^teelaunchd calloc of libtss2-esys\S* < create_key\b", False),
    (r"^teelaunchd calloc of libtss2-esys\S* < tpm_extend_pcr\b", False),
)


def minutes():
    return float(os.environ.get("TL_MINUTES", "inf"))


class Injected(injected_world.InjectedWorld):
    def record(self):
        """The sites of two launches that nothing disturbs: what threads do differs."""
        sites = {}
        for _ in range(2 if IS_LONG else 1):
            launch = self.run_once(self.injector.environment())
            self.assertEqual(self.faults_of(launch), [], launch.stderr)
            self.assertEqual(launch.end, ("success", None))
            for program in injector.PROGRAMS:
                fired, found = self.injector.read(program)
                self.assertEqual(fired, 0)
                self.assertGreater(len(found), 10, program)
                sites.update({(program, key): site for key, site in found.items()})
        sites = list(sites.values())
        self.injector.name_sites(sites)
        return sites

    def chosen(self, sites):
        """[(site, fault, which of its calls)...]: the first, and of our own calls the last, for that one undoes."""
        pattern, part = os.environ.get("TL_SITES"), os.environ.get("TL_PART", "0/1")
        if pattern:
            sites = [s for s in sites if re.search(pattern, str(s))]
        elif not IS_LONG:
            return self.sample(sites)
        at, of = map(int, part.split("/"))
        cases = []
        for site in sorted((s for s in sites if s.key % of == at), key=lambda s: s.key):
            cases += [(site, how, 1) for how in site.faults()]
            if site.count > 1 and not site.module and site.kind != "memory":
                cases.append((site, site.faults()[0], site.count))
        return cases

    @staticmethod
    def sample(sites):
        chosen = {}
        for site in sorted(sites, key=str):
            # our own call rather than a library's; of unpackers more fail in unpack_attacks
            if not site.module and (site.program == "teelaunchd" or site.kind in ("message", "write")):
                chosen.setdefault((site.program, site.kind), site)
        return [(s, s.faults()[0], 1) for s in chosen.values()] + [
            (s, s.faults()[0], s.count if is_last else 1)
            for pattern, is_last in FOUND for s in sites if re.search(pattern, str(s))]

    def turns(self, cases):
        """In a random order if there is a seed, until the time is over; says how many that were."""
        cases, begun, n = list(cases), time.monotonic(), 0
        if "TL_SEED" in os.environ:
            random.Random(int(os.environ["TL_SEED"])).shuffle(cases)
        for case in cases:
            if time.monotonic() - begun >= minutes() * 60:
                break
            n += 1
            yield case
        self.note("%d of %d launches with a fault were run%s", n, len(cases),
                  ", in the order of seed " + os.environ["TL_SEED"] if "TL_SEED" in os.environ else "")
        self.assertGreater(n, 0, "nothing was run")

    def judge(self, what, ends, run, is_reached, has_lost_tpm=False):
        """One launch with a fault, and what is wrong with its end."""
        try:
            launch = run()
            wrong = self.faults_of(launch, has_lost_tpm)
            end, said = "%s %s" % launch.end, launch.stderr
        except parts.Failure as fault:
            wrong, end, said = [str(fault)], "no end", ""
        if not is_reached():
            end, what = "not reached", "not reached: " + what  # nothing disturbed it, so it is judged all the same
        ends.append(end)
        self.note("%-16s %s", end, what)
        with self.subTest(what=what):
            self.assertEqual(wrong, [], said)

    def summed_up(self, what, ends, begun):
        self.note("%s: %d runs in %.0f s: %s", what, len(ends), time.monotonic() - begun, injected_world.table(ends))
        self.assertLess(ends.count("not reached"), max(2, len(ends) / 10))

    def test_each_rpc_fails_once(self):
        """UNAVAILABLE or INTERNAL without that anything was done, and UNAVAILABLE although it was."""
        path, ends, fired = self.world.path("rpc.sock"), [], []

        def run(rule=lambda path, nth: None):
            fired.clear()
            with RpcProxy(path, self.world.containerd.socket, rule) as proxy:
                launch = self.run_once(self.injector.environment(), options=["--containerd", path])
            launch.calls = proxy.calls
            return launch

        recorded = run()
        self.assertEqual(self.faults_of(recorded), [], recorded.stderr)
        calls, begun = [], time.monotonic()
        for at, name in enumerate(recorded.calls):
            calls.append((name, recorded.calls[:at + 1].count(name)))
        self.note("%d calls: %s", len(calls), injected_world.table(n.rpartition(".")[2] for n, _ in calls))
        cases = [(call, harm) for call in calls if IS_LONG or call in RPCS
                 for harm in (HARM if IS_LONG else HARM[-1:])]
        for (name, nth), (status, is_done) in self.turns(cases):
            def rule(path, n, wanted=(name, nth), harm=(status, is_done)):
                if (path, n) == wanted:
                    fired.append(path)
                    return harm
                return None
            self.judge("%s %s at call %d to %s" % (STATUS[status], "after" if is_done else "before", nth, name),
                       ends, lambda: run(rule), lambda: fired)
        self.summed_up("calls to containerd", ends, begun)

    def test_each_tpm_command_fails_once(self):
        """It answers that it is broken or busy, or does what it is told and nobody hears of it."""
        ends, codes, fired = [], [], []

        def run(wanted=None, how=None):
            def rule(code, command, send):
                codes.append(code)
                if len(codes) - 1 != wanted:
                    return send(command)
                fired.append(code)
                if how is None:
                    send(command)
                    return None
                return tpm_response(how)
            codes.clear()
            fired.clear()
            return self.run_once(self.injector.environment(), tpm_rule=rule)

        recorded = run()
        self.assertEqual(self.faults_of(recorded), [], recorded.stderr)
        all_of_them, begun = list(codes), time.monotonic()
        self.note("%d commands: %s", len(all_of_them), injected_world.table("%#x" % c for c in all_of_them))
        last_extend = len(all_of_them) - 1 - all_of_them[::-1].index(tpm_proxy.CC_PCR_EXTEND)
        cases = [(at, how) for at in (range(len(all_of_them)) if IS_LONG else [last_extend])
                 for how in ((TPM_FAILURE, TPM_RETRY, None) if IS_LONG else [None])]
        for at, how in self.turns(cases):
            # who can't flush an object leaves it
            has_lost_tpm = how is None or all_of_them[at] == CC_FLUSH_CONTEXT
            self.judge("%s at command %d, %#x" % ("no answer" if how is None else hex(how), at, all_of_them[at]),
                       ends, lambda: run(at, how), lambda: fired, has_lost_tpm)
        self.summed_up("TPM commands", ends, begun)

    def test_each_call_fails_once(self):
        sites, ends, seen = self.record(), [], set()
        self.note("%d sites, %d calls: %s", len(sites), sum(s.count for s in sites),
                  injected_world.table(s.kind for s in sites))
        for pattern, _ in FOUND:
            self.assertTrue(any(re.search(pattern, str(s)) for s in sites), "no call is %s any more" % pattern)
        begun = time.monotonic()
        for site, how, nth in self.turns(self.chosen(sites)):
            seen.add(site)
            self.judge("%s at call %d of %d: %s" % (how, nth, site.count, site), ends,
                       lambda: self.run_once(self.injector.environment(site, how, nth)),
                       lambda: self.injector.fired(site.program), site.module.startswith("libtss2-tcti"))
        self.summed_up("%d sites" % len(seen), ends, begun)


if __name__ == "__main__":
    injected_world.launch_case.main()
