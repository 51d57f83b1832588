"""cheap_arenad that leaves nobody any time when it stops: the fault that the attack by restarts must find."""

import runpy
from pathlib import Path

from arenad.login import listener

listener.GRACE = listener.LAST = 0.0
runpy.run_path(str(Path(__file__).with_name("cheap_arenad.py")), run_name="__main__")
