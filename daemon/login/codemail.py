"""The mail that brings a code on demand, in the holder's language."""

from pathlib import Path

from ..config import Config
from ..spool import Mail, make_message_id, put
from .settle import MAILED_FOR, MailOrder

_SUBJECTS = {"en": "Your login code", "fr": "Votre code de connexion"}
_BODIES = {
    "en": """\
The code that you asked for at a login:

    {code}

Type your PIN, then this code. It works once, within {minutes} minutes.

You did not ask for a code? Then somebody knows your PIN: tell the service desk.{help}
""",
    "fr": """\
Le code que vous avez demandé pour vous connecter\N{NO-BREAK SPACE}:

    {code}

Tapez votre code PIN, puis ce code. Il sert une seule fois, dans les {minutes} minutes.

Vous n’avez pas demandé de code\N{NO-BREAK SPACE}? Alors quelqu’un connaît votre code PIN\N{NO-BREAK SPACE}:
prévenez l’assistance.{help}
""",
}


def post(order: MailOrder, config: Config, spool: Path) -> None:
    """Leave a code in the holder's language in the spool, to be dropped rather than sent when it no longer works.

    Raises StoreError or Refusal as `spool.put` does.
    """
    desk = f" ({config.help})" if config.help else ""
    body = _BODIES[order.language].format(code=order.code, minutes=MAILED_FOR // 60, help=desk)
    sender = config.mail.sender
    put(spool, sender, Mail(order.address, _SUBJECTS[order.language], body, make_message_id(sender), MAILED_FOR))
