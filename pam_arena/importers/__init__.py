"""Files of keys, as makers and other servers write them: one module a format, each a pure parser from bytes to Records.

No parser opens a file, asks a person or reads a clock: what it needs is passed in. Whatever the bytes, it raises nothing
but BadImport, whose text names the line and never holds a secret.
"""
