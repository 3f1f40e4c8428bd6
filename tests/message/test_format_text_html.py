"""Plain text as HTML, S-160: escapes, links, quotes, and flowed text (RFC 3676)."""

from __future__ import annotations

import time

import pytest

from mailsrv.message.format.text_html import text_to_html, unflowed


def body(text: str, flowed: bool = False) -> str:
    made = text_to_html(text, "utf-8", flowed)
    assert made.startswith("<!DOCTYPE html>\n<html><head><meta ") and 'charset=utf-8"></head><body>\n' in made
    return made.partition("<body>\n")[2].removesuffix("</body></html>\n").removesuffix("\n")


SAMPLES = {
    "a": "<p>a</p>",
    "a\nb\n\nc\n": "<p>a<br>\nb</p>\n<p>c</p>",
    "<script>&\"'": "<p>&lt;script&gt;&amp;\"'</p>",
    "  two  three": "<p>&nbsp; two&nbsp; three</p>",
    " one": "<p>&nbsp;one</p>",
    "a\tb": "<p>a&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp; b</p>",
    "> a\n> > b\n>> c\nd": '<blockquote type="cite">\n<p>a</p>\n<blockquote type="cite">\n<p>b<br>\nc</p>\n'
    "</blockquote></blockquote>\n<p>d</p>",
    "": "",
}
LINKS = {
    "see http://a.org/x.": "http://a.org/x",
    "(https://a.org/b_(c))": "https://a.org/b_(c)",
    "<https://a.org/?a=1&b=2>": "https://a.org/?a=1&amp;b=2",
    '"http://a.org/"x': "http://a.org/",
    "www.a.org, or": "http://www.a.org",
    "FTP://a.org!": "FTP://a.org",
    "write to ann.b+c@a.example.org.": "mailto:ann.b+c@a.example.org",
    "mailto:a@b.org?": "mailto:a@b.org",
}
NO_LINKS = ["javascript:alert(1)", "http://", "a@b", "@b.org", "www.", "xhttp://a.org", "file:///etc/x", "a@b.org@c"]
HOSTILE = ["http://x", "a@", "a@b.", "www.", ">", ">>>>>>>>>>>>x\nx\n", ")", "http://" + ")" * 99, "<", "\t"]


@pytest.mark.parametrize("text", SAMPLES)
def test_s_160_text_becomes_html(text: str) -> None:
    assert body(text) == SAMPLES[text]


@pytest.mark.parametrize("text", LINKS)
def test_s_160_links_can_be_followed(text: str) -> None:
    made = body(text)
    assert made.count("<a ") == 1 and f'<a href="{LINKS[text]}">' in made


@pytest.mark.parametrize("text", NO_LINKS)
def test_what_only_looks_like_a_link_is_text(text: str) -> None:
    assert "<a " not in body(text)


def test_rfc_3676_soft_line_ends_are_undone() -> None:
    assert body("one \ntwo\nthree", True) == "<p>one two<br>\nthree</p>"
    assert unflowed("> a \n> b\nc \n-- \nme") == [(1, "a b"), (0, "c "), (0, "-- "), (0, "me")]
    assert unflowed(" >no quote\n From x") == [(0, ">no quote"), (0, "From x")]
    assert unflowed("a \n> b") == [(0, "a "), (1, "b")]
    assert unflowed("wo \nrd", delsp=True) == [(0, "word")]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_texts_take_linear_time_and_room(piece: str) -> None:
    times = []
    for size in (20_000, 80_000):
        text = piece * (size // len(piece))
        taken = []
        for _ in range(3):
            began = time.process_time()
            made = text_to_html(text, "utf-8")
            taken.append(time.process_time() - began)
        times.append(min(taken))
        assert len(made) <= 50 * len(text) + 200
    assert times[1] < 9 * times[0] + 0.02, times
