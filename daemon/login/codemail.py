"""The mail that brings a code on demand."""

from pam_arena.texts import texts_in

from ..config import Config
from ..spool import Mail, make_message_id
from .settle import MAILED_FOR, MailOrder


def code_mail(order: MailOrder, config: Config) -> Mail:
    """A code in the holder's language. It is dropped rather than sent when the code no longer works."""
    texts = texts_in(order.language)
    body = texts.code_mail_body(order.code, MAILED_FOR // 60, config.help)
    domain = config.mail.sender.rpartition("@")[2]
    return Mail(order.address, texts.code_mail_subject, body, make_message_id(domain), lasts=MAILED_FOR)
