"""The mails that tell holders what became of their keys and PINs. The files beside this one are the texts as shipped."""
