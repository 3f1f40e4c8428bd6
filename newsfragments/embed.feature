Examples of an embedded site and of parts of one's own; `mailsrv.host.embed` makes, starts and feeds a site inside another program.
