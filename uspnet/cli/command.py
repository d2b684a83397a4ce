# SPDX-License-Identifier: Apache-2.0
"""Commands with what Typer's parser lacks: `-i`, optional values, examples in the help."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

from uspnet.cli.manual import examples
from uspnet.errors import NotSupported, Usage

Context = Any  # of one command line, which Typer has no type for
OPTIONAL = {"--fail-on-loss": "0%"}  # options whose value may be left out, and what stands for it
ONCE = dict.fromkeys(("--rx-port", "--save", "--plot", "--lost", "--write"), "keep one of them") | {
    "--size": "write several sizes as one: --size 60,566,1514",
    "--profile": "write the streams of both into one file",
    "--filter": "join them: 'tcp and port 80'; of one port of several: PORT,filter=FILTER",
    "--snaplen": "of one port of several: PORT,snaplen=BYTES",
    "--buffer": "keep one of them: all ports share it",
    "--split-by": "join them: 'tcp and port 80'",
    "--second-port": "keep one of them",
    "--mirror": "copies go to one port: keep one of them",
    "--to": "keep one of them",
    "--trace": "join them: 'arp or udp port 53'",
    "--routes": "write the routes of both into one file",
    "--kernel-routes": "name all interfaces in one: --kernel-routes eth0,eth1",
    "--control": "keep one of them",
    "--set-rules": "write the rules of both into one file",
    "--set-routes": "write the routes of both into one file",
}  # options of which the last one would hide the others, and what to do instead
INTERFACE = "uspnet.interface"  # in the context's meta: what -i named
MODES = "{modes}"  # in an option's help: what each forwarding mode does
INDENTED = re.compile(r"\n\n(?= )")  # before a paragraph of a docstring, dedented
SCHEME = re.compile(r"[a-z][a-z0-9-]*:")


class Command(TyperCommand):
    """A command that also takes `-i IFNAME` for its port, and options with an optional value."""

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """Return the words of the usage line, without Typer's braces."""
        return [re.sub(r"[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def records(self, ctx: Context, kind: str) -> list[tuple[str, str]]:
        """Return names and help of all arguments or options, without the types of Python."""
        found = [
            each.get_help_record(ctx)
            for each in self.get_params(ctx)
            if each.param_type_name == kind
        ]
        known = [(_plain(each[0]), _filled(each[1])) for each in found if each]
        if kind == "option" and _port(self):
            known.insert(0, ("-i, --interface IFNAME", "The same as the port packet:IFNAME."))
        return known

    def format_help_text(self, ctx: Context, formatter: Any) -> None:
        """Write the description. Indented paragraphs keep their line breaks."""
        text = self.help
        self.help = INDENTED.sub("\n\n\b\n", text or "")
        try:
            super().format_help_text(ctx, formatter)
        finally:
            self.help = text

    def format_options(self, ctx: Context, formatter: Any) -> None:
        """Write the arguments and the options."""
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            if records := self.records(ctx, kind):
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Context, formatter: Any) -> None:
        """Write the examples."""
        if found := examples(self.name or ""):
            with formatter.section("Examples"):
                for does, line in found:
                    formatter.write(f"  {does}:\n    {line}\n")

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the command line of this command."""
        words = self._rewritten(ctx, list(args))
        if not ctx.resilient_parsing:
            self._check_once(ctx, list(words))
        return super().parse_args(ctx, words)

    def invoke(self, ctx: Context) -> Any:
        """Run the command. Raises NotSupported where it could see no process, nor itself."""
        if not os.path.exists("/proc/self/status"):
            raise NotSupported("/proc is not mounted", "run as root: mount -t proc proc /proc")
        return super().invoke(ctx)

    def _check_once(self, ctx: Context, words: list[str]) -> None:
        """Raise Usage for an option that is given twice, where only one could count."""
        _, _, given = self.make_parser(ctx).parse_args(words)
        for name in (max(each.opts, key=len) for each in given if given.count(each) > 1):
            if name in ONCE:
                raise Usage(f"{name} is given twice", ONCE[name])

    def _rewritten(self, ctx: Context, args: list[str]) -> list[str]:
        """Return the arguments as the parser knows them: `-i eth0` becomes `packet:eth0`."""
        names = {option for parameter in self.params for option in parameter.opts}
        valued = {
            option
            for parameter in self.params
            if not getattr(parameter, "is_flag", True) and not getattr(parameter, "count", True)
            for option in parameter.opts
        }
        interface = bool(_port(self)) and "-i" not in names
        done: list[str] = []
        ports = 0
        while args and args[0] != "--":
            word = args.pop(0)
            if word in OPTIONAL and word in names:
                word = f"{word}={OPTIONAL[word]}"
            if interface and (found := _interface(word, args)) is not None:
                ctx.meta[INTERFACE] = found
                word = found if SCHEME.match(found) else "packet:" + found.replace(",", "\\,")
                done.insert(ports, word)  # the words of a filter may stand before it
                ports += 1
                continue
            done.append(word)
            if word in valued and args:
                done.append(args.pop(0))
        return done + args


def _plain(name: str) -> str:
    """Return a parameter's name as users write it: `ADDR`, not `ADDR <list[str]>`."""
    return re.sub(r" <(str|int|list\[\w+\])>$", "", name).replace(" [=", "[=")


def _filled(text: str) -> str:
    """Return an option's help with what its registry knows. It is read for the help alone."""
    if MODES not in text:
        return text
    from uspnet.jobs.forward.mode import modes_help

    return text.replace(MODES, modes_help())


def _port(command: Any) -> Any:
    """Return the command's argument if that is a single port to send to or receive from."""
    if command.name not in {"capture", "pktgen", "reflect"}:
        return None
    return next((each for each in command.params if each.name == "port"), None)


def _interface(word: str, rest: list[str]) -> str | None:
    """Return the value of `-i` if the word is that option; take it from the rest if need be."""
    if word in {"-i", "--interface"}:
        return rest.pop(0) if rest else None
    if word.startswith("--interface="):
        return word.partition("=")[2]
    return word[2:] if word.startswith("-i") and len(word) > 2 else None


class App(typer.Typer):
    """An application whose commands are of our kind."""

    def command(self, name: str | None = None, **how: Any) -> Callable[[Any], Any]:
        """Register a function as a command."""
        return super().command(name, cls=Command, **how)
