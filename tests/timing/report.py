"""What the stopwatch found, for people and programs: a table, JSON, CSV, and a picture of every distribution."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib
import numpy as np
from attrs import asdict, frozen
from compare import CROPS, Bounds, Difference, Times, compare, smallest_shift

matplotlib.use("Agg")  # no screen
import matplotlib.pyplot as plt

POOL = "all others together"
COLUMNS = 4  # of panels
PLAIN, CAUGHT, ASIDE = "#1f5fa8", "#c0392b", "#999999"


@frozen
class Row:
    """A case beside the reference, and beside everything else. Times in milliseconds."""

    part: str
    what: str
    count: int
    median: float
    beside_reference: Difference
    beside_pool: Difference | None

    @property
    def told_apart(self) -> bool:
        return any(one.told_apart for one in (self.beside_reference, self.beside_pool) if one is not None)


@frozen
class Part:
    """One series of measurements. planted: what must be told apart; in all others nothing may be."""

    name: str
    samples: Mapping[str, Times]
    reference: str
    bounds: Bounds
    planted: str = ""

    def rows(self) -> list[Row]:
        """Each case, the reference beside the others first."""
        reference, found = self.samples[self.reference], []
        for what, times in self.samples.items():
            others = np.concatenate([some for name, some in self.samples.items() if name != what])
            # Beside all others together, a case differs a little where the reference is one of few: not in a control.
            pool = None if self.planted else compare(others, times, self.bounds)
            beside = compare(reference, times, self.bounds)
            found.append(Row(self.name, what, len(times), float(np.median(times)), beside, pool))
        return sorted(found, key=lambda row: (row.what != self.reference, row.what))

    @property
    def smallest(self) -> float:
        """Milliseconds more in every time of a case that this part would tell."""
        return smallest_shift(self.samples[self.reference], self.bounds)

    @property
    def passes(self) -> bool:
        """Whether nothing is told apart; of what was planted, whether that is."""
        told = {row.what for row in self.rows() if row.told_apart}
        return self.planted in told if self.planted else not told


def table(parts: Iterable[Part]) -> str:
    """Everything, with what counts as told apart above it."""
    lines = []
    for part in parts:
        rows = part.rows()
        bound = f"AUC within 0.5 +- {rows[-1].beside_reference.auc_bound:.3f}"
        t_bound = rows[-1].beside_reference.t_bound
        bound += f", |t| below {t_bound}" if t_bound is not None else ""
        lines += [f"{part.name}: {rows[0].count} of each; {bound}; tells {part.smallest * 1000:.0f} us and more", ""]
        lines.append(f"  {'':28}{'median':>11}{'shift':>10}{'AUC':>8}{'t':>8}{'crop':>6}   beside the others: AUC, t")
        for row in rows:
            beside, pool = row.beside_reference, row.beside_pool
            line = f"  {row.what:28}{row.median:8.3f} ms{beside.shift * 1000:+7.0f} us"
            line += f"{beside.auc:8.3f}{beside.t:8.2f}{'p' + str(beside.crop):>6}"
            line += f"{'':12}{pool.auc:8.3f}{pool.t:8.2f}" if pool is not None else ""
            lines.append(line + ("   TOLD APART" if row.told_apart else ""))
        what = f"planted, and {'caught' if part.passes else 'NOT CAUGHT'}" if part.planted else _verdict(part)
        lines += ["", f"  {what}", ""]
    return "\n".join(lines)


def _verdict(part: Part) -> str:
    count = min(map(len, part.samples.values()))
    return f"not told apart at N = {count}" if part.passes else f"TOLD APART at N = {count}"


def comparisons() -> str:
    """How often chance alone tells something apart."""
    return (
        f"Each case is compared {len(CROPS)} times by t, and once by AUC, with the reference, and as often with all others\n"
        "together: some 600 comparisons in a run. A t of 4.5 comes by chance in 150,000 comparisons once, an AUC beyond its\n"
        "bound in 60,000 at most: of runs in which all cases are alike, one in some 300 fails.\n"
    )


def write(parts: Iterable[Part], folder: Path) -> Path:
    """Leave table.txt, table.json, samples.csv and timing.png in a folder; returns the picture's path."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = list(parts)
    (folder / "table.txt").write_text(f"{table(parts)}\n{comparisons()}")
    rows = [asdict(row) | {"told_apart": row.told_apart} for part in parts for row in part.rows()]
    (folder / "table.json").write_text(json.dumps(rows, indent=1))
    with (folder / "samples.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["part", "case", "milliseconds"])
        out.writerows(
            [part.name, what, f"{one:.6f}"] for part in parts for what, times in part.samples.items() for one in times
        )
    return draw(parts, folder / "timing.png")


def draw(parts: list[Part], path: Path) -> Path:
    """A panel for each part: every case's spread from p5 to p95, its middle half and its median, and its AUC."""
    height = sum(1.2 + 0.3 * len(part.samples) for part in parts)
    ratios = [1.2 + 0.3 * len(part.samples) for part in parts]
    figure, panels = plt.subplots(len(parts), 1, figsize=(11, height), height_ratios=ratios, squeeze=False)
    for panel, part in zip(panels[:, 0], parts, strict=True):
        _draw_part(panel, part)
    figure.tight_layout(h_pad=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _draw_part(panel: "plt.Axes", part: Part) -> None:
    rows = part.rows()
    edges = {row.what: np.percentile(part.samples[row.what], (5, 25, 50, 75, 95)) for row in rows}
    reference = edges[part.reference][2]
    for place, row in enumerate(rows):
        low, first, middle, third, high = edges[row.what]
        colour = ASIDE if row.what == part.reference else CAUGHT if row.told_apart else PLAIN
        panel.plot([low, high], [place, place], color=colour, linewidth=1.2)
        panel.barh(place, third - first, left=first, height=0.55, color=colour, alpha=0.45)
        panel.plot([middle, middle], [place - 0.32, place + 0.32], color=colour, linewidth=2.5)
        note = "reference" if row.what == part.reference else f"AUC {row.beside_reference.auc:.3f}"
        note += "  told apart" if row.told_apart else ""
        panel.annotate(note, (1.005, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=colour)
    panel.axvline(reference, color=ASIDE, linewidth=0.8, linestyle="--", zorder=0)
    panel.set_yticks(range(len(rows)), [row.what for row in rows], fontsize=8)
    panel.invert_yaxis()
    panel.set_xlabel("ms from the last answer to the denial (bar: middle half, tick: median, line: p5 to p95)", fontsize=8)
    panel.tick_params(axis="x", labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    caught = ("caught" if part.passes else "NOT CAUGHT") if part.planted else _verdict(part)
    panel.set_title(f"{part.name}: {caught}", fontsize=10, loc="left", fontweight="bold")
