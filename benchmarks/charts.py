"""How figures are drawn: as SVG, in the same bytes for the same figures.

What is drawn of each benchmark stands in `pictures.py`.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

_OURS: Final = "#0b7285"
_OTHERS: Final = "#adb5bd"
_ROW: Final = 0.32  # inches
_LINES: Final = (
    *("#e8590c", "#c2255c", "#868e96", "#5f3dc4"),
    *("#2b8a3e", "#f2b90f", "#8d5524", "#f783ac"),
)
_SMOOTHED: Final = 3  # seconds
_WHOLE: Final = 100
"""From where on a tenth says nothing."""

Drawn = Any
"""A figure of matplotlib, which brings no types."""


def bar_chart(
    title: str, unit: str, figures: Mapping[str, Mapping[str, float]]
) -> Drawn:
    """Draw a panel of bars for each setting, a bar for each contender in it.

    Args:
        title: Above all panels.
        unit: Of the figures.
        figures: By setting, and in it by contender; ours begin with server_kit or
            resilient_http.

    """
    plots = _matplotlib()
    rows = [len(it) for it in figures.values()]
    size = (9, _ROW * sum(rows) + 0.9 * len(rows) + 0.5)
    picture, panels = plots.subplots(
        len(rows),
        1,
        figsize=size,
        squeeze=False,
        height_ratios=rows,
        layout="constrained",
    )
    picture.suptitle(title, x=0.01, ha="left", weight="bold")
    for panel, (setting, found) in zip(panels[:, 0], figures.items(), strict=True):
        names = list(found)[::-1]
        values = [found[it] for it in names]
        drawn = panel.barh(names, values, color=[_colour(it) for it in names])
        panel.bar_label(drawn, fmt=_label, padding=3, fontsize=8)
        panel.set_title(f"{setting}: {unit}", loc="left", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.1)
    return picture


def line_chart(
    title: str,
    lines: Mapping[str, Sequence[float]],
    *,
    shaded: tuple[float, float],
) -> Drawn:
    """Draw shares over time, a line for each contender.

    Args:
        title: Above it.
        lines: By contender, a share for each second; the last is drawn on top.
        shaded: From which second to which the background is darker.

    """
    plots = _matplotlib()
    picture, panel = plots.subplots(figsize=(9, 4), layout="constrained")
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
    return picture


def save(drawn: Drawn, path: Path, source: str) -> None:
    """Write what was drawn to a file, which names where its figures are from."""
    path.parent.mkdir(exist_ok=True)
    # Without the date, which would be another each time.
    drawn.savefig(path, metadata={"Date": None, "Source": source})
    _matplotlib().close(drawn)


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


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:.1f}"
