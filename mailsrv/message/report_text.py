"""The words of delivery reports (floor 1): what happened, who said so, and the way out, for people.

`Texts` can be replaced as a whole; `$name` in a text stands for `host` (our own name), `until` (when it is given up),
`peer` and `reply` (who said what), `original` (the address that the sender wrote).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import Template
from textwrap import wrap

from attrs import field, frozen

from ..values import Outcome

#: RFC 3463 statuses that are found here and not at the next server, with the reply's words (S-081, S-118).
TOO_MANY_HOPS = ("5.4.6", "The maximum hop count was reached: the message goes round in a loop")
TOO_BIG = ("5.3.4", "The message exceeds the size limit")
EXPIRED = "4.4.7"
#: Recipients that the text names; the machine's part has all of them.
MAX_NAMED = 50
#: Characters of a reply, a subject.
MAX_REPLY, MAX_SUBJECT = 1000, 200
_WIDTH = 76
#: What would end a line, move a cursor or turn the direction of writing.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\xa0\u061c\u200e\u200f\u2028-\u202f\u2060-\u206f\ud800-\udfff\ufeff]+")

#: Beginning of a status -> the way out; the first that fits.
_ADVICE = (
    ("5.1.10", "The domain says that it takes no mail at all (null MX).  Ask the recipient for another address."),
    ("5.1.1", "There is no such address.  Check how it is spelt, or ask the recipient by other means."),
    ("5.1.2", "There is no such mail domain.  Check the part of the address behind the @."),
    ("5.1.6", "The mailbox has moved.  Ask the recipient for the new address."),
    ("5.1", "The address cannot be used there.  Check how it is spelt."),
    ("5.2.1", "The mailbox takes no mail at present.  Ask the recipient by other means."),
    ("5.2.2", "The mailbox is full.  The recipient must make room; then send the message again."),
    ("5.2.3", "The message is larger than this mailbox takes.  Send it in parts, or a link to what is attached."),
    ("5.3.4", "The message is larger than a server on the way takes.  Send it in parts, or a link to its attachment."),
    ("5.4.6", "Servers pass the message round in a circle.  Tell the administrator of the recipient's mail system."),
    ("5.4", "No way to the recipient's server was found.  Check the part of the address behind the @; else tell the "
            "administrator of the recipient's mail system."),
    ("4.4.7", "The message was tried until its time was over.  The recipient's server may be out of order: try again "
              "later, or ask the recipient by other means."),
    ("5.6", "The recipient's server cannot take a message of this form.  Send it as plain text, without attachments."),
    ("5.7.1", "The recipient's server does not take this message from you.  Ask the recipient to allow it."),
    ("5.7", "A rule of safety forbids the way to the recipient's server.  Tell your administrator."),
)  # fmt: skip


@frozen
class Texts:
    """All that a report says to people.  The keys of the mappings are failed, delayed and delivered."""

    subject: Mapping[str, str]
    opening: Mapping[str, str]
    said: str = "$peer said: $reply"
    met: str = "$peer: $reply"
    found: str = "$reply"
    original: str = "to which <$original> leads"
    delivered: Mapping[str, str] = field(factory=dict)
    advice: Sequence[tuple[str, str]] = _ADVICE
    more: str = "and $count more"
    about: str = "The message:"
    closing: str = "The rest of this report is for mail programs."


ENGLISH = Texts(
    subject={
        "failed": "Undelivered: your message was not delivered",
        "delayed": "Delayed: your message is not delivered yet",
        "delivered": "Delivered: your message has arrived",
    },
    opening={
        "failed": "This is the mail server $host.  Your message was NOT delivered to the recipients below.  It is not "
        "tried again.",
        "delayed": "This is the mail server $host.  Your message has NOT been delivered yet to the recipients below.  "
        "You need not do anything: it is tried again$until.",
        "delivered": "This is the mail server $host.  You have asked to be told what became of your message.",
    },
    delivered={
        "delivered": "was delivered",
        "relayed": "was passed on to a server that sends no reports; you will hear no more of it",
        "expanded": "was passed on to the members of a list; you will hear no more of it",
    },
)


def kind_of(outcomes: Sequence[Outcome]) -> str:
    """What a report is above all: failed, delayed or delivered."""
    actions = {outcome.action for outcome in outcomes}
    return "failed" if "failed" in actions else "delayed" if "delayed" in actions else "delivered"


def harmless(text: str, most: int = MAX_REPLY) -> str:
    """One line of somebody else's words: nothing in it ends a line or hides."""
    cut = text[: most + 1]
    line = " ".join(_UNFIT.sub(" ", cut).split())
    return line if len(text) <= most else line[: most - 3] + "..."


def status_of(outcome: Outcome) -> str:
    """An RFC 3463 status that fits the action (RFC 3464 section 2.3.4)."""
    if outcome.action == "failed":
        allowed, default = "[45]", "5.0.0"
    elif outcome.action == "delayed":
        allowed, default = "4", "4.0.0"
    else:
        allowed, default = "2", "2.0.0"
    return outcome.status if re.fullmatch(rf"{allowed}\.[0-9]{{1,3}}\.[0-9]{{1,3}}", outcome.status) else default


def advice_for(status: str, texts: Texts = ENGLISH) -> str:
    """The way out for a status, or ""."""
    return next((text for prefix, text in texts.advice if (status + ".").startswith(prefix + ".")), "")


def letter(
    outcomes: Sequence[tuple[str, str, Outcome]], texts: Texts, *, host: str, until: str, about: Sequence[str]
) -> str:
    """The part for people, with CRLF line ends.  `outcomes` are (address as shown, that which the sender wrote or "",
    outcome); `until` is a date or ""; `about` are lines that say which message it is."""
    kind = kind_of([outcome for *_, outcome in outcomes])
    opening = _fill(texts.opening[kind], host=host, until=f" until {until}" if until else "")
    lines = [*wrap(opening, _WIDTH), ""]
    for address, original, outcome in outcomes[:MAX_NAMED]:
        lines.append(f"<{harmless(address)}>")
        if original:
            lines += wrap(_fill(texts.original, original=harmless(original)), _WIDTH, initial_indent="    ")
        for text in _paragraphs(outcome, texts):
            lines += wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ")
        lines.append("")
    if len(outcomes) > MAX_NAMED:
        lines += [_fill(texts.more, count=str(len(outcomes) - MAX_NAMED)), ""]
    lines.append(texts.about)
    for line in about:
        lines += wrap(line, _WIDTH, initial_indent="    ", subsequent_indent="        ")
    lines += ["", *wrap(texts.closing, _WIDTH)]
    return "".join(line + "\r\n" for line in lines)


def _paragraphs(outcome: Outcome, texts: Texts) -> list[str]:
    """What happened to one recipient, and what can be done."""
    if outcome.action in texts.delivered:
        return [texts.delivered[outcome.action]]
    found = []
    reply, peer = harmless(outcome.reply), harmless(outcome.host)
    if reply:
        about = (texts.said if spoken(outcome) else texts.met) if peer else texts.found
        found.append(_fill(about, peer=peer, reply=reply))
    advice = advice_for(status_of(outcome), texts) if outcome.action == "failed" else ""
    return [*found, advice] if advice else found


def _fill(text: str, **values: str) -> str:
    return Template(text).safe_substitute(values)


def spoken(outcome: Outcome) -> bool:
    """Whether its words are a reply of SMTP by that host, and not our own about it."""
    return bool(outcome.host) and outcome.reply[:3].isdigit()
