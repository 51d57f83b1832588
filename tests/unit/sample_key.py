"""One seed, as files of keys spell it: that of RFC 4226, appendix D."""

import base64

SEED = b"12345678901234567890"
HEX = SEED.hex()
BASE32 = base64.b32encode(SEED).decode()
