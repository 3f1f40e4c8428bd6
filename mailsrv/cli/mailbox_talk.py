"""A conversation with the server, or with the store of a site that does not run (floor 7).

A conversation is a generator: it yields calls, is resumed with their results and returns its own; "no" is raised in it
as Refused.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from ..errors import InUse, Refused
from ..host.config.options import SiteOptions
from ..host.control.client import Client, NotReachable
from .common import Call, connect, turn_reactor
from .remote import RemoteSite

Conversation = Generator[Call, Any, Any]


def converse(options: SiteOptions, make: Callable[[], Conversation]) -> Any:
    """What the conversation returns.  Raises what it raises, NotReachable."""
    try:
        client = connect(options)
    except NotReachable as error:
        if isinstance(options, RemoteSite):
            raise
        reason = error
    else:
        with client:
            return _by_wire(client, make())
    try:
        return _alone(options, make)
    except InUse as error:
        raise NotReachable(f"a server has the data folder, but: {reason.text}") from error


def _by_wire(client: Client, talk: Conversation) -> Any:
    """With the running server."""
    try:
        call = next(talk)
        while True:
            call = _next(talk, client.call(*call))
    except StopIteration as end:
        return end.value
    finally:
        talk.close()


def _next(talk: Conversation, answer: dict[str, Any]) -> Call:
    """Give the conversation an answer; its next call.  Raises StopIteration."""
    if "error" in answer:
        return talk.throw(Refused(answer["error"], answer.get("status", "5.0.0")))
    return talk.send(answer.get("result"))


def _alone(options: SiteOptions, make: Callable[[], Conversation]) -> Any:
    """With the store, opened here.  Turns the reactor, so once in a process."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    from ..host.control.run import run
    from ..host.site import Site

    async def work() -> Any:
        """The whole conversation on one open site."""
        site = Site(options, reactor, options.base)
        try:
            await site.open()
            return await talk_with(make(), lambda name, arguments: run(site, name, arguments))
        finally:
            await site.close()

    return turn_reactor(reactor, lambda: Deferred.fromCoroutine(work()))


async def talk_with(talk: Conversation, ask: Callable[..., Any]) -> Any:
    """The conversation with whatever `ask(name, arguments)` awaits an answer from."""
    try:
        call = next(talk)
    except StopIteration as end:
        return end.value
    try:
        while True:
            answer = await ask(*call)
            try:
                call = _next(talk, answer)
            except StopIteration as end:
                return end.value
    finally:
        talk.close()
