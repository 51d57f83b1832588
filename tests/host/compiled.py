"""What a compiled AppArmor profile allows, read as the kernel reads it: security/apparmor/{policy_unpack,match,file,net}.c.

Good for policies compiled for the features of abi/3.0, whose permissions of files are those of map_old_perms().
"""

import struct
from socket import AddressFamily, SocketKind

from attrs import frozen

_MAGIC = b"\x1b\x5e\x78\x3d"
_ACCEPT, _BASE, _CHECK, _DEFAULT, _CLASSES, _NEXT = 1, 2, 3, 4, 5, 8  # match.h: YYTD_ID_*
_DIFFERENTIAL = 1 << 31  # of a base: the character is looked up again in the default state
_KINDS = {1: "B", 2: "H", 4: "I"}
_FILE, _NETWORK = 1, 14  # DFA_START; AA_CLASS_NET
_BITS = {"x": 0x01, "w": 0x02, "r": 0x04, "a": 0x08, "l": 0x10, "k": 0x20, "m": 0x40}
_OTHERS = 14  # the permissions on what another user owns are so many bits further


@frozen
class Automaton:
    """A deterministic automaton in compressed tables, and what each of its states accepts."""

    tables: dict[int, tuple[int, ...]]

    def walk(self, state: int, word: bytes) -> int:
        """The state after a word (aa_dfa_match_len)."""
        base, check, default, following = (self.tables[one] for one in (_BASE, _CHECK, _DEFAULT, _NEXT))
        classes = self.tables.get(_CLASSES)
        for byte in word:
            character = classes[byte] if classes else byte
            while True:
                where = (base[state] & 0xFFFFFF) + character
                if check[where] == state:
                    state = following[where]
                    break
                again = base[state] & _DIFFERENTIAL
                state = default[state]
                if not again:
                    break
        return state

    def accepted(self, state: int) -> int:
        """The permissions of a state, without those that a deny rule takes: the parser took them away itself."""
        return self.tables[_ACCEPT][state]


@frozen
class Profile:
    """One compiled profile."""

    policy: Automaton
    files: Automaton

    def allows(self, path: str, need: str, owned: bool = True) -> bool:
        """Whether a path may be used in each way of `need` (apparmor.d(5): r, w, k, l, m); a folder's ends in a slash."""
        bits = sum(_BITS[letter] for letter in need)
        found = self.files.accepted(self.files.walk(_FILE, path.encode())) >> (0 if owned else _OTHERS)
        return found & bits == bits

    def allows_socket(self, family: AddressFamily, kind: SocketKind) -> bool:
        """Whether a socket may be made (aa_profile_af_perm)."""
        state = self.policy.walk(_FILE, bytes([_NETWORK]))
        return bool(self.policy.accepted(self.policy.walk(state, struct.pack(">HH", family, kind))) & 0xFF)


def read_profiles(binary: bytes) -> dict[str, Profile]:
    """The profiles of `apparmor_parser --stdout`, by name. ValueError if it is something else."""
    found: dict[str, Profile] = {}
    # struct "profile", then its name as a string: tag 5, length with the final NUL, text.
    marks = _all(binary, b"\x04\x08\x00profile\x00\x07\x05")
    for start, end in zip(marks, [*marks[1:], len(binary)], strict=True):
        part = binary[start:end]
        (length,) = struct.unpack_from("<H", part, 13)
        name = part[15 : 15 + length - 1].decode()
        automata = [_automaton(part[at:]) for at in _all(part, _MAGIC)]
        if len(automata) != 2:
            raise ValueError(f"profile {name} has {len(automata)} automata, not one of policy and one of files")
        found[name] = Profile(*automata)
    if not found:
        raise ValueError("no compiled profile")
    return found


def _all(text: bytes, part: bytes) -> list[int]:
    found, at = [], -1
    while (at := text.find(part, at + 1)) >= 0:
        found.append(at)
    return found


def _automaton(data: bytes) -> Automaton:
    """Tables as flex writes them: big-endian, each padded to 8 bytes."""
    _, header, size, _ = struct.unpack_from(">IIIH", data)
    tables, at = {}, header
    while at < size:
        number, width, _, length = struct.unpack_from(">HHII", data, at)
        tables[number] = struct.unpack_from(f">{length}{_KINDS[width]}", data, at + 12)
        at += (12 + length * width + 7) & ~7
    return Automaton(tables)
