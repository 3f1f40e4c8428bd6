"""Attempts that end midway: whoever has the message does not get it again because others could not be given it."""

from __future__ import annotations

from typing import Any

import pytest
from smtp_network import Network, Post, server
from twisted.internet.defer import CancelledError, Deferred

from mailsrv.values import Hop, Outcome

TO = [f"u{number}@example.org" for number in range(5)]
OTHER = Hop("backup.example.org", ("192.0.2.26",))
FIRST = Hop("mx.example.org", ("192.0.2.25",))


def silent_from(number: int, stage: bytes) -> Any:
    """A server that says nothing any more at this stage of that connection (from 1)."""
    greeted = 0
    good = server()

    def answer(line: bytes) -> bytes | None:
        nonlocal greeted
        greeted += not line
        return b"" if greeted >= number and line.upper().startswith(stage) else good(line)

    return answer


def cut_off(network: Network, post: Post, **more: Any) -> Any:
    """What comes of sending to TO when it is cancelled where it stands still."""
    result: list[Any] = []
    task = Deferred.fromCoroutine(post.sending(TO, **more))
    task.addBoth(result.append)
    network.settle()
    assert not result
    task.cancel()
    network.settle()
    return result[0]


def told(outcomes: list[Outcome]) -> list[str]:
    return [outcome.action for outcome in outcomes]


@pytest.mark.parametrize("stage", [b"", b"MAIL", b"RCPT", b"DATA", b"."])
def test_lots_that_were_finished_stay_finished(stage: bytes) -> None:
    network = Network()
    network.script = silent_from(2, stage or b"EHLO")
    outcomes = cut_off(network, Post(network, recipients=2))
    assert told(outcomes) == ["delivered", "delivered", "delayed", "delayed", "delayed"]
    assert [str(one.recipient.address) for one in outcomes] == TO and outcomes[4].reply == "The attempt was cut off"
    assert all(wire.closed for wire in network.made[1:])


def test_recipients_that_the_first_server_took_stay_taken() -> None:
    network = Network()
    network.scripts["192.0.2.25"] = server(rcpt=b"250 ok\r\n")
    good = network.scripts["192.0.2.25"]
    network.scripts["192.0.2.25"] = lambda line: b"450 4.2.0 not now\r\n" if b"<u0" in line else good(line)
    network.scripts["192.0.2.26"] = silent_from(1, b"MAIL")
    outcomes = cut_off(network, Post(network), hops=(FIRST, OTHER))
    assert told(outcomes) == ["delayed", "delivered", "delivered", "delivered", "delivered"]
    assert outcomes[0].reply.startswith("450")


def test_what_has_brought_nothing_is_cut_off_as_a_whole() -> None:
    network = Network()
    network.script = silent_from(1, b"MAIL")
    result = cut_off(network, Post(network, recipients=2))
    assert isinstance(result.value, CancelledError)


def test_a_mistake_in_the_second_lot_leaves_the_first_finished() -> None:
    network = Network()
    post = Post(network, recipients=2)
    whole, calls = post.agent._lot, 0

    async def broken(lot: Any, fresh: bool) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyError("a mistake")
        await whole(lot, fresh)

    post.agent._lot = broken  # type: ignore[method-assign]
    assert told(post.send(TO)) == ["delivered", "delivered", "delayed", "delayed", "delayed"] and calls == 2
    calls = 1
    with pytest.raises(KeyError):
        post.send(TO)
