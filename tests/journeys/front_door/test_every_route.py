"""Every route of a running gateway, asked as everybody; the long form is a command."""

from __future__ import annotations

from rigs.routes.sweep import gateway, sweep


def test_every_route_lets_in_whom_the_table_names_and_nobody_else(capsys):
    with gateway() as running:
        count = sweep(running, quick=True)
    with capsys.disabled():
        print("\n" + "\n".join(count.lines()))
    assert count.faults == []
    # As a guard against a sweep that asks nothing.
    assert count.routes > 100
    assert count.asked["let in"] > 1000
    assert count.asked["refused"] > 5000
