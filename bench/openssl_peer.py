"""What OpenSSL's SHA-256 alone takes for 1 MiB, as `openssl speed` measures it: milliseconds, one a line.

    python3 bench/openssl_peer.py [RUNS]
"""

import shutil
import subprocess
import sys


def main():
    if not shutil.which("openssl"):
        return
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 10):
        command = ["openssl", "speed", "-seconds", "1", "-bytes", "16384", "-evp", "sha256", "-mr"]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        speeds = [line.split(":")[-1] for line in out.splitlines() if line.startswith("+F:")]
        print(1000 * (1 << 20) / float(speeds[-1]))


if __name__ == "__main__":
    main()
