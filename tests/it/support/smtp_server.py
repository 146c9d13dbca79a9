"""A real SMTP server for the tests: aiosmtpd, each accepted mail a file in the folder given.

smtp_server.py PORT FOLDER [USER PASSWORD]

A recipient whose address begins with reject-NNN is answered with that status code.
A file named `busy` in the folder makes every message end in 451 after its data.
"""

import os
import re
import signal
import sys
import uuid

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Handler:
    def __init__(self, folder):
        self.folder = folder

    async def handle_RCPT(self, server, session, envelope, address, options):
        told = re.match(r"reject-(\d{3})", address)
        if told:
            return f"{told[1]} told to refuse this recipient"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if os.path.exists(os.path.join(self.folder, "busy")):
            return "451 told to be busy"
        name = str(uuid.uuid4())
        part = os.path.join(self.folder, name + ".part")
        with open(part, "wb") as mail:
            mail.write(b"X-Test-From: %s\r\n" % envelope.mail_from.encode())
            for recipient in envelope.rcpt_tos:
                mail.write(b"X-Test-To: %s\r\n" % recipient.encode())
            mail.write(envelope.original_content)
        # Renamed when whole, so that a reader never sees half a mail.
        os.rename(part, os.path.join(self.folder, name + ".eml"))
        return "250 stored"


def main():
    port, folder = int(sys.argv[1]), sys.argv[2]
    extra = {}
    if len(sys.argv) > 4:
        user, password = sys.argv[3].encode(), sys.argv[4].encode()

        def check(server, session, envelope, mechanism, data):
            good = (data.login, data.password) == (user, password)
            return AuthResult(success=good, handled=False)

        extra = dict(authenticator=check, auth_required=True, auth_require_tls=False)
    controller = Controller(Handler(folder), hostname="127.0.0.1", port=port, **extra)
    controller.start()
    print("listening on 127.0.0.1:%d" % port, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


main()
