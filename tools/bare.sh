#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs this commit's `make demo` and `make test` on a bare Debian, as root and as a user with sudo:
# a debootstrap tree with nothing but make and sudo, a clone, no terminal, no environment.
#   tools/bare.sh [options] bookworm|trixie
#     --in DIR     where trees and logs go, /var/tmp/uspnet-bare otherwise
#     --as WHO     root,user
#     --run WHAT   demo,test
#     --tests ARGS pytest's arguments in `make test`
#     --copy PATH  a file or folder of this machine that packages are reached by (repeatable)
#     --env NAME   a variable of this machine that packages are reached by (repeatable)
#     --keep       the trees stay
# Needs root and debootstrap. Everything is mounted in a namespace of its own: when this script has
# ended, however that is, so have all mounts and all processes.
set -euo pipefail

usage() { sed -n '/^#   tools/,/^# Needs/{/^# Needs/d;s/^# \{0,3\}//;p}' "$0" >&2; exit 2; }

[[ ${1:-} == --inside ]] || {
    ((EUID == 0)) || { echo "$0: needs root" >&2; exit 1; }
    command -v debootstrap >/dev/null || { echo "run: apt-get install debootstrap" >&2; exit 1; }
    exec unshare --mount --pid --fork --kill-child -- "$0" --inside "$@"
}
shift

folder=/var/tmp/uspnet-bare who=root,user what=demo,test tests="" keep="" release=""
copies=(/etc/resolv.conf /etc/hosts) variables=()
while (($#)); do
    case $1 in
    --in) folder=$2; shift ;;
    --as) who=$2; shift ;;
    --run) what=$2; shift ;;
    --tests) tests=$2; shift ;;
    --copy) copies+=("$2"); shift ;;
    --env) variables+=("$2"); shift ;;
    --keep) keep=1 ;;
    bookworm | trixie) release=$1 ;;
    *) usage ;;
    esac
    shift
done
[[ $release ]] || usage
source=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
commit=$(git -C "$source" rev-parse --short HEAD)
mkdir -p "$folder"
umask 022

base=$folder/$release.base
if [[ ! -e $base/.complete ]]; then
    echo "making a bare $release"
    rm -rf "$base"
    debootstrap --variant=minbase "$release" "$base" >"$folder/$release.debootstrap.log" 2>&1
    touch "$base/.complete"
fi

inside() { # inside TREE USER WORDS…: runs them there, as on a machine that has just started
    local tree=$1 user=$2 home=/root set=() name
    shift 2
    if [[ $user != root ]]; then home=/home/$user; fi
    for name in "${variables[@]}"; do set+=("$name=${!name-}"); done
    env -i /usr/sbin/chroot "$tree" setpriv --reuid "$user" --regid "$user" --init-groups \
        env -i HOME="$home" USER="$user" LANG=C.UTF-8 "${set[@]}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        setsid --wait "$@" </dev/null
}

prepare() { # prepare TREE USER: a fresh tree with the clone in the user's home
    local tree=$1 user=$2 home=root path
    rm -rf --one-file-system "$tree"
    cp -a "$base" "$tree"
    mount --bind "$tree" "$tree" # `ip netns` wants / to be a mount point
    mount -t proc proc "$tree/proc"
    mount -t sysfs sys "$tree/sys"
    mount -t devtmpfs dev "$tree/dev"
    mkdir -p "$tree/dev/pts" "$tree/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$tree/dev/pts"
    mount -t tmpfs -o mode=1777 shm "$tree/dev/shm"
    mount -t tmpfs -o mode=755 run "$tree/run"
    for path in "${copies[@]}"; do
        mkdir -p "$tree${path%/*}"
        rm -rf "$tree$path"
        cp -aL "$path" "$tree$path"
    done
    inside "$tree" root sh -c "apt-get -q update && apt-get -q -y install make sudo"
    if [[ $user != root ]]; then
        home=home/$user
        inside "$tree" root useradd --create-home "$user"
        echo "$user ALL=(ALL) NOPASSWD: ALL" >"$tree/etc/sudoers.d/$user"
    fi
    git clone -q "$source" "$tree/$home/uspnet"
    chown -R --reference="$tree/$home" "$tree/$home/uspnet"
}

failed=0 rows=()
for user in ${who//,/ }; do
    name=$release-$user tree=$folder/$release-$user
    prepare "$tree" "$user" >"$folder/$name-prepare.log" 2>&1 ||
        { tail -20 "$folder/$name-prepare.log"; exit 1; }
    for step in ${what//,/ }; do
        log=$folder/$name-$step.log start=$SECONDS code=0
        echo "$name: make $step (log: $log)"
        # shellcheck disable=SC2016
        inside "$tree" "$user" sh -c 'cd ~/uspnet && exec make "$@"' sh "$step" TESTS="$tests" \
            >"$log" 2>&1 || code=$?
        rows+=("$(printf '%-14s make %-5s exit %d %5d s  %s' "$name" "$step" "$code" \
            $((SECONDS - start)) "$(tail -1 "$log" | tr -d =)")")
        if ((code)); then failed=1; tail -40 "$log"; fi
    done
    umount -R "$tree"
    if [[ ! $keep ]]; then rm -rf --one-file-system "$tree"; fi
done
printf '%s\n' "" "$release, $commit:" "${rows[@]}"
exit $failed
