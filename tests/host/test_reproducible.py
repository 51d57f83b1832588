"""Two builds of the packages are the same to the bit, whoever makes them, where, and when."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from hosts import ROOT

LONG = "ARENA_LONG" in os.environ
MEND = "touch --no-dereference"  # of packaging/debian/rules: without it, files keep the time of their checkout
VARIED = "TZ=Asia/Tokyo LC_ALL=C USER=somebody LOGNAME=somebody HOME=/nonexistent"


def copy_sources(folder: Path) -> None:
    """What git knows or would add, as another checkout: the files made in reverse order, long ago, readable to one user."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]
    for name in sorted(names, reverse=True):
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
        copy.chmod(0o600 | (ROOT / name).stat().st_mode & 0o100)
        os.utime(copy, (10**9, 10**9))
    subprocess.run(["git", "init", "--quiet", folder], check=True)


def build_elsewhere(folder: Path) -> dict[str, str]:
    """SHA-256 of the packages by name: built by another user, with another umask, zone, locale and home, in a longer path."""
    sources, stage, out = (folder / name for name in ("another-checkout-of-the-sources", "stage", "out"))
    for one in (sources, stage, out):
        one.mkdir(exist_ok=True)
    if not (sources / ".git").exists():
        copy_sources(sources)
    subprocess.run(["chown", "--recursive", "nobody:nogroup", folder], check=True)
    command = ["runuser", "-u", "nobody", "--", "env", f"TMPDIR={stage}", f"BUILD_WITH={VARIED}"]
    done = subprocess.run([*command, sources / "packaging/build-debs", out], capture_output=True, text=True, umask=0o077)
    assert done.returncode == 0, done.stderr
    return hashes(sorted(out.glob("*.deb")))


def hashes(packages: list[Path]) -> dict[str, str]:
    return {package.name: hashlib.sha256(package.read_bytes()).hexdigest() for package in packages}


def test_two_builds_have_one_hash(debs: list[Path], count: Callable[[str], None]) -> None:
    here = hashes(debs)
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    try:
        assert build_elsewhere(folder) == here
        count(f"{len(here)} packages built twice: one hash each")
        if LONG:  # the control: what was mended here once is seen
            rules = folder / "another-checkout-of-the-sources/packaging/debian/rules"
            text = rules.read_text()
            assert MEND in text
            rules.write_text(text.replace(MEND, "true"))
            differ = [name for name, one in build_elsewhere(folder).items() if one != here[name]]
            assert differ
            count(f"the control: without the times' mend {len(differ)} differ")
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)
