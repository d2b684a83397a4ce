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
    make git iproute2 ethtool procps         # build, networks to test in
    tshark tcpdump netsniff-ng               # the judges of files and kernel ports
    valgrind gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    qemu-system-x86                          # emulated NICs
    busybox-static                           # the guest of tests/vm
    dpdk-dev                                 # dpdk-testpmd
    dpdk pciutils                            # dpdk-devbind.py and its lspci, to compare bind with
    # what testpmd must load for memif, vhost, virtio-user, af_packet, pcap and null ports
    librte-meta-net librte-meta-bus librte-meta-mempool
)

missing() { # the packages of its arguments that are not installed
    local name
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || echo "$name"
    done
}

sudo=()
if ((EUID)); then sudo=(sudo); fi
apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
declare -n wanted="$1"
mapfile -t lack < <(missing "${wanted[@]}")
if ((${#lack[@]})); then
    echo "installing Debian packages: ${lack[*]}"
    "${apt[@]}" update
    "${apt[@]}" install --no-install-recommends "${lack[@]}" </dev/null
fi

# The model of igb came with QEMU 8.0. Debian 12 has 7.2; its backports have a newer one, and are
# added only when told: ASSUME_YES=1, or an answer at the prompt.
old_qemu() {
    [[ $(. /etc/os-release && echo "${VERSION_CODENAME:-}") == bookworm ]] || return 1
    local version
    version=$(qemu-system-x86_64 --version | sed -n 's/.*version \([0-9]*\).*/\1/p')
    ((version < 8))
}

told() {
    [[ ${ASSUME_YES:-} == 1 ]] && return
    [[ -t 0 ]] || return 1
    local answer
    read -r -p "add Debian's backports for a newer QEMU? [y/N] " answer
    [[ $answer == [yY]* ]]
}

add_backports() { # from the mirror that Debian itself comes from
    local mirror file=/etc/apt/sources.list.d/bookworm-backports.list
    mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' |
        awk '$2 == "bookworm" {print $1; exit}')
    echo "deb $mirror bookworm-backports main" | "${sudo[@]}" tee "$file" >/dev/null
    "${apt[@]}" update
}

if [[ $1 == test ]] && old_qemu; then
    if told; then
        echo "installing QEMU from bookworm-backports"
        add_backports
        "${apt[@]}" install --no-install-recommends -t bookworm-backports qemu-system-x86 </dev/null
    else
        echo "QEMU is older than 8.0: tests of igb are skipped; ASSUME_YES=1 installs a newer one"
    fi
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
if [[ $1 == test && ! -e build/vm-kernel ]]; then
    echo "fetching Debian's kernel for the guest of tests/vm"
    fetch=(.venv/bin/python tests/vm/kernel.py)
    "${fetch[@]}" 2>/dev/null || { "${apt[@]}" update && "${fetch[@]}"; } ||
        echo "there is none: tests that need it are skipped"
fi
