#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing of the Debian packages named by their lists, and makes .venv.
#   tools/setup.sh demo|test
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/build/qemu/bin:$PATH"
mkdir -p build

# apt-get runs only when something of these is missing. Without `needed` nothing works; tests that
# lack something of the rest are skipped, and say so.
needed=(gcc libc6-dev python3-venv python3-dev)
wanted=(
    make git iproute2 ethtool procps         # build, networks to test in
    tshark tcpdump netsniff-ng               # read what files and kernel ports carry
    xdp-tools iperf3                         # beside xdp: ports, and through them
    tcpreplay xxd                            # and its tcprewrite, to compare with; dumps to craft
    iperf3 curl                              # run over interfaces that attach keeps
    zstd lz4                                 # what captures are compressed with
    valgrind strace gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    zsh fish                                 # shells to complete words in, beside bash
    busybox-static dropbear-bin              # the guest of tests/vm, and SSH into it
    dpdk-dev                                 # dpdk-testpmd
    dpdk pciutils                            # dpdk-devbind.py and its lspci, to compare bind with
    # what testpmd must load for memif, vhost, virtio-user, af_packet, pcap and null ports
    librte-meta-net librte-meta-bus librte-meta-mempool
)

missing() { # prints those of its arguments that are not installed
    local name
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || echo "$name"
    done
}

sudo=()
if ((EUID)); then sudo=(sudo -n); fi
apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y)

get() { # installs those of its arguments that are missing
    local lack
    mapfile -t lack < <(missing "$@")
    if ((${#lack[@]})); then
        echo "installing Debian packages: ${lack[*]}"
        "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${lack[@]}" </dev/null
    fi
}

hint() { # the command that installs what is missing
    echo "could not be installed; as root: apt-get update && apt-get install $(missing "$@" | xargs)"
}

get "${needed[@]}" || { hint "${needed[@]}" >&2; exit 1; }
if [[ $1 == test ]]; then get "${wanted[@]}" || hint "${wanted[@]}"; fi

# Emulated NICs. igb came with QEMU 8.0, and Debian 12 has 7.2. A newer one, or one where there is
# none, is unpacked under build/, and the system stays as it is.
qemu_is_new() {
    local version
    version=$(qemu-system-x86_64 --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
    ((${version:-0} >= 8))
}

if ! qemu_is_new && [[ ! $(find build/qemu.failed -mmin -10 2>/dev/null) ]]; then
    echo "downloading QEMU and unpacking it under build/qemu"
    if ! tools/qemu.sh >build/qemu.log 2>&1; then
        touch build/qemu.failed # without a network each attempt takes long: none for ten minutes
        echo "QEMU could not be downloaded (build/qemu.log); to try again: rm build/qemu.failed"
    fi
fi
if [[ $1 == test ]] && ! command -v qemu-system-x86_64 >/dev/null; then
    get qemu-system-x86 || hint qemu-system-x86
fi

extras=""
if [[ $1 == test ]]; then extras="[dev${USPNET_FULL:+,plot}]"; fi # the full tier skips nothing
stamp=".venv/.ready-$1${extras//[^a-z]/}"
venv_works() { # it is complete, was made in this folder, and its Python starts
    grep -qF "$(pwd -P)/.venv/bin/python" .venv/bin/pip && .venv/bin/python -c 'import pip'
}
if [[ -e .venv ]] && ! venv_works 2>/dev/null; then
    echo "moving .venv to build/venv.old: it is incomplete, or of another place or Python"
    rm -rf build/venv.old
    mv .venv build/venv.old
fi
if [[ ! -e .venv ]]; then
    echo "creating .venv"
    python3 -m venv .venv
fi
sources=(pyproject.toml setup.py uspnet/fastpath)
if [[ ! -e $stamp || $(find "${sources[@]}" -newer "$stamp" ! -name '_fastpath.c') ]]; then
    echo "installing uspnet$extras into .venv"
    .venv/bin/pip install -q --disable-pip-version-check -e ".$extras"
    touch "$stamp"
fi
if [[ $1 == test && ! -e build/vm-kernel ]]; then
    echo "fetching Debian's kernel for the guest of tests/vm"
    fetch=(.venv/bin/python tests/vm/kernel.py)
    "${fetch[@]}" 2>/dev/null || { "${apt[@]}" update && "${fetch[@]}"; } ||
        echo "none was found: tests that need it are skipped"
fi
if [[ $1 == test && ${USPNET_FULL:-0} != 0 && ! -e build/vm-kernel-recent &&
    ! $(find build/vm-kernel-recent.log -mmin -10 2>/dev/null) ]]; then
    echo "fetching a kernel whose drivers do AF_XDP's zero copy, for a guest of tests/vm"
    .venv/bin/python tests/vm/kernel.py recent >build/vm-kernel-recent.log 2>&1 ||
        echo "none was found (build/vm-kernel-recent.log): tests that need it are skipped"
fi
