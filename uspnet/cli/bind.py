# SPDX-License-Identifier: Apache-2.0
"""`uspnet bind`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.cli import app
from uspnet.cli import options as o

if TYPE_CHECKING:
    from uspnet.binding.bind import BindRequest, Plan

Addresses = Annotated[
    list[str], typer.Argument(metavar="ADDR", help="A NIC: 0000:03:00.0, 03:00.0 or its interface.")
]
Allow = Annotated[
    str | None,
    typer.Option(
        "--allow", metavar="REASONS", help="Override these checks, by name: route,upper,…"
    ),
]
Confirm = Annotated[
    float | None,
    typer.Option(
        "--confirm", metavar="TIME", parser=units.time_between(1, 86400),
        help="Unbind automatically after this time, unless confirmed with --keep.",
    ),
]  # fmt: skip


@app.command()
def bind(
    addresses: Addresses,
    allow: Allow = None,
    driver: Annotated[
        str | None, typer.Option(metavar="NAME", help="vfio-pci (default) or uio_pci_generic.")
    ] = None,
    confirm: Confirm = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the NICs: cancel the timer of --confirm.")
    ] = False,
    persist: Annotated[
        bool, typer.Option("--persist", help="Bind at every boot, with driverctl.")
    ] = False,
    owner: Annotated[
        str | None,
        typer.Option(metavar="USER", help="Allow this user to use the NIC without root."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Take NICs from the kernel, if nothing uses them: all that are given, or none.

    While something uses a NIC, bind refuses with exit code 3 and lists every reason. Each reason
    has a name, and --allow overrides those that it names.
    """
    from uspnet.binding import answer as a
    from uspnet.binding import bind as b
    from uspnet.binding import unbind as u
    from uspnet.binding.machine import this_machine
    from uspnet.cli.unbind import show_outcomes
    from uspnet.cli.views.console import print_json, show_prose

    machine = this_machine()
    names = frozenset(name.strip() for name in (allow or "").split(",") if name.strip())
    request = b.BindRequest(names, driver, persist, owner, confirm)
    if keep:
        refuse_beside_keep(
            {"--allow": allow, "--driver": driver, "--confirm": confirm, "--persist": persist,
             "--owner": owner, "--dry-run": dry_run}
        )  # fmt: skip
        show_outcomes("bind", u.keep(machine, addresses), json, quiet)
        return
    try:
        plans = (
            b.plan(machine, addresses, request) if dry_run else b.bind(machine, addresses, request)
        )
        if dry_run and not json:
            show_prose(format_plan(plans))
        if dry_run:
            b.refuse(plans, names)
    except b.InUse as error:
        if not json:
            raise
        seen = a.rows(error.plans, names)
        print_json(a.BindRefused(command="bind", devices=seen, **error.as_dict()).as_json())
        raise typer.Exit(error.exit_code) from None
    if json:
        seen = a.rows(plans, names)
        print_json(a.BindAnswer(command="bind", dry_run=dry_run, devices=seen).as_json())
    elif not quiet and not dry_run:
        show_prose(format_bound(plans, request))


def refuse_beside_keep(options: dict[str, object]) -> None:
    """Raise Usage if one of these options is given, because --keep would ignore it."""
    from uspnet.errors import Usage

    for name, value in options.items():
        if value not in (None, False):
            raise Usage(f"--keep goes with no other option, and not with {name}", "leave out one")


def format_plan(plans: list[Plan]) -> list[str]:
    """Return what would be done, for --dry-run."""
    lines = []
    for plan in plans:
        lines.append(f"{plan.address} ({plan.function.driver or 'no driver'} → {plan.driver})")
        lines += [f"  {'blocks' if r.blocks else 'note'} [{r.name}] {r}" for r in plan.reasons]
        lines += [f"  step {number}: {text}" for number, text in enumerate(plan.steps(), 1)]
    return lines


def format_bound(plans: list[Plan], request: BindRequest) -> list[str]:
    """Return what was done, and what to type next."""
    from uspnet.binding import persist
    from uspnet.pci.sysfs import HOST

    lines = []
    for plan in plans:
        was = plan.function.driver or "no driver"
        done = (
            f"already bound to {plan.driver}"
            if plan.already
            else f"bound to {plan.driver} (was {was})"
        )
        lines.append(f"{plan.address}: {done}")
        lines += [f"  note: {reason}" for reason in plan.reasons if not reason.blocks]
    names = " ".join(plan.address for plan in plans)
    if request.confirm_s is not None:
        lines.append(f"unbound in {request.confirm_s:.0f} s; to keep: uspnet bind --keep {names}")
    if request.persist and not persist.is_installed(HOST):
        lines.append(
            "driverctl is not installed, so a reboot undoes this: apt-get install driverctl"
        )
    if request.owner is not None:
        lines.append(f"packet memory counts against {request.owner}'s ulimit -l (memlock)")
    if request.driver == "uio_pci_generic":
        lines.append("danger: without an IOMMU the NIC can write to all memory")
    return lines
