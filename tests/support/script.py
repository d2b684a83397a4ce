# SPDX-License-Identifier: Apache-2.0
"""Several wires, on which frames come in an order that the test says."""

from __future__ import annotations

from tests.support.wire import Wire


class Script:
    """Frames of several ports, in order: pairs of a port's number and a frame. What is no pair is
    called when all before it has been received.
    """

    def __init__(self, ports, steps):
        self.steps = list(reversed(steps))
        self.ports = [Scripted(self, number) for number in range(ports)]


class Scripted(Wire):
    """One of its wires."""

    def __init__(self, script, number):
        super().__init__()
        self.script, self.number = script, number

    def receive(self, q, packets, n):
        steps, self.given = self.script.steps, []
        while steps and callable(steps[-1]):
            steps.pop()()
        while len(self.given) < n and steps and not callable(steps[-1]):
            if steps[-1][0] != self.number:
                break
            self.given.append(steps.pop()[1])
        n = super().receive(q, packets, n)
        q.ended = not steps
        return n
