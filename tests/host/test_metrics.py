"""Counters and gauges for Prometheus: what is counted, the format, the page (S-068, X-10)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, field
from prometheus_text import Samples, of_server, read
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import Site as WebSite
from zope.interface import implementer

from mailsrv.errors import ConfigError
from mailsrv.host.config.load import loads
from mailsrv.host.metrics import page as page_module
from mailsrv.host.metrics.figures import COUNTERS, STORE, collect
from mailsrv.host.metrics.lag import PERIOD, LagProbe
from mailsrv.host.metrics.page import Metrics, MetricsPage, read_token
from mailsrv.host.metrics.service import MetricsService
from mailsrv.host.metrics.text import Family, Histogram, Page
from mailsrv.interfaces_figures import IFigures
from mailsrv.testing.bed import Bed
from mailsrv.testing.loop import Loop


@implementer(IFigures)
class Store:
    """Counts."""

    def figures(self) -> dict[str, float]:
        return {"commits": 7, "operations": 9, "refused": 1, "queue": 4, "unheard of": 1}


@define
class Site:
    """What the page looks at; the servers are those of a bed."""

    bed: Bed = field(factory=Bed)
    delivery: Any = None
    access: Any = field(factory=SimpleNamespace)
    store: Any = field(factory=Store)

    @property
    def servers(self) -> dict[str, Any]:
        return {server.name: server for server in self.bed.servers.values()}

    def monotonic(self) -> float:
        return self.bed.clock.seconds()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here takes long")

    def probe(self) -> LagProbe:
        return LagProbe(self.bed.clock.callLater, self.monotonic, self.monotonic)

    def page(self, probe: LagProbe | None = None) -> Samples:
        return read(Loop().run(collect(self, probe or self.probe())))


def test_s068_the_session_count_is_a_gauge_of_each_server() -> None:
    site = Site()
    clients = [site.bed.connect("imap") for _ in range(3)]
    site.bed.connect("pop3")
    clients[0].send(b"a LOGIN me secret\r\n")
    clients[2].drop()
    site.bed.settle()
    samples = site.page()
    imap, pop3 = of_server(samples, "imap/default"), of_server(samples, "pop3/default")
    assert (imap["mailsrv_sessions"], imap["mailsrv_sessions_logged_in"], pop3["mailsrv_sessions"]) == (2, 1, 1)
    assert (imap["mailsrv_connections_total"], imap["mailsrv_logins_total"], pop3["mailsrv_logins_total"]) == (3, 1, 0)


def test_x10_those_who_are_turned_away_at_the_limit_are_counted() -> None:
    site = Site()
    site.bed.limit(connections=1)
    for _ in range(3):
        site.bed.connect("pop3")
    found = of_server(site.page(), "pop3/default")
    assert (found["mailsrv_connections_turned_away_total"], found["mailsrv_sessions"]) == (2, 1)


def test_octets_of_those_who_are_there_and_of_those_who_have_left() -> None:
    site = Site()
    clients = [site.bed.connect("smtp") for _ in range(2)]
    for client in clients:
        client.send(b"EHLO c.example\r\n")
    site.bed.settle()
    said = sum(len(client.take()) for client in clients)
    before = of_server(site.page(), "smtp/default")
    clients[0].drop()
    after = of_server(site.page(), "smtp/default")
    assert before["mailsrv_received_bytes_total"] == after["mailsrv_received_bytes_total"] == 32
    assert before["mailsrv_sent_bytes_total"] == after["mailsrv_sent_bytes_total"] == said


def test_what_an_smtp_server_did_is_counted() -> None:
    site = Site()
    client = site.bed.connect("smtp")
    client.send(b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<me@example.org>\r\nRCPT TO:<no@example.org>\r\n?\r\n")
    site.bed.settle()
    client.send(b"DATA\r\nSubject: x\r\n\r\nhello\r\n.\r\nAUTH PLAIN AG1lAHdyb25n\r\n")
    site.bed.settle()
    found = of_server(site.page(), "smtp/default")
    assert found["mailsrv_smtp_messages_received_total"] == 1
    assert found["mailsrv_smtp_message_bytes_total"] == 21
    assert found["mailsrv_smtp_recipients_refused_total"] == 1
    assert found["mailsrv_commands_refused_total"] >= 2
    assert found["mailsrv_logins_failed_total"] == 1


def test_what_imap_and_pop3_servers_did_is_counted() -> None:
    site = Site()
    imap, pop3 = site.bed.connect("imap"), site.bed.connect("pop3")
    imap.send(b"a LOGIN me secret\r\nb APPEND INBOX {12+}\r\nA: b\r\n\r\nhey!\r\nc NONSENSE\r\nd FETCH 1 FLAGS\r\n")
    site.bed.settle()
    pop3.send(b"USER me\r\nPASS secret\r\nRETR 1\r\nRETR 9\r\nNONSENSE\r\n")
    site.bed.settle()
    samples = site.page()
    imap_found, pop3_found = of_server(samples, "imap/default"), of_server(samples, "pop3/default")
    assert imap_found["mailsrv_imap_messages_appended_total"] == 1
    assert imap_found["mailsrv_commands_refused_total"] == 2
    assert pop3_found["mailsrv_pop3_messages_retrieved_total"] == 1
    assert pop3_found["mailsrv_commands_refused_total"] == 1


def test_every_family_of_a_protocol_is_there_from_the_start() -> None:
    site = Site()
    for protocol in ("smtp", "imap", "pop3"):
        site.bed.server(protocol)
    samples = site.page()
    for protocols, family, labels in COUNTERS.values():
        for protocol in ("smtp", "imap", "pop3"):
            key = "/".join([family.name, *labels.values()])
            assert (key in of_server(samples, f"{protocol}/default")) == (protocol in protocols)
    assert of_server(samples, "smtp/default")["mailsrv_server_running"] == 1
    site.bed.server("smtp").stop()
    assert of_server(site.page(), "smtp/default")["mailsrv_server_running"] == 0


def test_every_counter_of_the_sources_is_shown() -> None:
    """What is counted somewhere and not in the table would be counted for nobody."""
    import re

    source = Path(page_module.__file__).parents[2]
    text = "".join(path.read_text() for path in source.rglob("*.py"))
    counted = set(re.findall(r"\bcount\(\n?\s*\"([a-z ]+)\"", text)) | set(re.findall(r'_count\("([a-z ]+)"', text))
    assert counted <= set(COUNTERS), counted - set(COUNTERS)


def test_what_is_sent_on_is_told_by_server_and_outcome() -> None:
    counted = {("smtp/out", "relayed"): 5, ("smtp/out", "reported"): 2, ("smtp/gone", "failed"): 1}
    runner = SimpleNamespace(
        attempts=SimpleNamespace(by_server=counted), shares=SimpleNamespace(workers=3)
    )
    site = Site(delivery=SimpleNamespace(runner=runner, lanes={"smtp/out": None}))
    samples = site.page()
    out, gone = of_server(samples, "smtp/out"), of_server(samples, "smtp/gone")
    assert out["mailsrv_delivery_recipients_total/relayed"] == 5
    assert out["mailsrv_delivery_recipients_total/delayed"] == 0
    assert out["mailsrv_delivery_reports_total"] == 2
    assert gone["mailsrv_delivery_recipients_total/failed"] == 1
    assert samples["mailsrv_delivery_attempts", ()] == 3


def test_the_store_and_the_name_system_tell_what_they_did() -> None:
    site = Site()
    site.access.resolver = SimpleNamespace(counters={"asked": 3, "turned away": 0})
    samples = site.page()
    assert samples["mailsrv_store_commits_total", ()] == 7 and samples["mailsrv_queue_rows", ()] == 4
    assert samples["mailsrv_dns_lookups_total", (("how", "asked"),)] == 3
    assert set(STORE) == {"commits", "operations", "refused", "queue"}
    site.store = object()
    assert ("mailsrv_store_commits_total", ()) not in site.page()


def test_nothing_on_the_page_tells_who_was_there() -> None:
    site = Site()
    client = site.bed.connect("smtp", host="192.0.2.77")
    client.send(b"EHLO c.example\r\nAUTH PLAIN AG1lAHNlY3JldA==\r\nMAIL FROM:<someone@b.example>\r\n")
    site.bed.settle()
    page = Loop().run(collect(site, site.probe()))
    for word in (b"192.0.2.77", b"me@", b"someone", b"c.example", b"example.org"):
        assert word not in page


# ---------------------------------------------------------------- the format


def test_prometheus_text_escapes_labels_and_help() -> None:
    made = Page()
    made.add(Family("a", "gauge", "Two\nlines with a \\"), 1.5, label='quoted "x" \\ \n end')
    made.add(Family("b_total", "counter", "A counter"), 3)
    made.add(Family("a", "gauge", "Two\nlines with a \\"), 2.0)
    assert made.render() == (
        b'# HELP a Two\\nlines with a \\\\\n# TYPE a gauge\na{label="quoted \\"x\\" \\\\ \\n end"} 1.5\na 2\n'
        b"# HELP b_total A counter\n# TYPE b_total counter\nb_total 3\n"
    )
    assert len(read(made.render())) == 3


def test_prometheus_text_of_a_histogram_adds_up() -> None:
    values, made = Histogram.of(0.1, 1.0), Page()
    for value in (0.05, 0.1, 0.5, 7.0):
        values.add(value)
    made.histogram(Family("x_seconds", "histogram", "Some seconds"), values)
    samples = read(made.render())
    assert [value for (name, _), value in samples.items() if name == "x_seconds_bucket"] == [2, 3, 4]
    assert samples["x_seconds_sum", ()] == pytest.approx(7.65)


@pytest.mark.parametrize("page", [
    b"", b"a 1\n", b"# HELP a x\n# TYPE a gauge\na 1", b"# HELP a X\n# TYPE a gauge\na one\n",
    b"# HELP a X\n# TYPE a gauge\na 1\na 2\n", b"# HELP a X\n# TYPE a counter\na 1\n",
    b"# HELP a X\n# TYPE a gauge\nb 1\n", b"# HELP a X\n# TYPE a gauge\n\na 1\n",
    b'# HELP a X\n# TYPE a gauge\na{b="x",b="y"} 1\n',
])
def test_the_reader_of_these_tests_is_strict(page: bytes) -> None:
    with pytest.raises((AssertionError, KeyError)):
        read(page)


# ---------------------------------------------------------------- lag


class Late(Clock):
    """A reactor that is late when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.wall = 1000.0

    def pass_by(self, seconds: float, wall: float | None = None) -> None:
        """Time goes by, of which the reactor hears at the end."""
        self.rightNow += seconds
        self.wall += seconds if wall is None else wall
        self.advance(0)


def test_the_lag_of_the_reactor_is_how_late_a_timer_comes() -> None:
    clock = Late()
    probe = LagProbe(clock.callLater, clock.seconds, lambda: clock.wall)
    probe.start()
    for seconds in (PERIOD, PERIOD + 0.03, PERIOD + 0.004):
        clock.pass_by(seconds)
    assert probe.lags.counts[0] == 1 and sum(probe.lags.counts) == 3
    assert probe.worst == pytest.approx(0.03)
    samples = Site().page(probe)
    assert samples["mailsrv_reactor_lag_seconds_bucket", (("le", "0.02"),)] == 2
    assert samples["mailsrv_reactor_lag_worst_seconds", ()] == pytest.approx(0.03)
    probe.stop()
    assert clock.getDelayedCalls() == []


def test_a_clock_that_was_set_is_no_lag() -> None:
    clock = Late()
    probe = LagProbe(clock.callLater, clock.seconds, lambda: clock.wall)
    probe.start()
    clock.pass_by(PERIOD + 5, wall=PERIOD)  # The clock was set back by five seconds, and the timer with it.
    assert sum(probe.lags.counts) == 0
    clock.pass_by(PERIOD)
    assert sum(probe.lags.counts) == 1 and probe.worst == 0


def test_the_worst_lag_is_of_the_last_minute() -> None:
    clock = Late()
    probe = LagProbe(clock.callLater, clock.seconds, lambda: clock.wall)
    probe.start()
    clock.pass_by(PERIOD + 2)
    for _ in range(59):
        clock.pass_by(PERIOD)
    assert probe.worst == pytest.approx(2)
    clock.pass_by(PERIOD)
    assert probe.worst < 0.001


# ---------------------------------------------------------------- the page


def answer(request: bytes, token: bytes = b"", made: bytes = b"# the page\n") -> bytes:
    """What is answered to one request."""

    async def collected() -> bytes:
        return made

    resource = MetricsPage(collected, lambda: token)
    channel = WebSite(resource, requestFactory=page_module._Request).buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(request)
    return transport.value()


def test_the_page_is_at_metrics_and_nowhere_else() -> None:
    page = answer(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = page.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and body == b"# the page\n"
    assert b"content-type: text/plain; version=0.0.4; charset=utf-8" in head.lower()
    assert answer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert answer(b"GET /metrics/x HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    head = answer(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and head.endswith(b"\r\n\r\n")


def test_nothing_can_be_sent_to_the_page() -> None:
    posted = answer(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
    assert posted.startswith(b"HTTP/1.1 405 ") and b"allow: get, head" in posted.lower()
    # A body that never ends is not kept, and not answered.
    assert answer(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n" + b"x" * 100_000) == b""


@pytest.mark.parametrize(("header", "code"), [
    (b"", 401), (b"Authorization: Bearer wrong\r\n", 401), (b"Authorization: Basic s3cret\r\n", 401),
    (b"Authorization: Bearer s3cret\r\n", 200), (b"authorization: bearer  s3cret\r\n", 200),
    (b"Authorization: Bearer s3cret2\r\n", 401), (b"Authorization: s3cret\r\n", 401),
])
def test_with_a_token_only_who_has_it_is_shown_the_page(header: bytes, code: int) -> None:
    page = answer(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n", b"s3cret")
    assert page.startswith(b"HTTP/1.1 %d " % code)
    assert (b"# the page" in page) == (code == 200) and b"s3cret" not in page


def test_a_client_that_left_before_the_page_was_made_is_no_trouble() -> None:
    held: Deferred[bytes] = Deferred()

    async def collected() -> bytes:
        return await held

    channel = WebSite(MetricsPage(collected, bytes), requestFactory=page_module._Request).buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    channel.connectionLost(Failure(ConnectionDone()))
    held.callback(b"page")
    assert transport.value() == b""


def test_the_token_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    assert read_token(None) == b""
    path = tmp_path / "token"
    path.write_text(" s3cret \nrest\n")
    assert read_token(path) == b"s3cret"
    for octets in (b"", b"\nx", b"x" * 2000):
        path.write_bytes(octets)
        with pytest.raises(ConfigError):
            read_token(path)
    with pytest.raises(ConfigError):
        read_token(tmp_path / "none")


# ---------------------------------------------------------------- options


def test_the_options_say_where_and_for_whom() -> None:
    site = "[site]\ndomains = ['x.org']\n[metrics]\n"
    table = loads(site + 'listen = ["127.0.0.1:9155", "unix:metrics.sock"]\ntoken_file = "token"').metrics
    assert [str(one) for one in table.listen] == ["127.0.0.1:9155", "unix:metrics.sock"]
    assert loads("").metrics.listen == () and loads("").metrics.token_file == ""
    with pytest.raises(ConfigError, match="for TLS put a proxy before it"):
        loads(site + 'listen = ["127.0.0.1:9155/tls"]')


def test_counters_for_everybody_are_warned_of() -> None:
    def warned(text: str) -> list[str]:
        found = loads(f"[site]\ndomains = ['x.org']\n[metrics]\n{text}").warnings
        return [one.text for one in found if one.key == "metrics.listen"]

    assert warned('listen = ["*:9155"]') == [
        "the counters are shown to everybody who can connect: set metrics.token_file"
    ]
    assert warned('listen = ["192.0.2.1:9155"]\ntoken_file = "token"') == []
    assert warned('listen = ["127.0.0.1:9155", "[::1]:9155", "unix:x"]') == []


def test_a_page_that_cannot_be_had_keeps_the_site_going(tmp_path: Path) -> None:
    options = loads('[metrics]\nlisten = ["127.0.0.1:9155"]\ntoken_file = "none"')
    clock = Clock()
    metrics = Metrics(SimpleNamespace(
        reactor=clock, monotonic=clock.seconds, clock=clock.seconds, options=options, base=tmp_path,
    ))  # fmt: skip
    metrics.start()
    assert metrics.addresses() == [] and clock.getDelayedCalls() == [] and "No such file" in metrics.trouble


def test_another_place_for_the_page_needs_no_restart() -> None:
    """The options change while the site runs: the page moves, and is gone when none is wanted."""

    class Port:
        """One of Twisted's."""

        def __init__(self, port: int) -> None:
            self.number, self.open = port, True

        def getHost(self) -> Any:
            return SimpleNamespace(host="127.0.0.1", port=self.number)

        def stopListening(self) -> None:
            self.open = False

    ports: list[Port] = []

    def listen(port: int, *_: Any, **__: Any) -> Port:
        ports.append(Port(port))
        return ports[-1]

    clock = Clock()
    reactor = SimpleNamespace(listenTCP=listen, callLater=clock.callLater)
    site = SimpleNamespace(
        reactor=reactor, monotonic=clock.seconds, clock=clock.seconds, options=loads(""), base=Path("."),
        ready=SimpleNamespace(tell=lambda: None),
    )  # fmt: skip
    service = MetricsService(site)
    Loop().run(service.apply())
    assert service.addresses() == [] and clock.getDelayedCalls() == []
    for number in (9155, 9156):
        site.options = loads(f'[metrics]\nlisten = ["127.0.0.1:{number}"]')
        service.changed()
        service.changed()
        assert service.addresses() == [f"127.0.0.1:{number}"]
    assert [port.open for port in ports] == [False, True]
    site.options = loads("")
    service.changed()
    assert service.addresses() == [] and not ports[1].open and clock.getDelayedCalls() == []
