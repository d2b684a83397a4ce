# SPDX-License-Identifier: Apache-2.0
"""What makes bash, zsh and fish ask us, and where each shell looks for it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from uspnet.cli.completion import VARIABLE

BASH = r"""# bash completion for uspnet
_uspnet() {
    # readline splits words at : and = as well; here a word ends at blanks alone
    local -a words=()
    local rest=${COMP_LINE:0:COMP_POINT} piece i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        piece=${COMP_WORDS[i]}
        local joined=1
        [[ $i == 0 || $rest == [[:space:]]* ]] && joined=
        rest=${rest#"${rest%%[![:space:]]*}"}
        [[ $i == "$COMP_CWORD" ]] && piece=$rest
        if [[ $joined ]]; then words[-1]+=$piece; else words+=("$piece"); fi
        rest=${rest#"$piece"}
    done
    mapfile -t COMPREPLY < <(VARIABLE=1 "$1" "${words[@]:1}" 2>/dev/null)
    # it replaces only what follows the last of these
    local breaks=${COMP_WORDBREAKS//[^:=]/} word=${words[-1]}
    if [[ $breaks ]]; then
        local head=${word%"${word##*[$breaks]}"}
        COMPREPLY=("${COMPREPLY[@]#"$head"}")
    fi
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:=/] ]]; then compopt -o nospace; fi
}
complete -o default -F _uspnet uspnet
"""

ZSH = r"""#compdef uspnet
_uspnet() {
    local -a found
    local -a given=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
    found=("${(@f)$(VARIABLE=1 "$words[1]" "${given[@]}" 2>/dev/null)}")
    found=(${found:#})
    if (( ! $#found )); then _files; return; fi
    compadd -S '' -- ${(M)found:#*[:=/]}
    compadd -- ${found:#*[:=/]}
}
if [[ $funcstack[1] == _uspnet ]]; then _uspnet "$@"; else compdef _uspnet uspnet; fi
"""

FISH = r"""# fish completion for uspnet
function __uspnet_words
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    VARIABLE=1 $words "$last" 2>/dev/null
end
complete -c uspnet -f -n '__uspnet_words | string length -q' -a '(__uspnet_words)'
"""


class Shell(StrEnum):
    """A shell that completion is there for."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


SCRIPTS = {Shell.bash: BASH, Shell.zsh: ZSH, Shell.fish: FISH}
PLACES = {  # below the home folder
    Shell.bash: ".local/share/bash-completion/completions/uspnet",
    Shell.zsh: ".zfunc/_uspnet",
    Shell.fish: ".config/fish/completions/uspnet.fish",
}
NEXT = {
    Shell.bash: "without the package bash-completion, add to ~/.bashrc: . {path}",
    Shell.zsh: "add to ~/.zshrc: fpath+=~/.zfunc; autoload -Uz compinit; compinit",
    Shell.fish: "new shells read it",
}


def script(shell: Shell) -> str:
    """Return the shell's script."""
    return SCRIPTS[shell].replace("VARIABLE", VARIABLE)


def install(shell: Shell) -> list[str]:
    """Write the script where the shell looks for it. Return what to tell. Raise OSError."""
    path = Path.home() / PLACES[shell]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(shell))
    return [f"wrote {path}", NEXT[shell].format(path=path)]
