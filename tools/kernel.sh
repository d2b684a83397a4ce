#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Downloads the packages of a Debian kernel whose drivers of emulated NICs do AF_XDP's zero copy into
# a folder. Those of Debian 12 and 13 don't: it comes from the backports of 13.
#   tools/kernel.sh FOLDER
set -euo pipefail
. "$(dirname "$0")/aside.sh"

here=$(mkdir -p "$1" && cd "$1" && pwd)
suite=""
case $release in bookworm | trixie) suite=trixie-backports ;; esac
apt_aside "$here" "$suite"
apt-get -y "${aside[@]}" update
only=(--no-{pre-depends,recommends,suggests,conflicts,breaks,replaces,enhances})
mapfile -t names < <(
    apt-cache "${aside[@]}" "${from[@]}" depends --recurse "${only[@]}" linux-image-amd64 |
        grep -E '^linux-(image|binary|modules)-[0-9].*amd64$' | sort -u
)
cd "$here"
apt-get -y "${aside[@]}" "${from[@]}" download "${names[@]}"
