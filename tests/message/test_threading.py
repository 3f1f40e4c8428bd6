"""Threads (RFC 5256 section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsrv.message import threading
from mailsrv.message.subject import base_subject
from mailsrv.message.threading import Message, Node, message_ids, ordered_subject, references, written
from tests.timing import takes_at_most


def mail(ident: str, refs: str = "", subject: str = "", date: int = 0) -> Message:
    base, reply = base_subject(subject)
    return Message(base, reply, date, ident.encode(), refs.encode().split())


def threads(*messages: Message, by: object = references) -> str:
    """With numbers from 1; messages without a date follow one another."""
    for at, message in enumerate(messages, 1):
        message.date = message.date or at
    return "".join(written(by(messages), range(1, len(messages) + 1)))  # type: ignore[operator]


def test_ids_without_brackets_and_needless_quotes_section_3() -> None:
    assert message_ids(b'<"01KF8JCEOCBS0045PS"@xxx.yyy.com> and <01KF8JCEOCBS0045PS@xxx.yyy.com>') == [
        b"01KF8JCEOCBS0045PS@xxx.yyy.com"
    ] * 2
    assert message_ids(b"<a@b> (c) <d@e><f@g>") == [b"a@b", b"d@e", b"f@g"]
    assert message_ids(b'<"a b"@c> <"a\\b"@c>') == [b'"a b"@c', b"ab@c"]
    assert message_ids(b"nonsense <> < a@b> <a b> <x@y") == []


def test_references_link_one_to_the_next_step_1() -> None:
    assert threads(mail("a"), mail("b", "a"), mail("c", "a b"), mail("d", "a b"), mail("e", "a")) == "(1 (2 (3)(4))(5))"


def test_a_chain_is_one_list_and_the_example_of_section_4_has_this_form() -> None:
    # (2)(3 6 (4 23)(44 7 96)): numbers of the example stand for their places here.
    found = threads(
        mail("2"), mail("3"), mail("4", "3 6"), mail("6", "3"), mail("23", "3 6 4"), mail("44", "3 6"),
        mail("7", "3 6 44"), mail("96", "3 6 44 7"),
    )  # fmt: skip
    assert found == "(1)(2 4 (3 5)(6 7 8))"


def test_messages_that_are_not_there_bring_answers_together_step_3() -> None:
    assert threads(mail("b", "a"), mail("c", "a")) == "((1)(2))"
    assert threads(mail("c", "a b")) == "(1)"
    assert threads(mail("a"), mail("c", "a b"), mail("d", "a b")) == "(1 (2)(3))"


def test_a_parent_known_by_its_own_references_counts_step_1_b() -> None:
    # 2 says that c follows a; c itself says b.
    assert threads(mail("a"), mail("x", "a c"), mail("b"), mail("c", "b")) == "(1)(3 4 2)"
    # Without references there is no parent, whatever others said.
    assert threads(mail("a"), mail("x", "a c"), mail("c")) == "(1)(3 2)"


def test_loops_are_not_closed_step_1() -> None:
    assert threads(mail("a", "b"), mail("b", "a")) == "(2 1)"
    assert threads(mail("a", "a")) == "(1)"
    assert threads(mail("a", "b c"), mail("c", "a b")) == "(2 1)"


def test_ids_that_come_twice_or_not_at_all_step_1() -> None:
    assert threads(mail("a"), mail("a"), mail("b", "a"), mail(""), mail("", "b")) == "(1 3 5)(2)(4)"


def test_threads_of_one_subject_become_one_step_5() -> None:
    # A reply goes under what is none, wherever it stands.
    assert threads(mail("a", subject="plan"), mail("b", subject="Re: plan")) == "(1 2)"
    assert threads(mail("a", subject="Re: plan"), mail("b", subject="PLAN")) == "(2 1)"
    # Two of a kind get a top that is not there, and a third one comes to it.
    assert threads(mail("a", subject="plan"), mail("b", subject="plan")) == "((1)(2))"
    assert threads(mail("a", subject="plan"), mail("b", subject="plan"), mail("c", subject="re: plan")) == "((1)(2)(3))"
    # Tops that are not there are put together; and what is there comes under one.
    pairs = [mail("b", "a", "x"), mail("c", "a", "x"), mail("e", "d", "x"), mail("f", "d", "x")]
    assert threads(*pairs) == "((1)(2)(3)(4))"
    assert threads(mail("g", subject="x"), mail("b", "a", "x"), mail("c", "a", "x")) == "((1)(2)(3))"
    # No subject brings nobody together.
    assert threads(mail("a", subject="Re:"), mail("b")) == "(1)(2)"


def test_order_is_by_sent_date_then_number_steps_4_and_6() -> None:
    assert threads(mail("a", date=9), mail("b", date=5), mail("c", date=5)) == "(2)(3)(1)"
    assert threads(mail("a", date=1), mail("b", "a", date=9), mail("c", "a", date=8)) == "(1 (3)(2))"
    # A top that is not there is as old as its first child.
    assert threads(mail("b", "a", date=7), mail("c", "a", date=3), mail("d", date=5)) == "((2)(1))(3)"


def test_ordered_subject_section_3() -> None:
    found = threads(
        mail("a", subject="x", date=4), mail("b", subject="y", date=1), mail("c", subject="Re: x", date=2),
        mail("d", subject="[list] X", date=3), by=ordered_subject,
    )  # fmt: skip
    assert found == "(2)(3 (4)(1))"
    assert threads(mail("a", subject="x"), mail("b", subject="x"), by=ordered_subject) == "(1 2)"


def every(roots: Sequence[Node]) -> list[int]:
    order = list(roots)
    for node in order:
        assert node.number is not None or (node in roots and len(node.children) > 1)
        order.extend(node.children)
    return sorted(node.number for node in order if node.number is not None)


IDENTS = st.sampled_from(["", "a", "b", "c", "d", "e", "f"])
MAILS = st.builds(
    mail,
    IDENTS,
    st.lists(st.sampled_from("abcdefgh"), max_size=4).map(" ".join),
    st.sampled_from(["", "x", "Re: x", "y", "[fwd: y]"]),
    st.integers(0, 5),
)


@given(st.lists(MAILS, max_size=12))
def test_every_message_is_in_one_thread_once(messages: list[Message]) -> None:
    for algorithm in (references, ordered_subject):
        assert every(algorithm(messages)) == list(range(len(messages)))


@given(st.lists(MAILS, max_size=10), st.integers(0, 3))
def test_limits_lose_no_message(messages: list[Message], limit: int) -> None:
    before = threading.MAX_ABSENT, threading.MAX_STEPS
    threading.MAX_ABSENT = threading.MAX_STEPS = limit
    try:
        assert every(references(messages)) == list(range(len(messages)))
    finally:
        threading.MAX_ABSENT, threading.MAX_STEPS = before


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_of_thousands_is_no_deep_matter(backwards: bool) -> None:
    count = 5000
    chain = [mail(str(at), str(at - 1) if at else "", date=at) for at in range(count)]
    mails = chain[::-1] if backwards else chain
    found = takes_at_most(2, lambda: "".join(written(references(mails), range(count))))
    assert found.count("(") == 1 and len(found.split()) == count
