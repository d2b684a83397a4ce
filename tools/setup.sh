#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing of the Debian packages named by their lists, and makes .venv.
#   tools/setup.sh demo|test
set -euo pipefail
cd "$(dirname "$0")/.."

# apt-get runs only when something of these is missing.
demo=(gcc libc6-dev python3-venv python3-dev)
test=(
    "${demo[@]}"
    make git iproute2 ethtool                # build, networks to test in
    tshark tcpdump netsniff-ng               # the judges of files and kernel ports
    valgrind gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    qemu-system-x86                          # emulated NICs
    busybox-static                           # the guest of tests/vm
    dpdk-dev                                 # dpdk-testpmd
    # what testpmd must load for memif, vhost, virtio-user, af_packet, pcap and null ports
    librte-meta-net librte-meta-bus librte-meta-mempool
)

missing() { # the packages of its arguments that are not installed
    local name
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || echo "$name"
    done
}

declare -n wanted="$1"
mapfile -t lack < <(missing "${wanted[@]}")
if ((${#lack[@]})); then
    echo "installing Debian packages: ${lack[*]}"
    sudo=()
    if ((EUID)); then sudo=(sudo); fi
    apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
    "${apt[@]}" update
    "${apt[@]}" install --no-install-recommends "${lack[@]}" </dev/null
fi

extras=""
if [[ $1 == test ]]; then extras="[dev]"; fi
stamp=".venv/.ready-$1"
if [[ ! -x .venv/bin/python ]]; then
    echo "making .venv"
    python3 -m venv .venv
fi
sources=(pyproject.toml setup.py uspnet/fastpath/{*.[ch],build.py})
if [[ ! -e $stamp || $(find "${sources[@]}" -newer "$stamp" ! -name '_fastpath.c') ]]; then
    echo "installing uspnet$extras into .venv"
    .venv/bin/pip install -q --disable-pip-version-check -e ".$extras"
    touch "$stamp"
fi
