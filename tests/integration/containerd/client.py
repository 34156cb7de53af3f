# SPDX-License-Identifier: Apache-2.0
"""The containerd client against a real containerd: test_containerd_client.c does the asking."""

import os
import subprocess
import sys

import scratch


def main(program):
    with scratch.Scratch() as world:
        tar, layer = world.layer({"hello": (0o644, b"hello\n"), "bin": (0o755, None)})
        environment = dict(os.environ, TL_CONTAINERD=world.socket,
                           TL_LAYER=world.write("layer.tar.gz", layer),
                           TL_LAYER_DIGEST=scratch.sha256(layer),
                           TL_LAYER_DIFF_ID=scratch.sha256(tar))
        status = subprocess.run([program], env=environment, stdin=subprocess.DEVNULL,
                                timeout=100, check=False).returncode
        if status != 0:
            print(world.log())
        sys.exit(1 if status else 0)


if __name__ == "__main__":
    main(sys.argv[1])
