Messages as plain text, as HTML, in one character set, with UUENCODE or BinHex, and with winmail.dat unpacked: `mailsrv.message.format`, for programs so far.
