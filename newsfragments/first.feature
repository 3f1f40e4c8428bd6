SMTP reception, IMAP4rev1, POP3, the embedded store, `mailsrv` and `twistd mailsrv`.
