# SPDX-License-Identifier: Apache-2.0
"""tap: an interface that is renamed, or moved to another network namespace, goes on."""

from __future__ import annotations


def test_an_interface_may_get_another_name_and_go_to_another_namespace(
    namespace, namespaces, frames, read_frames
):
    other = namespaces()
    namespace.veth("a", "b")
    fwd = namespace.start("fwd", "packet:b", "tap:t0")
    wire, sent = namespace.socket("a"), frames([60, 61, 1514] * 10)

    def passes(there):
        kernel = there.socket("t1")
        for source, sink in ((wire, kernel), (kernel, wire)):
            for frame in sent:
                source.send(frame)
            assert read_frames(sink, len(sent)) == sent

    namespace.ip("link", "set", "dev", "t0", "name", "t1")
    passes(namespace)
    for source, sink in ((namespace, other), (other, namespace)):
        source.ip("link", "set", "dev", "t1", "netns", sink.name)
        fwd.hears("went to another" if sink is other else "t1 is down")
        sink.ip("link", "set", "dev", "t1", "up")
        if sink is namespace:
            fwd.hears("t1 is up")
        passes(sink)
    result = fwd.end()
    assert (result["forwarded"], result["dropped"]) == (6 * len(sent), 0)
    assert "t1" not in namespace.links()
