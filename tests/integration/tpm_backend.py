#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The TPM backend against a software TPM. Everything it says is checked by tpm2-tools, openssl and
hashlib; none of its own code takes part.

  tpm_backend.py TPM_TOOL [NAME...]
"""
import hashlib
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import tpm_proxy

HERE = os.path.dirname(os.path.abspath(__file__))
TPM = os.path.join(HERE, "..", "world", "tpm.py")
TOOL = sys.argv[1]
NV_CERTIFICATE, NV_TEMPLATE = "0x01c10002", "0x01c10003"
NV_ATTRIBUTES = "ppwrite|writedefine|ppread|ownerread|authread|no_da|platformcreate"
BANKS = {0x04: "sha1", 0x0B: "sha256", 0x0C: "sha384"}
os.environ["TSS2_LOG"] = "all+none"


def run(*command):
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.decode()


def read(path):
    with open(path, "rb") as f:
        return f.read()


class World:
    """One TPM, started for one test."""

    def __init__(self, *options):
        self.dir = tempfile.mkdtemp(prefix="tpm-test-")
        self.out = os.path.join(self.dir, "out")
        os.mkdir(self.out)
        self.options = options

    def __enter__(self):
        run(TPM, "start", "--dir", self.dir, "--cache", CACHE, *self.options)
        self.find()
        return self

    def __exit__(self, *_):
        run(TPM, "stop", "--dir", self.dir)
        shutil.rmtree(self.dir)

    def find(self):
        self.tcti = read(self.path("tcti")).decode().strip()
        os.environ["TPM2TOOLS_TCTI"] = self.tcti

    def reset(self, *options):
        run(TPM, "reset", "--dir", self.dir, *options)
        self.find()

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def command(self, mode, tcti=None, chain=None):
        return [TOOL, mode, self.tcti if tcti is None else tcti, self.path("binary_bios_measurements"), self.out,
                *([chain] if chain else [])]

    def tool(self, mode, tcti=None, chain=None, timeout_s=100):
        done = subprocess.run(self.command(mode, tcti, chain), capture_output=True, timeout=timeout_s,
                              check=False)
        assert done.returncode in (0, 1), done
        lines = done.stdout.decode().splitlines()
        assert (lines[-1] == "ok") == (done.returncode == 0), lines
        return lines

    def works(self, *args, **kwargs):
        lines = self.tool(*args, **kwargs)
        assert lines[-1] == "ok", lines
        return lines

    def fails(self, expected, *args, **kwargs):
        lines = self.tool(*args, **kwargs)
        assert re.search(expected, lines[-1]), lines[-1]
        self.leaves_nothing()
        return lines

    def leaves_nothing(self):
        for kind in ("handles-transient", "handles-loaded-session", "handles-saved-session"):
            assert run("tpm2_getcap", kind).strip() == "", kind

    def replace_nv(self, index, path):
        there = re.findall(r"0x[0-9A-F]+", run("tpm2_getcap", "handles-nv-index"))
        if int(index, 16) in [int(x, 16) for x in there]:
            run("tpm2_nvundefine", "-Q", "-C", "p", index)
        if path:
            run("tpm2_nvdefine", "-Q", "-C", "p", index, "-s", str(os.path.getsize(path)), "-a",
                NV_ATTRIBUTES)
            run("tpm2_nvwrite", "-Q", "-C", "p", index, "-i", path)

    def file(self, name, content):
        with open(self.path(name), "wb") as f:
            f.write(content)
        return self.path(name)


def pcrs(bank):
    """{index: bytes} as tpm2_pcrread reads them."""
    found = re.findall(r"^\s*(\d+)\s*:\s*0x([0-9A-Fa-f]+)", run("tpm2_pcrread", bank), re.M)
    return {int(i): bytes.fromhex(v) for i, v in found}


def tlvs(data):
    while data:
        kind, size = struct.unpack(">BI", data[:5])
        assert len(data) >= 5 + size
        yield kind, data[5:5 + size], data[:5 + size]
        data = data[5 + size:]


def replay(cel):
    """{bank: register} and the events, computed from the contents; the records' digests must be
    theirs."""
    registers, events, items = {}, [], list(tlvs(cel))
    assert len(items) % 4 == 0
    for i in range(0, len(items), 4):
        number, index, digests, content = items[i:i + 4]
        assert (number[0], number[1]) == (0, struct.pack(">Q", i // 4))
        assert (index[0], index[1]) == (1, b"\x0d")
        assert digests[0] == 3 and content[0] == 0x50
        for algorithm, digest, _ in tlvs(digests[1]):
            name = BANKS[algorithm]
            real = hashlib.new(name, content[2]).digest()
            assert digest == real, (i // 4, name)
            old = registers.get(name, bytes(len(real)))
            registers[name] = hashlib.new(name, old + real).digest()
        events += [(kind, value) for kind, value, _ in tlvs(content[1])]
    return registers, events


EVENTS = [
    (0, b"127.0.0.1:5000/demo/hello:1"),
    (1, b"sha256:adb591795f9e9047f9117163b83c2ebcd5edc4503644d59a98cf911aef0367f8"),
    (2, b"Never"),
    (3, b"sha256:d5496fd75dd8262f0495ab5706fc464659eb7f481e384700e6174b6c44144cae"),
    (4, b"/hello"), (5, b"HOSTNAME=demo"), (7, "NAME=v\u00e4lue = 1".encode()), (6, b"/hello"),
    (9, b"\0"), (8, b""),
]


def der_integer(big_endian):
    """X.690, 8.3: as short as possible; the TPM pads with zeros."""
    value = int.from_bytes(big_endian, "big")
    content = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + bytes([len(content)]) + content


def check_quote(world, bank):
    """By tpm2_checkquote, and by openssl and hashlib."""
    attest, signature = world.out + "/%s.attest" % bank, world.out + "/%s.signature" % bank
    nonce = read(world.out + "/nonce")
    run("openssl", "x509", "-inform", "DER", "-in", world.out + "/ak.der", "-noout", "-pubkey",
        "-out", world.path("cert-pub.pem"))
    run("tpm2_checkquote", "-Q", "-u", world.path("cert-pub.pem"), "-m", attest, "-s", signature,
        "-g", "sha256", "-q", nonce.hex())
    raw = read(signature)
    assert raw[:4] == b"\x00\x18\x00\x0b"
    r_size = struct.unpack(">H", raw[4:6])[0]
    r, s = raw[6:6 + r_size], raw[8 + r_size:]
    integers = b"".join(der_integer(x) for x in (r, s))
    der = world.file("sig.der", b"\x30" + bytes([len(integers)]) + integers)
    run("openssl", "dgst", "-sha256", "-verify", world.path("cert-pub.pem"), "-signature", der,
        attest)
    values, size = read(world.out + "/%s.pcrs" % bank), hashlib.new(bank).digest_size
    found = {values[i]: values[i + 1:i + 1 + size] for i in range(0, len(values), 1 + size)}
    assert found == pcrs(bank) and sorted(found) == list(range(24))
    digest = hashlib.sha256(b"".join(found[i] for i in range(24))).digest()
    data = read(attest)
    assert data.endswith(b"\x00\x20" + digest) and nonce in data
    assert data[-34 - 10:-34] == struct.pack(">IH", 1, {v: k for k, v in BANKS.items()}[bank]) + \
        b"\x03\xff\xff\xff"


def check_launch(world, banks):
    registers, events = replay(read(world.out + "/cel"))
    assert events == EVENTS, events
    assert list(registers) == banks
    for bank in banks:
        assert pcrs(bank)[13] == registers[bank], bank
        check_quote(world, bank)


def a_launch_is_in_the_registers_and_quoted():
    with World() as world:
        # CreatePrimary's defaults would give another key if `unique` weren't kept.
        lines = world.works("launch")
        assert lines == ["ok"], lines
        check_launch(world, ["sha1", "sha256", "sha384"])
        assert read(world.out + "/log") == read(world.path("binary_bios_measurements"))
        run("openssl", "verify", "-CAfile", world.path("ak-root.pem"), world.path("ak-cert.pem"))
        assert read(world.out + "/ak.der") == read(world.path("ca", "ak.der"))
        assert run("openssl", "x509", "-in", world.path("ak-cert.pem"), "-noout", "-pubkey") == \
            read(world.path("ak-pub.pem")).decode()
        point = bytes.fromhex(re.sub(r"\s|:", "", re.search(
            r"pub:\s*04:([0-9a-f:\s]+)ASN1", run("openssl", "pkey", "-pubin", "-in",
                                                 world.path("ak-pub.pem"), "-noout",
                                                 "-text"))[1]))
        assert point[:32] in read(world.out + "/ak.tpmt")
        assert point[32:] in read(world.out + "/ak.tpmt")
        world.leaves_nothing()
        # A second launch in the same boot finds the register used.
        lines = world.fails(r"^TL0712 fatal PCR 13, bank sha1, isn't zero", "launch")
        assert "log: 0 bytes" in lines
        world.reset()
        world.works("launch")


def one_bank_is_enough():
    with World("--banks", "sha256") as world:
        world.works("launch")
        check_launch(world, ["sha256"])


def two_hundred_quotes_leave_nothing_behind():
    with World() as world:
        world.works("quotes")
        check_launch(world, ["sha1", "sha256", "sha384"])
        world.leaves_nothing()


def a_hundred_thousand_quotes_cost_no_memory():
    """Three banks: so many evidences as make 100,000 quotes, or as $TL_EVIDENCES says (S21)."""
    os.environ.setdefault("TL_EVIDENCES", "33334")
    with World() as world:
        said = "\n".join(world.works("soak", timeout_s=3000))
        resident = [int(kib) for kib in re.findall("resident_kib=([0-9]+)", said)]
        assert len(resident) == 2 and resident[0] > 1000, said
        print("%s evidences: resident memory %d, then %d KiB" % (os.environ["TL_EVIDENCES"], *resident))
        assert resident[1] - resident[0] < 512, resident
        world.leaves_nothing()


def intermediate_certificates_are_handed_on_if_they_fit():
    with World("--intermediate") as world:
        world.works("launch", chain=world.path("ak-chain.pem"))
        run("openssl", "x509", "-in", world.path("ak-chain.pem"), "-outform", "DER", "-out",
            world.path("want.der"))
        assert read(world.out + "/issuer.der") == read(world.path("want.der"))
        world.reset()
        world.fails(r"^TL0709 fatal intermediate certificates .*: not in order", "launch",
                    chain=world.path("ak-root.pem"))
        chain = read(world.path("ak-chain.pem"))
        world.fails(r"^TL0709 .*broken", "launch", chain=world.file("cut.pem", chain[:-40]))
        world.fails(r"^TL0709 .*no certificate", "launch", chain=world.file("none.pem", b"none\n"))
        world.fails(r"^TL0709 fatal intermediate certificates: ", "launch", chain="/nonexistent")


def another_unique_is_another_key():
    """Go's template has 2 * 32 zero bytes there. The bytes must reach the TPM as they are."""
    with World() as world:
        template = read(world.path("ca", "ak.template"))[:-4]
        zeros = struct.pack(">H32xH32x", 32, 32)
        world.replace_nv(NV_TEMPLATE, world.file("zeros.template", template + zeros))
        world.fails(r"^TL0710 fatal certificate in NV 0x01c10002 isn't for the key", "launch")
        # The certificate of that other key is accepted: made from the same bytes by tpm2-tools.
        world.file("unique", struct.pack("<H128xH128x", 32, 32))  # TPMU_PUBLIC_ID in memory
        run("tpm2_createprimary", "-Q", "-C", "e", "-g", "sha256", "-G", "ecc:ecdsa-sha256:null",
            "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign",
            "-u", world.path("unique"), "-c", world.path("other.ctx"), "-o",
            world.path("other.pem"), "-f", "pem")
        run("tpm2_flushcontext", "-t")
        run("openssl", "x509", "-req", "-in", world.path("ca", "ak.csr"), "-force_pubkey",
            world.path("other.pem"), "-CA", world.path("ca", "root.pem"), "-CAkey",
            world.path("ca", "root.key"), "-set_serial", "7", "-outform", "DER", "-out",
            world.path("other.der"))
        world.replace_nv(NV_CERTIFICATE, world.path("other.der"))
        world.works("launch")


BUSY_S = 30.5  # TPM_COMMAND_BUDGET_MS is 30 s
EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")


def use_policy_key(world):
    """Attributes without userWithAuth, policy PolicySecret(endorsement). Returns the template."""
    tail = bytes.fromhex("0010" "0018000b" "0003" "0010" "00000000")
    template = struct.pack(">HHIH", 0x23, 0x0B, 0x000500B2, 32) + EK_POLICY + tail
    world.file("policy.bin", EK_POLICY)
    run("tpm2_createprimary", "-Q", "-C", "e", "-g", "sha256", "-G", "ecc:ecdsa-sha256:null",
        "-a", "fixedtpm|fixedparent|sensitivedataorigin|adminwithpolicy|restricted|sign",
        "-L", world.path("policy.bin"), "--template-data", world.path("policy.template"),
        "-c", world.path("other.ctx"), "-o", world.path("other.pem"), "-f", "pem")
    run("tpm2_flushcontext", "-t")
    assert read(world.path("policy.template")) == template
    run("openssl", "x509", "-req", "-in", world.path("ca", "ak.csr"), "-force_pubkey",
        world.path("other.pem"), "-CA", world.path("ca", "root.pem"), "-CAkey",
        world.path("ca", "root.key"), "-set_serial", "7", "-outform", "DER", "-out",
        world.path("other.der"))
    world.replace_nv(NV_TEMPLATE, world.path("policy.template"))
    world.replace_nv(NV_CERTIFICATE, world.path("other.der"))
    return template


def a_key_with_the_ek_policy_is_used_through_a_session():
    with World() as world:
        template = use_policy_key(world)
        world.works("launch")
        check_launch(world, ["sha1", "sha256", "sha384"])
        world.leaves_nothing()
        # Any other policy could let somebody else use the key.
        other = template.replace(EK_POLICY, bytes(32))
        world.replace_nv(NV_TEMPLATE, world.file("other.template", other))
        world.fails(r"^TL0708 fatal attestation key has an unknown authorization policy", "open")


def templates_that_are_none_are_refused():
    with World() as world:
        template = read(world.path("ca", "ak.template"))
        unrestricted = template.replace(bytes.fromhex("00050072"), bytes.fromhex("00040072"))
        cases = [
            (None, r"^TL0707 fatal attestation key's template, NV 0x01c10003: "),
            (template[:-1], r"^TL0707 fatal .*: not a TPMT_PUBLIC"),
            (template + b"\0", r"^TL0707 fatal .*: not a TPMT_PUBLIC"),
            (b"\xff" * 24, r"^TL0707 fatal .*: not a TPMT_PUBLIC"),
            (bytes(2000), r"^TL0707 fatal .*: 2000 bytes; must be 1 to "),
            (unrestricted, r"^TL0708 fatal attestation key isn't 'restricted'"),
        ]
        for content, expected in cases:
            world.replace_nv(NV_TEMPLATE, content and world.file("bad.template", content))
            world.fails(expected, "open")


def certificates_that_are_none_are_refused():
    with World() as world:
        der = read(world.path("ca", "ak.der"))
        root = world.path("root.der")
        run("openssl", "x509", "-in", world.path("ak-root.pem"), "-outform", "DER", "-out", root)
        for content, expected in [
                (der[:-1], r"^TL0709 fatal .*: not one X.509 certificate in DER"),
                (der + b"\0", r"^TL0709 fatal .*: not one X.509 certificate in DER"),
                (read(root), r"^TL0710 fatal certificate in NV 0x01c10002 isn't for the key"),
        ]:
            world.replace_nv(NV_CERTIFICATE, world.file("bad.der", content))
            world.fails(expected, "open")
        world.replace_nv(NV_CERTIFICATE, None)
        world.fails(r"^TL0709 fatal attestation key's certificate, NV 0x01c10002: ", "open")
        run("tpm2_nvdefine", "-Q", "-C", "p", NV_CERTIFICATE, "-s", "500", "-a", NV_ATTRIBUTES)
        world.fails(r"^TL0709 fatal .*used before being initialized", "open")


def what_is_not_there_is_named():
    with World() as world:
        world.fails(r"^TL0701 fatal open TPM 'device:/nonexistent': ", "open",
                    tcti="device:/nonexistent")
        world.fails(r"^TL0701 fatal open TPM 'nonsense:x': ", "open", tcti="nonsense:x")
        world.fails(r"^TL0701 fatal no TPM interface was given", "open", tcti="")
        os.rename(world.path("binary_bios_measurements"), world.path("away"))
        world.fails(r"^TL0711 fatal firmware's event log: .*binary_bios", "open")
        world.file("binary_bios_measurements", b"")
        world.fails(r"^TL0711 fatal firmware's event log '.*' is empty", "open")
        world.file("binary_bios_measurements", bytes((1 << 20) + 1))
        world.fails(r"^TL0711 fatal firmware's event log: ", "open")


def a_reset_without_shutdown_is_a_warning():
    with World() as world:
        world.reset("--unorderly")
        lines = world.works("open")
        assert lines[0].startswith("warning: the TPM wasn't shut down in an orderly way"), lines
        properties = run("tpm2_getcap", "properties-variable")
        assert re.search(r"MAX_AUTH_FAIL: 0x20\n", properties), properties
        assert re.search(r"LOCKOUT_INTERVAL: 0x1C20\n", properties), properties
        assert re.search(r"LOCKOUT_RECOVERY: 0x15180\n", properties), properties
        # With a lockout password the limits can't be set; the launch goes on.
        run("tpm2_changeauth", "-Q", "-c", "lockout", "secret")
        lines = world.works("launch")
        assert any(x.startswith("warning: dictionary-attack limits: set: ") for x in lines), lines


def a_tpm_that_dies_between_two_events_poisons_the_launch():
    with World() as world:
        tool = subprocess.Popen(world.command("pause"), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
        assert tool.stdout.readline() == b"ready\n"
        os.kill(int(read(world.path("pid"))), signal.SIGKILL)
        lines = tool.communicate(b"\n", timeout=60)[0].decode().splitlines()
        assert tool.returncode == 1
        assert re.match(r"TL0702 retry extend the launch register: the connection to the TPM is "
                        r"lost", lines[-1]), lines
        assert lines[0] == "then: an earlier measurement failed after 1 events", lines
        assert lines[1] == lines[0], lines


def a_tpm_that_dies_before_the_quote_is_named():
    with World() as world:
        tool = subprocess.Popen(world.command("late"), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
        assert tool.stdout.readline() == b"ready\n"
        os.kill(int(read(world.path("pid"))), signal.SIGKILL)
        lines = tool.communicate(b"\n", timeout=60)[0].decode().splitlines()
        assert re.match(r"TL0702 retry quote: the connection to the TPM is lost", lines[-1]), lines


def through_proxy(rule, expected):
    with World() as world:
        proxy = tpm_proxy.Proxy(world.tcti, rule)
        try:
            lines = world.tool("launch", tcti=proxy.tcti)
        finally:
            proxy.close()
        assert re.search(expected, lines[-1]), lines
        return lines


def a_busy_tpm_is_waited_for():
    busy, seen = struct.pack(">HII", 0x8001, 10, 0x00000908), {}

    def rule(code, command, send):
        seen[code] = seen.get(code, 0) + 1
        return busy if seen[code] <= 2 else send(command)
    through_proxy(rule, "^ok$")
    # Three quotes; the software TPM itself answers TPM_RC_RETRY to the very first one.
    assert seen[tpm_proxy.CC_QUOTE] >= 5, seen


def a_pcr_that_changes_once_is_quoted_again():
    quotes = []

    def rule(code, command, send):
        answer = send(command)
        if code == tpm_proxy.CC_QUOTE and len(answer) > 60:
            quotes.append(answer)
            # Bank SHA-256 is the second of the three.
            if len(quotes) == 2:
                send(tpm_proxy.pcr_extend(16, 1))
        return answer
    through_proxy(rule, "^ok$")
    assert len(quotes) == 4, len(quotes)


def a_pcr_that_keeps_changing_is_an_error():
    def rule(code, command, send):
        answer = send(command)
        if code == tpm_proxy.CC_QUOTE and len(answer) > 60:
            send(tpm_proxy.pcr_extend(16, 1))
        return answer
    through_proxy(rule, r"^TL0720 retry quote of bank sha256: the PCR values aren't the quoted")


def a_foreign_event_in_the_register_is_an_error():
    done = []

    def rule(code, command, send):
        if code == tpm_proxy.CC_QUOTE and not done:
            done.append(send(tpm_proxy.pcr_extend(13, 1)))
        return send(command)
    through_proxy(rule, r"^TL0712 fatal PCR 13, bank sha256, isn't what its log gives")


def a_forged_quote_is_an_error():
    def rule(code, command, send):
        answer = bytearray(send(command))
        if code == tpm_proxy.CC_QUOTE and len(answer) > 60:
            answer[60] ^= 1
        return bytes(answer)
    through_proxy(rule, r"^TL0719 fatal quote of bank sha1: ")


def forged_pcr_values_are_an_error():
    def rule(code, command, send):
        answer = bytearray(send(command))
        if code == tpm_proxy.CC_PCR_READ and len(answer) > 200:
            answer[-1] ^= 1
        return bytes(answer)
    through_proxy(rule, r"^TL0720 retry quote of bank sha1: the PCR values aren't the quoted")


def a_hang_up_in_the_middle_is_an_error():
    seen = []

    def rule(code, command, send):
        seen.append(code)
        return None if seen.count(tpm_proxy.CC_PCR_EXTEND) == 4 else send(command)
    lines = through_proxy(rule, r"^TL0702 retry extend the launch register: the connection")
    assert "then: an earlier measurement failed after 3 events" in lines, lines


def a_quote_that_fails_in_esapi_costs_only_itself():
    """Its context takes no command any more; nor may the session stay that the key was used through."""
    for is_with_session in (False, True):
        quotes, extends = [], []

        def rule(code, command, send):
            answer = send(command)
            if code == tpm_proxy.CC_PCR_EXTEND:
                extends.append(command)
            if code == tpm_proxy.CC_QUOTE and len(answer) > 60:
                quotes.append(answer)
                if len(quotes) == 1:
                    return struct.pack(">HII", 0x8002, 14, 0) + bytes(4)
            return answer
        with World() as world:
            if is_with_session:
                use_policy_key(world)
            proxy = tpm_proxy.Proxy(world.tcti, rule)
            try:
                lines = world.works("twice", tcti=proxy.tcti)
            finally:
                proxy.close()
            assert lines[0].startswith("once: quote: ") and len(lines) == 2, lines
            assert len(quotes) == 4 and len(extends) == len(set(extends)) == len(EVENTS), (quotes, extends)
            check_launch(world, ["sha1", "sha256", "sha384"])
            world.leaves_nothing()


def a_tpm_that_was_busy_for_too_long_gives_the_next_quote():
    """ESAPI takes no command after it was given up; that costs half a minute here."""
    busy, since = struct.pack(">HII", 0x8001, 10, 0x00000922), []

    def rule(code, command, send):
        if code == tpm_proxy.CC_QUOTE:
            since.append(time.monotonic())
            if since[-1] - since[0] < BUSY_S:
                return busy
        return send(command)
    with World() as world:
        use_policy_key(world)
        proxy = tpm_proxy.Proxy(world.tcti, rule)
        try:
            lines = world.works("twice", tcti=proxy.tcti)
        finally:
            proxy.close()
        assert lines[0].startswith("once: ") and len(lines) == 2, lines
        check_launch(world, ["sha1", "sha256", "sha384"])
        world.leaves_nothing()


def an_answer_cut_short_is_an_error():
    def rule(code, command, send):
        answer = send(command)
        if code == tpm_proxy.CC_NV_READ:
            answer = answer[:2] + struct.pack(">I", 12) + answer[6:12]
        return answer
    through_proxy(rule, r"^TL07\d\d fatal ")


def what_is_sealed_opens_in_this_boot_only():
    """S27: any register of the policy that changes closes it, and so does a reset."""
    with World() as world:
        def unseals():
            world.works("unseal")
            return read(world.path("out", "unsealed")) == read(world.path("out", "secret"))

        world.works("seal")
        assert len(set(read(world.path("out", "secret")))) > 8
        assert read(world.path("out", "secret")) not in read(world.path("out", "blob"))
        assert unseals() and unseals()
        # systemd-pcrphase and the launch record extend these while the system runs.
        for pcr in (11, 15):
            run("tpm2_pcrextend", "%d:sha256=%s" % (pcr, "33" * 32))
        assert unseals()
        world.reset()
        # The same firmware has measured the same boot: the registers are as they were.
        world.fails("^TL0721 fatal .*integrity", "unseal")


def a_register_that_changes_closes_what_is_sealed():
    for pcr in (0, 2, 4, 7, 8, 9, 12, 13):
        with World() as world:
            world.works("seal")
            run("tpm2_pcrextend", "%d:sha256=%s,sha384=%s" % (pcr, "33" * 32, "33" * 48))
            world.fails("^TL0721 fatal .*policy", "unseal")


def a_blob_that_was_changed_is_refused():
    with World() as world:
        world.works("seal")
        blob = read(world.path("out", "blob"))
        for bad in (b"", blob[:7], blob[:-1], blob + b"x", b"X" + blob[1:],
                    blob[:20] + bytes([blob[20] ^ 1]) + blob[21:],
                    blob[:-10] + bytes([blob[-10] ^ 1]) + blob[-9:]):
            world.file("out/blob", bad)
            world.fails("^TL0721 fatal", "unseal")
        # Another TPM knows nothing of it, even in the same state of boot.
        with World() as other:
            shutil.copy(world.file("out/blob", blob), other.path("out", "blob"))
            other.fails("^TL0721 fatal", "unseal")


def sealing_takes_a_bank_that_the_firmware_uses():
    """Empty though allocated: a policy over it would be over nothing."""
    values = {"sha256": "33" * 32, "sha384": "33" * 48}
    for used, empty, pcr in (("sha256", "sha384", 4), ("sha384", "sha256", 7)):
        with World("--used-banks", "sha1," + used) as world:
            world.works("seal")
            run("tpm2_pcrextend", "%d:%s=%s" % (pcr, empty, values[empty]))
            world.works("unseal")
            run("tpm2_pcrextend", "%d:%s=%s" % (pcr, used, values[used]))
            world.fails("^TL0721 fatal .*policy", "unseal")
    with World("--used-banks", "sha1") as world:
        world.fails("^TL0706 fatal .*measured into no PCR bank", "seal")


def sealing_needs_a_bank_that_binds():
    with World("--banks", "sha1") as world:
        world.fails("^TL0706 fatal", "seal")


TESTS = [
    what_is_sealed_opens_in_this_boot_only,
    a_register_that_changes_closes_what_is_sealed,
    a_blob_that_was_changed_is_refused,
    sealing_takes_a_bank_that_the_firmware_uses,
    sealing_needs_a_bank_that_binds,
    a_launch_is_in_the_registers_and_quoted,
    one_bank_is_enough,
    two_hundred_quotes_leave_nothing_behind,
    a_hundred_thousand_quotes_cost_no_memory,
    intermediate_certificates_are_handed_on_if_they_fit,
    another_unique_is_another_key,
    a_key_with_the_ek_policy_is_used_through_a_session,
    templates_that_are_none_are_refused,
    certificates_that_are_none_are_refused,
    what_is_not_there_is_named,
    a_reset_without_shutdown_is_a_warning,
    a_tpm_that_dies_between_two_events_poisons_the_launch,
    a_tpm_that_dies_before_the_quote_is_named,
    a_busy_tpm_is_waited_for,
    a_pcr_that_changes_once_is_quoted_again,
    a_pcr_that_keeps_changing_is_an_error,
    a_foreign_event_in_the_register_is_an_error,
    a_forged_quote_is_an_error,
    forged_pcr_values_are_an_error,
    a_hang_up_in_the_middle_is_an_error,
    a_quote_that_fails_in_esapi_costs_only_itself,
    a_tpm_that_was_busy_for_too_long_gives_the_next_quote,
    an_answer_cut_short_is_an_error,
]


LONG = (a_hundred_thousand_quotes_cost_no_memory, a_tpm_that_was_busy_for_too_long_gives_the_next_quote)

with tempfile.TemporaryDirectory(prefix="tpm-cache-") as CACHE:
    for test in TESTS:
        if test.__name__ in sys.argv[2:] if len(sys.argv) > 2 else test not in LONG:
            start = time.monotonic()
            test()
            print("ok %s %.1f s" % (test.__name__, time.monotonic() - start), flush=True)
