"""HTML as plain text, S-159: what each element becomes."""

from __future__ import annotations

import time

import pytest

from mailsrv.message.format.html_text import html_to_text

SAMPLES = {
    "words <b>in</b> a\n  row": "words in a row\n",
    "<p>one<p>two": "one\n\ntwo\n",
    "a<br>b<br><br><br>c": "a\nb\n\nc\n",
    "<div>a</div><div>b</div>": "a\nb\n",
    "<h1>Top</h1><h2>Sub</h2><h3>Third</h3>x": "Top\n===\n\nSub\n---\n\nThird\n\nx\n",
    "5 &lt; 6 &amp;&#38; caf&eacute; &unknown; &": "5 < 6 && café &unknown; &\n",
    "a &nbsp; b": "a b\n",
    # Links: the address follows, unless the words are the address.
    '<a href="https://a.org/x?y=1&amp;z=2">here</a>': "here <https://a.org/x?y=1&z=2>\n",
    "<a href='http://www.a.org/'>www.a.org</a>": "www.a.org\n",
    '<a href="mailto:a@b.org">a@b.org</a> <a href=mailto:a@b.org>Ann</a>': "a@b.org Ann <a@b.org>\n",
    '<a href="javascript:alert(1)">click</a><a href="#top">up</a>': "clickup\n",
    '<a href="https://a.org/"></a>x': "x\n",
    '<a href="https://a.org/"><div>block</div></a>': "block\n",
    # Pictures in words; nothing for decoration and counters.
    '<img alt="A map" src=x.png>': "[image: A map]\n",
    '<img src="http://a.org/i/photo.jpeg?x">': "[image: photo.jpeg]\n",
    '<img src="cid:1">': "[image]\n",
    '<img alt="" src="line.png"><img src="t.gif" width=1 height=1>x': "x\n",
    '<a href="https://a.org/"><img alt="Logo"></a>': "[image: Logo] <https://a.org/>\n",
    # Lists.
    "<ul><li>a<li>b<ul><li>c</ul><li>d</ul>e": "* a\n* b\n   * c\n* d\n\ne\n",
    "<ol start=9><li>a<li>b</ol>": "9. a\n10. b\n",
    # Quotes, as mail has them.
    "x<blockquote>a<blockquote>b</blockquote>c</blockquote>y": "x\n\n> a\n>\n>> b\n>\n> c\n\ny\n",
    "<q>so</q>": '"so"\n',
    "<pre>a\n  b\tc</pre>": "a\n   b     c\n",
    "a<hr>b": "a\n" + "-" * 40 + "\n\nb\n",
    # Tables: with data in columns, else in their order.
    "<table><tr><th>A<th>Long<tr><td>1<td>2</table>": "A  Long\n-  ----\n1  2\n",
    "<table><tr><td>Name:</td><td>Ann</td></tr></table>": "Name:  Ann\n",
    "<table><tr><td><p>a</p><p>b</p></td><td>c</td></tr></table>d": "a\n\nb\nc\n\nd\n",
    "<table><tr><td><table><tr><td>1<td>2<tr><td>3<td>4</table></td></tr></table>": "1  2\n3  4\n",
    "<table><tr><td><ul><li>a<li>b</ul><td>c</table>": "* a\n* b\nc\n",
    "<table>loose<tr><td>a</td>between<td>b</td></tr></table>": "loose\na\nbetween\nb\n",
    "<table><tr><td>a<td><td>b<tr><td>c<td><td>d</table>": "a  b\nc  d\n",
    "<table><td>a<td>b<tr><td>c</table>": "a  b\nc\n",
    # Not shown.
    "<style>p{}</style><script>x</script><title>t</title><!-- c -->y<![if !mso]>z<![endif]>": "yz\n",
    "<div style='DISPLAY: none'>a<div>b</div>c</div>d": "d\n",
    "\u200b\ufeffa\u00adb": "ab\n",
    # Flowed text has a space before what would be a quote.
    "&gt; no quote<br>From here": " > no quote\n From here\n",
    # As browsers read what is broken.
    "a < b <3 <": "a < b <3 <\n",
    '<a href="x>y" title=\'>\'>z</a>': "z\n",
    "a<b": "a<b\n",
    "<p title=\"never closed>text": "text\n",
    "a<!-- never closed": "a\n",
    "</p></table></ul></blockquote></td>x": "x\n",
    "<td>a<td>b": "a\nb\n",
    "&#" + "9" * 5000 + ";": "&#" + "9" * 5000 + ";\n",
    "": "",
}


@pytest.mark.parametrize("document", SAMPLES, ids=lambda text: text[:40])
def test_s_159_html_becomes_text(document: str) -> None:
    assert html_to_text(document) == SAMPLES[document]


def test_rfc_3676_long_paragraphs_flow() -> None:
    words = " ".join(["word"] * 60)
    made = html_to_text(f"<p>{words}")
    lines = made.split("\n")[:-1]
    assert all(len(line) <= 73 for line in lines)
    assert [line.endswith(" ") for line in lines] == [True] * (len(lines) - 1) + [False]
    assert "".join(lines) == words
    assert " \n" not in html_to_text(f"<p>{words}", flowed=False)


def test_rfc_3676_quotes_flow_and_lists_do_not() -> None:
    words = " ".join(["word"] * 60)
    assert all(line.startswith("> ") for line in html_to_text(f"<blockquote>{words}").split("\n")[:-1])
    listed = html_to_text(f"<ul><li>{words}").split("\n")[:-1]
    assert listed[0].startswith("* word") and all(line.startswith("   word") for line in listed[1:])
    assert not any(line.endswith(" ") for line in listed)


@pytest.mark.parametrize("tag, mark", [("blockquote", ">"), ("ul><li", "   ")])
def test_what_is_too_deep_is_read_as_if_it_were_not(tag: str, mark: str) -> None:
    """Twenty quotes, ten lists, sixteen tables: further ones open nothing, and their ends close nothing."""
    end = f"</{tag[:2] if 'ul' in tag else tag}>"
    deep = html_to_text(f"<{tag}>" * 40 + "x" + end * 39 + "y" + end + "z")
    assert deep.split("\n")[0].count(mark) <= 20
    lines = [line for line in deep.split("\n") if line.strip("> ")]
    assert lines[-1] == "z" and lines[-2].endswith("y") and lines[-2] != "y"
    assert html_to_text("<table><tr><td>" * 40 + "x" + "</td></tr></table>" * 40 + "y").split() == ["x", "y"]


def test_a_link_is_never_broken() -> None:
    link = "https://example.org/" + "x" * 300
    assert f"<{link}>" in html_to_text(f'<p>{"word " * 20}<a href="{link}">words</a>')


HOSTILE = {
    "tags": "<", "open": "<a", "unclosed quote": '<a b="', "other quote": "<a b='", "comments": "<!--", "ends": "</",
    "tables": "<table><tr><td>", "lists": "<ul><li>", "quotes": "<blockquote>x", "ampersands": "&", "numbers": "&#1",
    "spaces": " \n", "hidden": "<div style='display:none'>", "links": "<a href='http://a.org/'>x",
    "scripts": "<script>",
    "attributes": "<p a=", "slashes": "<p/", "equals": "<p=", "pre": "<pre>\t", "cells": "<td>x", "breaks": "<br>",
    "rules": "<hr>", "declarations": "<!x", "bare": "x", "marks": "<!-->", "ends of scripts": "<script></script",
}  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_hostile_documents_take_linear_time_and_room(piece: str) -> None:
    times = []
    for size in (20_000, 80_000):
        document = piece * (size // len(piece))
        taken = []
        for _ in range(3):
            # The best of three: a collection of all the garbage of a test run may fall into one of them.
            began = time.process_time()
            made = html_to_text(document)
            taken.append(time.process_time() - began)
        times.append(min(taken))
        assert len(made.encode()) <= 40 * len(document) + 100
    # Four times the octets: sixteen times the time would be quadratic.
    assert times[1] < 9 * times[0] + 0.02, times
