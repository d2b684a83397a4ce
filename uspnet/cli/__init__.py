# SPDX-License-Identifier: Apache-2.0
"""The command line: `uspnet`. One command a file; failure.py turns errors into exit codes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from uspnet import __version__
from uspnet.cli.command import App
from uspnet.cli.completion import VARIABLE
from uspnet.cli.completion.scripts import Shell, install, script

app = App(
    name="uspnet",
    help="User-space network drivers, and the packet tools that run on them.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,  # Typer's scripts know nothing of words with colons
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"uspnet {__version__}")
        raise typer.Exit


def _show_completion(shell: Shell | None) -> None:
    if shell:
        typer.echo(script(shell), nl=False)
        raise typer.Exit


def _install_completion(shell: Shell | None) -> None:
    if shell:
        for line in install(shell):
            typer.echo(line)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    show_completion: Annotated[  # noqa: ARG001 - as above
        Shell | None,
        typer.Option(callback=_show_completion, is_eager=True, help="Print a completion script."),
    ] = None,
    install_completion: Annotated[  # noqa: ARG001 - as above
        Shell | None,
        typer.Option(
            callback=_install_completion,
            is_eager=True,
            help="Install completion of commands, ports and options for your shell.",
        ),
    ] = None,
) -> None:
    """User-space network drivers, and the packet tools that run on them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


from uspnet.cli import (  # noqa: E402, F401 - they register
    attach,
    bind,
    capture,
    demo,
    devices,
    doctor,
    extcap,
    fwd,
    pktgen,
    plot,
    read,
    reflect,
    regs,
    stats,
    supervise,
    unbind,
    upgrade,
)


def main() -> None:
    """Run the command line. Every error ends as a message with a hint, never as a traceback."""
    from uspnet.cli.failure import finish, run, tell
    from uspnet.errors import UspnetError
    from uspnet.system import kept

    try:
        if state := kept.begin(os.environ):
            sys.argv[1:] = state.words
    except UspnetError as error:
        tell(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)

    if os.environ.pop(VARIABLE, None):
        from uspnet.cli.completion.words import completions

        print(*completions(app, sys.argv[1:]), sep="\n")
        sys.exit(finish(0))
    while True:
        former = kept.former()
        code = run(app, sys.argv[1:])
        if kept.former() is former:  # otherwise no other version could go on, and this one does
            sys.exit(finish(code))
