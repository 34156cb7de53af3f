#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The local world's TPM and its firmware agree: tpm2_eventlog replays the log to the TPM's PCRs."""
import os
import re
import subprocess
import sys
import tempfile

TPM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world", "tpm.py")


def output_of(*command):
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()


def parse_registers(text):
    """{bank: {index: hex}} of the lines that tpm2_pcrread prints, and tpm2_eventlog at its end."""
    banks, bank = {}, None
    for line in text.splitlines():
        if re.fullmatch(r"\s*(sha\d+):\s*", line):
            bank = line.strip(" :")
        m = re.fullmatch(r"\s*(\d+)\s*:\s*0x([0-9a-fA-F]+)\s*", line)
        if m and bank:
            banks.setdefault(bank, {})[int(m[1])] = m[2].lower()
    return banks


def check(folder, hardened, secure_boot):
    log = output_of("tpm2_eventlog", os.path.join(folder, "binary_bios_measurements"))
    claimed = parse_registers(log[log.index("\npcrs:"):])
    real = parse_registers(output_of("tpm2_pcrread"))
    assert set(claimed) == set(real) == {"sha1", "sha256", "sha384"}, (claimed, real)
    for bank, registers in claimed.items():
        assert sorted(registers) == list(range(10)), registers
        for index, value in registers.items():
            assert real[bank][index] == value, (bank, index)
    assert "confidential-space.hardened=" + hardened in log
    with open(os.path.join(folder, "cmdline"), encoding="utf-8") as f:
        line = f.read().strip()
    assert line.endswith("confidential-space.hardened=" + hardened), line
    assert "kernel_cmdline: " + line.removeprefix("BOOT_IMAGE=") in log, line
    assert re.search(r'UnicodeName: SecureBoot\n\s*VariableData: "%s"' % secure_boot, log)
    assert set(real["sha256"][13]) == {"0"}
    return real


def main():
    with tempfile.TemporaryDirectory() as folder:
        tcti = output_of(TPM, "start", "--dir", folder).strip()
        try:
            os.environ["TPM2TOOLS_TCTI"] = tcti
            first = check(folder, "true", "01")
            os.environ["TPM2TOOLS_TCTI"] = output_of(TPM, "reset", "--dir", folder).strip()
            assert check(folder, "true", "01") == first
            tcti = output_of(TPM, "reset", "--dir", folder, "--debug", "--secure-boot", "off")
            os.environ["TPM2TOOLS_TCTI"] = tcti.strip()
            other = check(folder, "false", "00")
            changed = [i for i in range(24) if other["sha256"][i] != first["sha256"][i]]
            assert changed == [7, 8, 9], changed
        finally:
            output_of(TPM, "stop", "--dir", folder)
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
