"""Questions over real sockets: a server of our own on the loopback, in a child process with a reactor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

SCRIPT = """
import json, os
from twisted.internet import protocol, reactor
from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.protocols.basic import Int16StringReceiver
from mailsrv.errors import TryLater
from mailsrv.net.dns_exchange import NetworkExchange
from mailsrv.net.resolver import Resolver, ResolverLimits
from mailsrv.testing.dns import answer

found = {"questions": []}

def reply(octets, tcp):
    message = dns.Message()
    message.fromStr(octets)
    name = message.queries[0].name.name.decode()
    found["questions"].append([name, tcp])
    if name == "big.example" and not tcp:
        return answer(message, truncated=True)
    if name == "silent.example":
        return None
    return answer(message, (name, dns.Record_A("192.0.2.2" if tcp else "192.0.2.1"), 60))

class Udp(protocol.DatagramProtocol):
    def datagramReceived(self, octets, where):
        said = reply(octets, False)
        if said:
            # Somebody else guesses number and port: the socket takes it from the server alone.
            message = dns.Message()
            message.fromStr(octets)
            forger.transport.write(answer(message, ("udp.example", dns.Record_A("192.0.2.66"), 60)), where)
            self.transport.write(b"no DNS", where)
            self.transport.write(said, where)

class Tcp(Int16StringReceiver):
    def stringReceived(self, octets):
        self.sendString(reply(octets, True))

class Factory(protocol.ServerFactory):
    protocol = Tcp

async def main():
    port = reactor.listenTCP(0, Factory(), interface="127.0.0.1").getHost().port
    reactor.listenUDP(port, Udp(), interface="127.0.0.1")
    good, closed = ("127.0.0.1", port), ("127.0.0.1", 9)
    # Who answers has all the time that a busy machine needs, and only who never does is left soon.
    patient, soon = ResolverLimits(attempts=(20.0,), deadline=40.0), ResolverLimits(attempts=(0.2,), deadline=3.0)
    def resolver(*servers, limits=patient):
        return Resolver(NetworkExchange(reactor), lambda: servers, reactor, reactor.seconds, limits)
    found["udp"] = await resolver(good).lookup("udp.example", "A")
    found["tcp"] = await resolver(good).lookup("big.example", "A")
    before = reactor.seconds()
    found["second"] = await resolver(closed, good).lookup("udp.example", "A")
    # A port that is closed says so at once.
    found["at once"] = reactor.seconds() - before < 10
    try:
        await resolver(good, limits=soon).lookup("silent.example", "A")
    except TryLater as error:
        found["silent"] = error.status
    await wait(0.05)
    found["readers"] = sorted(type(r).__name__ for r in reactor.getReaders())

async def wait(seconds):
    done = Deferred()
    reactor.callLater(seconds, done.callback, None)
    await done

def end(result):
    if result is not None:
        found["failed"] = result.getTraceback()
    print(json.dumps(found))
    reactor.stop()

forger = protocol.DatagramProtocol()
reactor.listenUDP(0, forger, interface="127.0.0.1")
reactor.callLater(50, os._exit, 3)
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()).addBoth(end))
reactor.run()
"""


@pytest.mark.parametrize("reactor", ["", "from twisted.internet import asyncioreactor; asyncioreactor.install()"])
def test_udp_tcp_a_closed_port_and_silence(reactor: str) -> None:
    """Reactors differ in how they tell that nobody listens."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    ended = subprocess.run(
        [sys.executable, "-c", reactor + SCRIPT], capture_output=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr.decode()
    found = json.loads(ended.stdout)
    assert "failed" not in found, found["failed"]
    assert b"Unhandled" not in ended.stderr, ended.stderr.decode()
    assert (found["udp"], found["tcp"], found["second"]) == (["192.0.2.1"], ["192.0.2.2"], ["192.0.2.1"])
    assert found["at once"] and found["silent"] == "4.4.3"
    assert found["questions"] == [
        ["udp.example", False], ["big.example", False], ["big.example", True], ["udp.example", False],
        ["silent.example", False],
    ]
    # Nothing is left open but the listeners of the test.
    assert found["readers"].count("Port") == 3 and not {"_Datagram", "Client"} & set(found["readers"])
