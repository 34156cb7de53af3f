#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A software TPM that looks like a cloud VM's, with the firmware that measured a boot into it.

  tpm.py start --dir W/tpm [options]   make it, start it, boot
  tpm.py reset --dir W/tpm [options]   power cycle: PCRs from zero, boot again
  tpm.py stop  --dir W/tpm

What is then in W/tpm:
  tcti                      how to reach it: "swtpm:host=127.0.0.1,port=P"
  binary_bios_measurements  the firmware's event log; it replays to PCRs 0 to 9
  cmdline                   the kernel's command line, as /proc/cmdline shows it
  ak-root.pem               the root that vouches for the attestation key
  ak-chain.pem              intermediate certificate, only with --intermediate
  ak-cert.pem, ak-pub.pem   copies for tests; the TPM has the certificate itself
  ca/                       keys of the world's certificate authority
In the TPM: NV 0x01c10002 certificate and NV 0x01c10003 template of the ECC attestation key, the
places where Google Compute Engine has them (go-tpm-tools, client/handles.go).

One client at a time: swtpm serves the next one when the one before has closed its connection.
Needs swtpm, swtpm-tools, tpm2-tools and openssl. Nothing but the loopback interface is used.
"""
import argparse
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import firmware_log

NV_CERTIFICATE = "0x01c10002"
NV_TEMPLATE = "0x01c10003"
# The attributes that TCG's EK Credential Profile 2.5, 2.2.2 asks for EK certificates.
NV_ATTRIBUTES = "ppwrite|writedefine|ppread|ownerread|authread|no_da|platformcreate"
# TPMT_PUBLIC of a restricted P-256 signing key with an empty `unique` (TPM 2.0 part 2, 12.2.4).
AK_TEMPLATE = bytes.fromhex("0023000b0005007200000010" "0018000b0003001000000000")
AK_ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"

KERNEL = "/boot/vmlinuz"
KERNEL_ARGUMENTS = "init=/usr/lib/systemd/systemd root=/dev/dm-0 ro console=ttyS0 " \
    "confidential-space.hardened="

OPENSSL_CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[intermediate]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ak]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
authorityKeyIdentifier = keyid
{issuers}1.3.6.1.4.1.11129.2.1.21 = ASN1:SEQUENCE:instance
# GCEInstanceInfo of go-tpm-tools, server/instance_info.go
[instance]
zone = UTF8:{zone}
project_number = INTEGER:{project_number}
project_id = UTF8:{project_id}
instance_id = INTEGER:{instance_id}
instance_name = UTF8:{instance_name}
security = EXPLICIT:0,SEQUENCE:security
[security]
version = EXPLICIT:0,INTEGER:0
is_production = EXPLICIT:1,BOOLEAN:TRUE
"""


def run(*command, timeout_s=60):
    """Run a tool; its output only matters when it fails."""
    done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise SystemExit("tpm.py: %s: exit %d\n%s" % (" ".join(command), done.returncode,
                                                     (done.stdout + done.stderr).decode()))


def write(path, data):
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


class Tpm:
    """One TPM below one folder."""

    def __init__(self, folder, options):
        self.dir = os.path.abspath(folder)
        self.options = options
        self.banks = options["banks"].split(",")

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    # --- the swtpm process

    def power_on(self):
        for _ in range(20):
            port = free_port_pair()
            process = subprocess.Popen(
                ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + self.path("state"),
                 "--server", "type=tcp,bindaddr=127.0.0.1,port=%d" % port,
                 "--ctrl", "type=tcp,bindaddr=127.0.0.1,port=%d" % (port + 1),
                 "--flags", "not-need-init,startup-clear",
                 "--log", "file=" + self.path("swtpm.log")],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True)
            # Another process may have taken the port in between: then swtpm ends at once.
            if wait_for_ports(port, process):
                break
        else:
            raise SystemExit("tpm.py: swtpm doesn't start; see " + self.path("swtpm.log"))
        write(self.path("pid"), "%d\n" % process.pid)
        write(self.path("tcti"), "swtpm:host=127.0.0.1,port=%d\n" % port)
        os.environ["TPM2TOOLS_TCTI"] = "swtpm:host=127.0.0.1,port=%d" % port

    def power_off(self, is_orderly=True):
        pid = self.own_pid()
        if pid is None:
            return
        if is_orderly:
            os.environ["TPM2TOOLS_TCTI"] = read(self.path("tcti")).strip()
            try:
                subprocess.run(["tpm2_shutdown", "-c"], capture_output=True, timeout=5,
                               check=False)
            except subprocess.TimeoutExpired:
                pass  # a client still holds the connection: then it is a power cut
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while self.own_pid() is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        os.unlink(self.path("pid"))

    def own_pid(self):
        """The process we started, unless its number belongs to another one by now."""
        try:
            pid = int(read(self.path("pid")))
            with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
                is_zombie = f.read().rsplit(")", 1)[1].split()[0] == "Z"
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                is_ours = ("dir=" + self.path("state")).encode() in f.read().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if is_ours and not is_zombie else None

    # --- what the cloud provisions once

    def provision(self):
        os.makedirs(self.path("state"))
        os.makedirs(self.path("ca"))
        run("swtpm_setup", "--tpm2", "--tpmstate", self.path("state"), "--config",
            self.empty_setup_config(), "--pcr-banks", self.options["banks"], "--overwrite",
            "--logfile", self.path("setup.log"))
        self.power_on()
        write(self.path("ca", "ak.template"), AK_TEMPLATE)
        run("tpm2_createprimary", "-Q", "-C", "e", "-g", "sha256", "-G", "ecc:ecdsa-sha256:null",
            "-a", AK_ATTRIBUTES, "--template-data", self.path("ca", "made.template"),
            "-c", self.path("ca", "ak.ctx"))
        with open(self.path("ca", "made.template"), "rb") as f:
            if f.read() != AK_TEMPLATE:
                raise SystemExit("tpm.py: tpm2_createprimary used another template")
        run("tpm2_readpublic", "-Q", "-c", self.path("ca", "ak.ctx"), "-f", "pem", "-o",
            self.path("ak-pub.pem"))
        run("tpm2_flushcontext", "-t")
        self.certify()
        self.nv_write(NV_TEMPLATE, self.path("ca", "ak.template"))
        self.nv_write(NV_CERTIFICATE, self.path("ca", "ak.der"))
        self.power_off()

    def empty_setup_config(self):
        """Else swtpm_setup looks for the machine's or the user's own certificate authority."""
        write(self.path("ca", "swtpm_setup.conf"), "")
        return self.path("ca", "swtpm_setup.conf")

    def certify(self):
        self.make_certificate("root", None, "teelaunch local world: attestation root")
        issuer = "root"
        if self.options["intermediate"]:
            self.make_certificate("intermediate", "root", "teelaunch local world: attestation CA")
            shutil.copy(self.path("ca", "intermediate.pem"), self.path("ak-chain.pem"))
            issuer = "intermediate"
        self.make_certificate("ak", issuer, "teelaunch local world: attestation key",
                              self.path("ak-pub.pem"))
        run("openssl", "x509", "-in", self.path("ca", "ak.pem"), "-outform", "DER", "-out",
            self.path("ca", "ak.der"))
        shutil.copy(self.path("ca", "ak.pem"), self.path("ak-cert.pem"))
        shutil.copy(self.path("ca", "root.pem"), self.path("ak-root.pem"))

    def make_certificate(self, kind, issuer, name, public=None):
        config, key = self.path("ca", kind + ".cnf"), self.path("ca", kind + ".key")
        issuers = "authorityInfoAccess = caIssuers;URI:%s\n" % self.options["aia"] if self.options["aia"] else ""
        write(config, OPENSSL_CONFIG.format(name=name, issuers=issuers, **self.options))
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        run("openssl", "req", "-new", "-key", key, "-config", config, "-out",
            self.path("ca", kind + ".csr"))
        # The request is signed by a throw-away key, the certificate names the TPM's.
        subject = ["-force_pubkey", public] if public else []
        signer = ["-CA", self.path("ca", issuer + ".pem"), "-CAkey",
                  self.path("ca", issuer + ".key")] if issuer else ["-signkey", key]
        run("openssl", "x509", "-req", "-in", self.path("ca", kind + ".csr"), "-days", "3650",
            "-sha256", "-set_serial", "0x" + os.urandom(15).hex(), "-extfile", config,
            "-extensions", kind, "-out", self.path("ca", kind + ".pem"), *subject, *signer)

    def nv_write(self, index, path):
        run("tpm2_nvdefine", "-Q", "-C", "p", index, "-s", str(os.path.getsize(path)), "-a",
            NV_ATTRIBUTES)
        run("tpm2_nvwrite", "-Q", "-C", "p", index, "-i", path)

    def provision_or_copy(self):
        """Provisioning takes a second or two; a cache keeps one state for each set of options."""
        if not self.options["cache"]:
            return self.provision()
        kept = os.path.join(os.path.abspath(self.options["cache"]), self.cache_key())
        if not os.path.isdir(kept):
            making = Tpm("%s.making-%d" % (kept, os.getpid()), self.options)
            os.makedirs(making.dir)
            making.provision()
            try:
                os.rename(making.dir, kept)
            except OSError:
                shutil.rmtree(making.dir)  # somebody else was faster
        shutil.copytree(kept, self.dir, dirs_exist_ok=True)
        return None

    def cache_key(self):
        what = {k: self.options[k] for k in PROVISIONED}
        with open(__file__, "rb") as f:
            return hashlib.sha256(f.read() + json.dumps(what, sort_keys=True).encode()).hexdigest()

    # --- what the firmware does at each boot

    def boot(self):
        hardened = "true" if self.options["hardened"] else "false"
        loader = KERNEL + " " + (self.options["arguments"] or KERNEL_ARGUMENTS + hardened)
        events = firmware_log.boot_events(self.options["secure_boot"] == "on",
                                          self.options["technology"], loader)
        used = (self.options["used_banks"] or ",".join(self.banks)).split(",")
        run("tpm2_pcrextend", *["%d:%s" % (e.pcr, ",".join(
            "%s=%s" % (bank, e.digest(bank).hex()) for bank in used)) for e in events])
        write(self.path("binary_bios_measurements"), firmware_log.encode_log(events, used))
        # GRUB measures what follows BOOT_IMAGE= and hands the kernel the whole:
        # grub-core/loader/i386/linux.c, grub_cmd_linux().
        write(self.path("cmdline"), "BOOT_IMAGE=" + loader + "\n")


def free_port_pair():
    """A free port whose successor is free as well: swtpm's TCTI expects the control channel there."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                return port
            except (OSError, OverflowError):
                continue


def wait_for_ports(port, process):
    """Until the process listens on both: by the kernel's tables, because a connection made to find
    out would be swtpm's only client, and because another process may have taken one of them."""
    deadline = time.monotonic() + 10
    want = {"0100007F:%04X" % port, "0100007F:%04X" % (port + 1)}
    while time.monotonic() < deadline and process.poll() is None:
        with open("/proc/net/tcp", encoding="utf-8") as f:
            rows = [line.split() for line in list(f)[1:]]
        sockets = {"socket:[%s]" % row[9] for row in rows if row[1] in want and row[3] == "0A"}
        if len(sockets & set(open_files(process.pid))) == 2:
            return True
        time.sleep(0.01)
    process.terminate()
    process.wait()
    return False


def open_files(pid):
    folder = "/proc/%d/fd" % pid
    try:
        for name in os.listdir(folder):
            yield os.readlink(os.path.join(folder, name))
    except OSError:
        return  # it is just ending, or just closing one


# Options that shape the TPM itself; the others shape a boot.
PROVISIONED = ["banks", "intermediate", "zone", "project_number", "project_id", "instance_id",
               "instance_name", "aia"]
DEFAULTS = {
    "banks": "sha1,sha256,sha384", "intermediate": False, "cache": None,
    "zone": "us-central1-a", "project_number": "1234567890", "project_id": "demo-project",
    "instance_id": "4242424242424242424", "instance_name": "demo-vm", "aia": "",
    "hardened": True, "secure_boot": "on", "technology": "none", "arguments": None,
    "used_banks": None,
}


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("verb", choices=["start", "reset", "stop"])
    p.add_argument("--dir", required=True, help="folder of this TPM")
    p.add_argument("--cache", help="start: folder that keeps provisioned states; equal options then give "
                   "equal keys and certificates")
    p.add_argument("--banks", help="start: PCR banks (%s)" % DEFAULTS["banks"])
    p.add_argument("--intermediate", action="store_const", const=True,
                   help="start: the key's certificate is issued by an intermediate CA")
    for name in PROVISIONED[2:]:
        p.add_argument("--" + name.replace("_", "-"), help="start: in the key's certificate (%s)"
                       % DEFAULTS[name])
    p.add_argument("--hardened", action="store_const", const=True, help="boot: production")
    p.add_argument("--debug", action="store_const", const=False, dest="hardened",
                   help="boot: debug")
    p.add_argument("--secure-boot", choices=["on", "off"], help="boot")
    p.add_argument("--technology", choices=list(firmware_log.TECHNOLOGIES), help="boot")
    p.add_argument("--used-banks", help="boot: the firmware measures into these banks only (all)")
    p.add_argument("--arguments", help="boot: all of the kernel's arguments, instead of ours")
    p.add_argument("--unorderly", action="store_true", help="reset, stop: cut the power")
    return p.parse_args()


def main():
    args = parse_arguments()
    os.environ.pop("TPM2TOOLS_TCTI", None)
    kept = os.path.join(args.dir, "options.json")
    options = dict(DEFAULTS)
    if args.verb != "start":
        options.update(json.loads(read(kept)))
    options.update({k: v for k, v in vars(args).items() if k in DEFAULTS and v is not None})
    tpm = Tpm(args.dir, options)
    if args.verb == "start":
        os.makedirs(tpm.dir, exist_ok=True)
        tpm.provision_or_copy()
    else:
        tpm.power_off(not args.unorderly)
    if args.verb == "stop":
        return
    write(kept, json.dumps(options, indent=1) + "\n")
    tpm.power_on()
    try:
        tpm.boot()
    except BaseException:
        tpm.power_off()
        raise
    sys.stdout.write(read(tpm.path("tcti")))


if __name__ == "__main__":
    main()
