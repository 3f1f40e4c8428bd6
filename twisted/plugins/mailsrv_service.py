"""The command `twistd mailsrv`."""

from twisted.application.service import ServiceMaker

mailsrv = ServiceMaker("mailsrv", "mailsrv.tap", "A mail server: SMTP, IMAP4 and POP3 virtual servers", "mailsrv")
