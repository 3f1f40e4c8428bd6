// What a program with imapflow does: one session at work, another that changes things meanwhile, and a third that comes
// back with QRESYNC.  Argument: JSON of where and who.  Says one JSON object.
'use strict';

const given = JSON.parse(process.argv[2]);
const { ImapFlow } = require(given.module);

const options = more => ({
    host: '127.0.0.1', port: given.port, secure: true, auth: { user: given.user, pass: given.password },
    tls: { rejectUnauthorized: false }, logger: false, ...more
});
const letter = (subject, text) => `From: Ann <ann@example.org>\r\nSubject: ${subject}\r\nMessage-ID: <${subject}@x>\r\n\r\n${text}\r\n`;
const mixed = [
    'From: "Zoë" <zoe@example.org>', 'To: me@example.org', 'Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=', 'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary=b', '', '--b', 'Content-Type: text/plain; charset=iso-8859-1',
    'Content-Transfer-Encoding: quoted-printable', '', 'caf=E9', '--b', 'Content-Type: application/pdf; name="r.pdf"',
    'Content-Disposition: attachment; filename="r.pdf"', 'Content-Transfer-Encoding: base64', '', 'JVBERg==', '--b--', ''
].join('\r\n');

const collected = async stream => {
    const pieces = [];
    for await (const piece of stream) {
        pieces.push(piece);
    }
    return Buffer.concat(pieces).toString();
};

async function work() {
    const out = {};
    const client = new ImapFlow(options({ qresync: true }));
    await client.connect();
    out.enabled = [...client.enabled].sort();
    out.compressed = Boolean(client._inflate);
    out.server = client.serverInfo && client.serverInfo.name;
    out.namespace = client.namespaces.personal[0];
    out.created = await client.mailboxCreate(['Wörk', 'sub']);
    out.again = (await client.mailboxCreate('Wörk/sub')).created;

    out.folders = (await client.list({ statusQuery: { messages: true, unseen: true, uidNext: true } }))
        .map(one => [one.path, one.specialUse || '', one.subscribed, one.status && one.status.messages]);

    const first = await client.append('INBOX', mixed, ['\\Seen', '$label1'], new Date('2020-02-03T04:05:06Z'));
    for (const name of ['one', 'two', 'three']) {
        await client.append('INBOX', letter(name, name + ' text'));
    }
    out.appended = first.uid;

    const lock = await client.getMailboxLock('INBOX');
    try {
        const message = await client.fetchOne('1', {
            uid: true, flags: true, envelope: true, bodyStructure: true, internalDate: true, size: true, threadId: true,
            headers: ['subject']
        });
        out.message = {
            subject: message.envelope.subject, from: message.envelope.from[0], flags: [...message.flags].sort(),
            date: message.internalDate, size: message.size === Buffer.byteLength(mixed), modseq: typeof message.modseq,
            emailId: typeof message.emailId, parts: message.bodyStructure.childNodes.map(node => node.type)
        };
        out.text = await collected((await client.download('1', '1')).content);
        out.file = (await client.download('1', '2')).meta.filename;
        out.source = (await client.fetchOne('1', { source: true })).source.toString() === mixed;
        out.found = [
            await client.search({ subject: 'Grüße' }, { uid: true }), await client.search({ body: 'café' }),
            await client.search({ keyword: '$label1' }), await client.search({ or: [{ subject: 'one' }, { subject: 'two' }] }),
            await client.search({ seen: false, since: new Date('2021-01-01') })
        ];
        await client.messageFlagsAdd('2', ['\\Flagged', 'Custom']);
        out.flags = [...(await client.fetchOne('2', { flags: true })).flags].sort();
        const copied = await client.messageCopy('2:3', 'Wörk');
        out.copied = copied && [...copied.uidMap.values()];
        const moved = await client.messageMove('4', 'Wörk/sub');
        out.moved = moved && [...moved.uidMap.entries()];
        out.quota = Boolean(await client.getQuota('INBOX'));
        out.status = await client.status('Wörk', { messages: true, highestModseq: true, uidNext: true })
            .then(found => [found.messages, found.uidNext, typeof found.highestModseq]);
    } finally {
        lock.release();
    }
    const mailbox = { path: 'INBOX', modseq: client.mailbox.highestModseq, validity: client.mailbox.uidValidity };

    // IDLE: another session delivers, flags and deletes.
    const told = [];
    const heard = new Promise(resolve => {
        const hear = kind => event => {
            told.push([kind, event.count || event.uid || event.seq]);
            if (new Set(told.map(one => one[0])).size === 3) {
                resolve();
            }
        };
        client.on('exists', hear('exists'));
        client.on('flags', hear('flags'));
        client.on('expunge', hear('expunge'));
    });
    const idling = client.idle();
    const other = new ImapFlow(options());
    await other.connect();
    await other.mailboxOpen('INBOX');
    await other.append('INBOX', letter('four', 'pushed'));
    await other.messageFlagsAdd('1', ['\\Answered']);
    await other.messageDelete('2');
    await Promise.race([heard, new Promise(resolve => setTimeout(resolve, 5000))]);
    out.told = [...new Set(told.map(one => one[0]))].sort();
    await client.noop();
    await idling;
    await client.logout();
    await other.logout();

    // Back after the others: what changed and what vanished since.
    const back = new ImapFlow(options({ qresync: true }));
    await back.connect();
    const gone = [];
    back.on('expunge', event => gone.push([event.uid, event.vanished]));
    await back.mailboxOpen('INBOX');
    out.back = [];
    for await (const one of back.fetch('1:*', { uid: true, flags: true }, { uid: true, changedSince: mailbox.modseq })) {
        out.back.push([one.uid, [...one.flags].filter(flag => flag !== '\\Recent').sort()]);
    }
    out.gone = gone;
    await back.mailboxRename('Wörk', 'Büro');
    await back.mailboxDelete('Büro/sub');
    out.after = (await back.list()).map(one => one.path).filter(path => /W|B/.test(path[0]));
    await back.logout();

    const wrong = new ImapFlow(options({ auth: { user: given.user, pass: 'wrong' } }));
    out.refused = await wrong.connect().then(() => '', error => error.serverResponseCode);
    return out;
}

work().then(out => process.stdout.write(JSON.stringify(out)), error => {
    process.stderr.write(String(error.stack) + '\n' + JSON.stringify(error) + '\n');
    process.exit(1);
});
