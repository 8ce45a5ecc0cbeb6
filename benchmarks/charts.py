"""Figures as pictures: SVG, the same bytes for the same figures."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

CHARTS: Final = Path(__file__).parent / "charts"

_OURS: Final = "#0b7285"
_OTHERS: Final = "#adb5bd"
_ROW: Final = 0.32  # inches


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
