"""arena-mail: what sends the mails of the spool; started when there is one, the only part with a network."""
