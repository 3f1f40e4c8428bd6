"""A shop that puts order confirmations into mailboxes: a site inside a Twisted application with a web server.

    python examples/embed.py [FOLDER]
    curl -d to=anna@example.test -d item=teapot http://127.0.0.1:PORT/

The customer reads the message over POP3.  There is no SMTP server here, and no connection between shop and mailbox:
`deliver` returns when the message is on the disk.
"""

import sys
import tempfile
from email.message import EmailMessage
from email.policy import SMTP

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from mailsrv.errors import MailError
from mailsrv.host.control import user
from mailsrv.host.embed import deliver, site_from_text

CONFIG = """
site.domains = ["example.test"]
pop3.default.listen = ["127.0.0.1:0"]
pop3.default.login_without_tls = true
"""


class Orders(Resource):
    """POST to=ADDRESS item=TEXT."""

    isLeaf = True

    def __init__(self, mail):
        super().__init__()
        self.mail = mail

    def render_POST(self, request):
        Deferred.fromCoroutine(self.order(request)).addErrback(request.processingFailed)
        return NOT_DONE_YET

    async def order(self, request):
        to, item = (request.args.get(key, [b""])[0].decode("utf-8", "replace") for key in (b"to", b"item"))
        message = EmailMessage(policy=SMTP)
        message["From"] = "shop@example.test"
        message["Subject"] = "Your order"
        message.set_content(f"Thank you.  One {item} is on its way.\n")
        try:
            number = await deliver(self.mail, message.as_bytes(), [to], sender="shop@example.test")
        except MailError as error:
            request.setResponseCode(503 if not error.permanent else 422)
            request.write(f"{error.text}\n".encode())
        else:
            request.write(f"accepted as {number}\n".encode())
        request.finish()


async def main(reactor, folder):
    application = MultiService()
    mail = site_from_text(CONFIG, folder, reactor)
    mail.setServiceParent(application)
    reactor.addSystemEventTrigger("before", "shutdown", application.stopService)
    application.startService()
    await mail.started
    web = reactor.listenTCP(0, Site(Orders(mail)), interface="127.0.0.1")
    if not await user.list_users(mail):
        await user.add(mail, "anna@example.test", "correct horse")
    print("pop3/default", *mail.servers["pop3/default"].addresses(), flush=True)
    print("web", f"127.0.0.1:{web.getHost().port}", flush=True)
    await Deferred()


if __name__ == "__main__":
    react(main, [sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()])
