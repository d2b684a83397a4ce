# SPDX-License-Identifier: Apache-2.0
"""The options of rates and their shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.errors import Usage
from uspnet.packets.shape import BURST_MAX, LINK_BPS, Ramp, Shape, read_ramp

if TYPE_CHECKING:
    from uspnet.packets.frames import MeanSize

Rate = Annotated[
    units.Rate | None,
    typer.Option(
        "--rate",
        metavar="RATE",
        parser=units.rate,
        help="Packets a second (100k, 1.5Mpps), bits a second of frames without FCS (800Mbit/s, "
        "10Gbps), or with FCS, preamble and gap (10Gbps:l1), a share of the link (25%), or max "
        "(default). From 100M on, a unit is needed.",
    ),
]
Link = Annotated[
    float | None,
    typer.Option(
        "--link",
        metavar="RATE",
        parser=units.bit_rate,
        help="Link speed that a rate in percent refers to; without this, the port's own, or 10G "
        "where the port knows none.",
    ),
]
RampOption = Annotated[
    Ramp | None,
    typer.Option(
        "--ramp",
        metavar="FIRST:LAST:STEP/TIME",
        parser=read_ramp,
        help="Go from one rate to another in steps, and stay for TIME at each: 1M:10M:1M/5s, or "
        "10%:100%:10%/1m. Ends after the last step, or with --duration.",
    ),
]
BurstSize = Annotated[
    int | None,
    typer.Option(
        "--burst-size",
        metavar="N",
        parser=units.whole(1, BURST_MAX),
        help="Send bursts of N packets, back to back, with gaps that make the mean the rate.",
    ),
]
BurstGap = Annotated[
    float | None,
    typer.Option(
        "--burst-gap",
        metavar="TIME",
        parser=units.time_between(1e-9, 1e6),
        help="Time from the start of one burst to that of the next, instead of --rate: 1ms, 20us.",
    ),
]
Poisson = Annotated[
    bool,
    typer.Option(
        "--poisson",
        help="Exponential gaps between packets, or bursts, drawn by --seed: a Poisson process "
        "whose mean is --rate.",
    ),
]


@dataclass(frozen=True)
class Rates:
    """These options, as they were given. Raises Usage for what does not go together."""

    rate: units.Rate | None
    link: float | None
    ramp: Ramp | None
    burst_size: int | None
    burst_gap: float | None
    poisson: bool

    def __post_init__(self) -> None:
        """Raise Usage."""
        given = {
            "--rate": self.rate is not None,
            "--ramp": self.ramp is not None,
            "--burst-gap": self.burst_gap is not None,
        }
        both = [name for name, is_given in given.items() if is_given]
        if len(both) > 1:
            raise Usage(f"{both[1]} conflicts with {both[0]}", "drop one of them")
        if self.burst_gap is not None and self.burst_size is None:
            raise Usage("--burst-gap needs the size of bursts", "add --burst-size 32")
        if self.poisson and self.ramp is not None:
            raise Usage("--poisson conflicts with --ramp", "drop --ramp, and give one --rate")
        for name, is_given in (("--burst-size", self.burst_size), ("--poisson", self.poisson)):
            if is_given and not self._written() and self.burst_gap is None:
                raise Usage(f"{name} needs a rate", "add --rate 100k")
        if self.link is not None and not any(each.unit == "%" for each in self._written()):
            hint = "write a percentage, such as --rate 25%, or drop --link"
            raise Usage("--link needs --rate in percent", hint)

    def _written(self) -> tuple[units.Rate, ...]:
        """Return the rates that limit something."""
        if self.ramp is not None:
            return self.ramp.rates
        return () if self.rate is None or self.rate.unit == "max" else (self.rate,)

    def shape(self, size: MeanSize, seed: int) -> Shape | None:
        """Return the shape for frames of this size; None: as fast as possible. Raise Usage."""
        from uspnet.packets.frames import RATE_MAX, RATE_MIN, packets_a_second

        written, name = self._written(), "--rate" if self.ramp is None else "--ramp"
        link = self.link or LINK_BPS
        rates = [packets_a_second(each, size, link, name) for each in written]
        if self.burst_gap is not None:
            pps = (self.burst_size or 1) / self.burst_gap
            if not RATE_MIN <= pps <= RATE_MAX:
                limit, way = f"more than {RATE_MAX:g}", ("longer", "smaller")
                if pps < RATE_MIN:
                    limit, way = f"less than {RATE_MIN:g}", ("shorter", "larger")
                text = f"--burst-gap makes {pps:g} packets a second, {limit}"
                raise Usage(text, "make --burst-gap {}, or --burst-size {}".format(*way))
            rates = [pps]
        if not rates:
            return None
        return Shape(
            tuple(rates),
            self.ramp.seconds if self.ramp else 0.0,
            self.burst_size or 1,
            self.poisson,
            seed,
            percent=written[:1] != () and written[0].unit == "%" and self.link is None,
        )

    def duration(self, given: float | None) -> float | None:
        """Return how long the run is to take, in seconds: a ramp has an end of its own."""
        return self.ramp.duration() if self.ramp and given is None else given
