"""Figures as pictures: SVG, the same bytes for the same figures."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

CHARTS: Final = Path(__file__).parent / "charts"

_OURS: Final = "#0b7285"
_OTHERS: Final = "#adb5bd"
_ROW: Final = 0.32  # inches
_LINES: Final = ("#e8590c", "#c2255c", "#868e96", "#5f3dc4", "#2b8a3e", "#e67700")
_SMOOTHED: Final = 3  # seconds


def bar_chart(
    name: str, title: str, unit: str, figures: Mapping[str, Mapping[str, float]]
) -> Path:
    """Draw a panel of bars for each setting, a bar for each contender in it.

    Args:
        name: What the file is called by.
        title: Above all panels.
        unit: Of the figures.
        figures: By setting, and in it by contender; ours begin with server_kit or
            resilient_http.

    Returns:
        Where it is.

    """
    plots = _matplotlib()
    rows = [len(it) for it in figures.values()]
    size = (9, _ROW * sum(rows) + 0.9 * len(rows) + 0.5)
    picture, panels = plots.subplots(
        len(rows), 1, figsize=size, squeeze=False, height_ratios=rows
    )
    picture.suptitle(title, x=0.01, ha="left", weight="bold")
    for panel, (setting, found) in zip(panels[:, 0], figures.items(), strict=True):
        names = list(found)[::-1]
        values = [found[it] for it in names]
        drawn = panel.barh(names, values, color=[_colour(it) for it in names])
        panel.bar_label(drawn, fmt="%.1f", padding=3, fontsize=8)
        panel.set_title(f"{setting}: {unit}", loc="left", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.1)
    picture.tight_layout()
    return _saved(picture, name)


def line_chart(
    name: str,
    title: str,
    lines: Mapping[str, Sequence[float]],
    *,
    shaded: tuple[float, float],
) -> Path:
    """Draw shares over time, a line for each contender.

    Args:
        name: What the file is called by.
        title: Above it.
        lines: By contender, a share for each second; the last is drawn on top.
        shaded: From which second to which the background is darker.

    Returns:
        Where it is.

    """
    plots = _matplotlib()
    picture, panel = plots.subplots(figsize=(9, 4))
    panel.set_title(title, loc="left", weight="bold", fontsize=10)
    panel.axvspan(*shaded, color="#f1f3f5")
    others = iter(_LINES * len(lines))
    for contender, shares in lines.items():
        is_ours = contender == list(lines)[-1]
        colour, width = (_OURS, 2.2) if is_ours else (next(others), 1.1)
        smooth = [
            sum(shares[max(0, at - _SMOOTHED + 1) : at + 1]) / min(at + 1, _SMOOTHED)
            for at in range(len(shares))
        ]
        panel.plot(smooth, color=colour, linewidth=width, label=contender)
    panel.set_ylim(0, 1.25)
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    panel.set_xlabel("seconds", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    picture.tight_layout()
    return _saved(picture, name)


def _matplotlib() -> Any:
    matplotlib = import_module("matplotlib")
    matplotlib.use("svg")
    # Or each run would draw the same picture in other bytes.
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    return import_module("matplotlib.pyplot")


def _colour(contender: str) -> str:
    ours = contender.startswith(("server_kit", "resilient_http"))
    return _OURS if ours else _OTHERS


def _saved(picture: Any, name: str) -> Path:
    CHARTS.mkdir(exist_ok=True)
    path = CHARTS / f"{name}.svg"
    picture.savefig(path, metadata={"Date": None})
    return path
