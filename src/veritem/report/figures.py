"""Every kind of figure, drawn with matplotlib in one style: for print, and for pages without scripts.

No pyplot: nothing here touches a display or shares state between figures.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager, ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from veritem.report.files import MissingData
from veritem.report.raycast import render_surface
from veritem.results import (
    CurveFigure,
    Figure,
    HistogramFigure,
    ImageFigure,
    IntervalFigure,
    Marker,
    Series,
    SurfaceFigure,
    format_number,
)

FONTS = Path(__file__).parent / "assets" / "fonts"
# Inches; the width of the text on an A4 page.
WIDTH = 6.7
TALLEST = 6.0
# Of images: room for a panel's name, between panels, and the height of a key.
TITLE, GAP, KEY = 0.26, 0.10, 0.09
DOTS_PER_INCH = 200

ROLE_COLOURS = {
    "data": "#1b5e94",
    "model": "#b8500f",
    "expected": "#5d6874",
    "corrected": "#00766a",
    "other": "#7a4ba0",
}
MARKER_COLOURS = {"limit": "#a3210f", "reported": "#5b3fa0", "note": "#525d69"}
OUTLINE = "#ff9a1f"
# Unknown voxels: as grey on a surface as the ray-caster draws them, lighter where they fill most of a slice.
UNKNOWN = "#9ea3ab"
UNKNOWN_IN_SLICE = "#d3d8dd"
INK = "#1d2329"
QUIET = "#5d6874"
# Palettes that invent steps where the data have none are never drawn, whoever asks.
REPLACED_PALETTES = {"jet": "viridis", "rainbow": "viridis", "hsv": "twilight", "gist_rainbow": "viridis"}

_STYLE: dict[str, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e7eb",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    # The ids inside an SVG are hashed with this salt: the same figure, the same bytes.
    "svg.hashsalt": "veritem",
    "mathtext.default": "regular",
}


@cache
def _font_family() -> str:
    for path in sorted(FONTS.glob("*.ttf")):
        font_manager.fontManager.addfont(path)
    return font_manager.FontProperties(fname=FONTS / "SourceSans3-Regular.ttf").get_name()


def draw(figure: Figure, arrays: Mapping[str, NDArray]) -> tuple[str, bytes]:
    """Draw one figure. Returns ("svg" or "png", the file's bytes).

    arrays: those that the figure names; curves and histograms need none.

    Raises MissingData when an array is absent, NoSurface when a level meets no surface.
    """
    style: Any = _STYLE | {"font.family": [_font_family(), "DejaVu Sans"]}
    with matplotlib.rc_context(style):
        if isinstance(figure, CurveFigure):
            return "svg", _svg(_curves(figure))
        if isinstance(figure, HistogramFigure):
            return "svg", _svg(_histogram(figure))
        if isinstance(figure, IntervalFigure):
            return "svg", _svg(_intervals(figure))
        if isinstance(figure, ImageFigure):
            return "png", _png(_images(figure, arrays))
        return "png", _png(_surface(figure, arrays))


def _svg(canvas: Canvas) -> bytes:
    FigureCanvasSVG(canvas)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _png(canvas: Canvas) -> bytes:
    FigureCanvasAgg(canvas)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def array(arrays: Mapping[str, NDArray], figure: Figure, name: str) -> NDArray:
    if name not in arrays:
        raise MissingData(
            f"The array '{name}' of the figure '{figure.title}' is not in {figure.data_file or 'the result'}. "
            "Run the validation again."
        )
    return arrays[name]


# --- curves and histograms ----------------------------------------------------------------------------------


def _curves(figure: CurveFigure) -> Canvas:
    canvas, axes = _plot(2.75)
    colours = series_colours(figure.series)
    for series, colour in zip(figure.series, colours, strict=True):
        _draw_series(axes, series, colour)
    _scales(axes, figure.x_scale, figure.y_scale)
    axes.set_xlabel(figure.x_label)
    axes.set_ylabel(figure.y_label)
    _x_range(axes, [x for s in figure.series for x in s.x])
    _markers(axes, figure.markers)
    _legend(axes, len(figure.series))
    return canvas


def series_colours(series: Sequence[Series]) -> list[str]:
    """The colour of each curve: its role's; a second curve of the same role is lighter, then darker."""
    seen: dict[str, int] = {}
    colours = []
    for one in series:
        turn = seen.get(one.role, 0)
        seen[one.role] = turn + 1
        base = np.array(matplotlib.colors.to_rgb(ROLE_COLOURS[one.role]))
        mixed = (base, 0.55 * base + 0.45, 0.55 * base)[turn % 3]
        red, green, blue = (float(v) for v in mixed)
        colours.append(matplotlib.colors.to_hex((red, green, blue)))
    return colours


def _plot(height: float) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(WIDTH, height), layout="constrained")
    return canvas, canvas.add_subplot()


def _draw_series(axes: Axes, series: Series, colour: str) -> None:
    x, y = np.asarray(series.x, float), np.asarray(series.y, float)
    if series.low is not None and series.high is not None:
        axes.fill_between(x, series.low, series.high, color=colour, alpha=0.18, linewidth=0)
    if series.style == "points":
        axes.plot(x, y, linestyle="none", marker="o", markersize=3, color=colour, label=series.label)
    elif series.style == "step":
        axes.step(x, y, where="mid", color=colour, label=series.label)
    else:
        axes.plot(x, y, color=colour, label=series.label, linestyle="--" if series.style == "dashed" else "-")


def _histogram(figure: HistogramFigure) -> Canvas:
    canvas, axes = _plot(2.5)
    colour = ROLE_COLOURS["data"]
    counts, edges = np.asarray(figure.counts, float), np.asarray(figure.edges, float)
    floor = 0.0
    if figure.y_scale == "log":
        floor = 0.5 * min((c for c in counts if c > 0), default=1.0)
    axes.stairs(counts, edges, fill=True, color=colour, alpha=0.30, baseline=floor)
    axes.stairs(counts, edges, color=colour, linewidth=1.1, baseline=floor, label="observed")
    for series in figure.expected:
        _draw_series(axes, series, ROLE_COLOURS[series.role])
    _scales(axes, "linear", figure.y_scale)
    if figure.y_scale == "log":
        top = max([*counts, *(y for s in figure.expected for y in s.y)], default=1.0)
        axes.set_ylim(floor, 1.6 * max(top, 2 * floor))
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(_tick_text))
    axes.set_xlabel(figure.x_label)
    axes.set_ylabel(figure.y_label)
    _x_range(axes, list(figure.edges))
    _markers(axes, figure.markers)
    _legend(axes, 1 + len(figure.expected))
    return canvas


def _intervals(figure: IntervalFigure) -> Canvas:
    rows = figure.rows
    canvas, axes = _plot(0.75 + 0.24 * len(rows))
    for place, row in enumerate(rows):
        colour = ROLE_COLOURS[row.role]
        if row.low is not None and row.high is not None:
            axes.plot(
                [row.low, row.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt", alpha=0.55
            )
        axes.plot([row.value], [place], marker="o", markersize=4.5, color=colour)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(figure.x_label)
    ends = [v for r in rows for v in (r.low, r.high, r.value) if v is not None] + [m.value for m in figure.markers]
    room = 0.05 * (max(ends) - min(ends)) or 0.1
    axes.set_xlim(min(ends) - room, max(ends) + room)
    for marker in figure.markers:
        axes.axvline(marker.value, color=MARKER_COLOURS[marker.role], linewidth=1.1, linestyle="-.")
    _labels_above(axes, [m for m in figure.markers if m.label])
    return canvas


def _scales(axes: Axes, x_scale: str, y_scale: str) -> None:
    if x_scale == "log":
        axes.set_xscale("log")
    elif x_scale in ("inverse", "inverse_square"):
        power = 1 if x_scale == "inverse" else 2
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: frequency_tick(x, power)))
        axes.xaxis.set_major_locator(ticker.MaxNLocator(8))
    if y_scale != "linear":
        axes.set_yscale(y_scale)


def frequency_tick(frequency: float, power: int) -> str:
    """A tick on an axis of frequency (power 1) or squared frequency (2): the number, and Å below it."""
    if frequency < -1e-12:
        return ""
    if frequency < 1e-12:
        return "0\n∞"
    angstrom = frequency ** (-1.0 / power)
    return f"{frequency:.4g}\n{angstrom:.3g} Å"


def _tick_text(value: float, _: object) -> str:
    return format_number(int(value), 3) if float(value).is_integer() else f"{value:g}".replace("-", "\u2212")


def _x_range(axes: Axes, x: Sequence[float]) -> None:
    finite = [value for value in x if math.isfinite(value)]
    if finite and min(finite) < max(finite):
        axes.set_xlim(min(finite), max(finite))


def _markers(axes: Axes, markers: Sequence[Marker]) -> None:
    """Lines and spans with their names: on x above the plot, in rows where they would overlap; on y at the right."""
    low, high = axes.get_xlim()
    y_low, y_high = axes.get_ylim()
    for marker in markers:
        colour = MARKER_COLOURS[marker.role]
        line: dict[str, Any] = {
            "color": colour,
            "linewidth": 1.1,
            "linestyle": "--" if marker.role == "limit" else "-.",
        }
        if marker.axis == "x":
            low, high = min(low, marker.value), max(high, marker.value if marker.end is None else marker.end)
            if marker.end is not None:
                axes.axvspan(marker.value, marker.end, color=colour, alpha=0.09, linewidth=0)
            else:
                axes.axvline(marker.value, **line)
        else:
            y_low, y_high = min(y_low, marker.value), max(y_high, marker.value if marker.end is None else marker.end)
            if marker.end is not None:
                axes.axhspan(marker.value, marker.end, color=colour, alpha=0.09, linewidth=0)
            else:
                axes.axhline(marker.value, **line)
    axes.set_xlim(low, high)
    # A line on the very edge of the plot would be taken for its frame.
    shown = [m.value for m in markers if m.axis == "y"]
    if shown and axes.get_yscale() == "linear":
        room = 0.04 * (y_high - y_low)
        y_low, y_high = min(y_low, min(shown) - room), max(y_high, max(shown) + room)
    axes.set_ylim(y_low, y_high)
    _labels_above(axes, [m for m in markers if m.axis == "x" and m.label])
    right = blended_transform_factory(axes.transAxes, axes.transData)
    for marker in markers:
        if marker.axis == "y" and marker.label:
            middle = marker.value if marker.end is None else 0.5 * (marker.value + marker.end)
            axes.text(
                1.008, middle, marker.label, transform=right, va="center", ha="left", fontsize=7.5,
                color=MARKER_COLOURS[marker.role],
            )  # fmt: skip


def _labels_above(axes: Axes, markers: Sequence[Marker]) -> None:
    # In points; the axes are about 5.6 inches wide whatever their labels, near enough to keep names apart.
    width, letter, row_height = 5.6 * 72, 3.9, 10.0
    rows: list[list[tuple[float, float]]] = []
    placed = []
    to_axes = axes.transData + axes.transAxes.inverted()
    for marker in sorted(markers, key=lambda m: m.value):
        middle = marker.value if marker.end is None else 0.5 * (marker.value + marker.end)
        place = float(to_axes.transform((middle, axes.get_ylim()[0]))[0])
        half = 0.5 * letter * len(marker.label) / width
        centre = min(max(place, half), 1 - half) if half < 0.5 else 0.5
        span = (centre - half - 0.008, centre + half + 0.008)
        row = next((i for i, row in enumerate(rows) if all(span[1] < a or span[0] > b for a, b in row)), len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(span)
        placed.append((marker, centre, row))
    for marker, centre, row in placed:
        axes.annotate(
            marker.label,
            xy=(centre, 1.0),
            xycoords="axes fraction",
            xytext=(0, 4 + row * row_height),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7.5,
            color=MARKER_COLOURS[marker.role],
        )


def _legend(axes: Axes, curves: int) -> None:
    """Names below the plot, in as many columns as fit: a letter takes about 0.06 inches, a sample of the line 0.5."""
    if curves < 2:
        return
    handles, labels = axes.get_legend_handles_labels()
    lengths = [0.06 * len(text) + 0.5 for text in labels]

    def fits(columns: int) -> bool:
        # matplotlib fills a legend column by column.
        rows = -(-len(lengths) // columns)
        return sum(max(lengths[i : i + rows]) for i in range(0, len(lengths), rows)) < WIDTH

    columns = next((n for n in range(len(labels), 1, -1) if fits(n)), 1)
    canvas = axes.get_figure(root=True)
    assert canvas is not None
    canvas.set_figheight(canvas.get_figheight() + 0.17 * (-(-len(labels) // columns) - 1))
    axes.figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=2.2, columnspacing=1.6)


# --- images -------------------------------------------------------------------------------------------------


def palette(name: str) -> Any:
    """A matplotlib palette with a colour for 'unknown'; a misleading one is replaced, an unknown name gives viridis."""
    name = REPLACED_PALETTES.get(name, name)
    if name not in matplotlib.colormaps:
        name = "viridis"
    return matplotlib.colormaps[name].with_extremes(bad=UNKNOWN_IN_SLICE)


def image_limits(image: NDArray, given: tuple[float, float] | None) -> tuple[float, float]:
    """The grey values shown as darkest and brightest: those given, else the 1 % and 99 % quantiles."""
    if given is not None:
        return given
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, (1, 99)))
    if low == high:
        low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _images(figure: ImageFigure, arrays: Mapping[str, NDArray]) -> Canvas:
    images = [np.asarray(array(arrays, figure, p.image), float) for p in figure.panels]
    columns = max(1, min(figure.columns, len(images)))
    starts = range(0, len(images), columns)
    # Every panel shows the same number of pixels at the same size, so that all are at one scale in any box. The places
    # are set here, in inches: a layout that makes itself gives panels with a key less room than those without.
    tallest = max(image.shape[0] for image in images)
    widest = max(image.shape[1] for image in images)
    # A lone image needs no full width; a slice of 100 pixels 17 cm wide shows nothing more.
    width = WIDTH * {1: 0.44, 2: 0.74}.get(columns, 1.0)
    keys = [0.62 if any(p.show_key for p in figure.panels[i : i + columns]) else 0.0 for i in starts]
    fixed = len(starts) * (TITLE + GAP) + sum(keys)
    panel_width = (width - GAP * (columns - 1)) / columns
    # Tall pictures are drawn smaller, so that a figure and its caption leave room on a page.
    panel_width = min(panel_width, max(0.5, (TALLEST - fixed) / len(starts) * widest / tallest))
    panel_height = panel_width * tallest / widest
    # A letter of a panel's name takes about 0.066 inches.
    longest = max(len(p.label) for p in figure.panels)
    pitch = min(max(panel_width, 0.066 * longest), (WIDTH - GAP * (columns - 1)) / columns) + GAP
    width, height = columns * pitch - GAP, len(starts) * panel_height + fixed
    canvas = Canvas(figsize=(width, height))

    def place(left: float, bottom: float, wide: float, high: float) -> Axes:
        return canvas.add_axes((left / width, bottom / height, wide / width, high / height))

    tops = [height - sum(keys[:r]) - r * (panel_height + TITLE + GAP) - TITLE for r in range(len(starts))]
    lefts = [c * pitch + 0.5 * (pitch - GAP - panel_width) for c in range(columns)]
    grid = [
        place(lefts[i % columns], tops[i // columns] - panel_height, panel_width, panel_height)
        for i in range(len(images))
    ]
    bar = round_length(0.3 * min(image.shape[1] for image in images) * figure.pixel_size)
    drawn = []
    for axes, spec, image in zip(grid, figure.panels, images, strict=True):
        low, high = image_limits(image, spec.limits)
        drawn.append(
            axes.imshow(
                np.ma.masked_invalid(image),
                cmap=palette(spec.palette),
                vmin=low,
                vmax=high,
                interpolation="bilinear",
                # Rows go up, as in the pictures of surfaces: one report has one hand.
                origin="lower",
            )
        )
        if spec.outline is not None:
            mask = np.asarray(array(arrays, figure, spec.outline), float)
            if mask.min() < 0.5 < mask.max():
                axes.contour(mask, levels=[0.5], colors=[OUTLINE], linewidths=0.8)
        rows_high, wide = image.shape
        axes.set_xlim(0.5 * (wide - widest) - 0.5, 0.5 * (wide + widest) - 0.5)
        axes.set_ylim(0.5 * (rows_high - tallest) - 0.5, 0.5 * (rows_high + tallest) - 0.5)
        axes.set_facecolor("none")
        axes.set_title(spec.label, pad=4)
        _bare(axes)
        if figure.length_unit:
            dark = _light_corner(drawn[-1], image)
            _scale_bar(axes, image.shape[1], image.shape[0], bar, figure.pixel_size, dark, figure.length_unit)
    for start, top in zip(starts, tops, strict=True):
        row = range(start, min(start + columns, len(images)))
        keyed = [i for i in row if figure.panels[i].show_key]
        alike = {(figure.panels[i].palette, drawn[i].get_clim()) for i in row}
        below = top - panel_height - 0.18
        if keyed and len(alike) == 1:
            # One key for a row of panels that share their palette and its limits.
            whole = lefts[len(row) - 1] + panel_width - lefts[0]
            share = 0.92 if len(row) == 1 else 0.5
            key = place(lefts[0] + 0.5 * (1 - share) * whole, below, share * whole, KEY)
            _key_style(canvas.colorbar(drawn[keyed[0]], cax=key, orientation="horizontal"), figure.value_label)
            continue
        for i in keyed:
            key = place(lefts[i - start] + 0.04 * panel_width, below, 0.92 * panel_width, KEY)
            _key_style(canvas.colorbar(drawn[i], cax=key, orientation="horizontal"), figure.value_label)
    return canvas


def _bare(axes: Axes) -> None:
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _key_style(key: Any, label: str) -> None:
    key.outline.set_linewidth(0)
    key.ax.tick_params(labelsize=7.5, length=2.5, width=0.6)
    key.ax.grid(False)
    if label:
        key.set_label(label, fontsize=8)


def round_length(longest: float) -> float:
    """The largest of 1, 2 or 5 times a power of ten that is not above `longest`."""
    if longest <= 0 or not math.isfinite(longest):
        return 1.0
    power = 10.0 ** math.floor(math.log10(longest))
    return next(step * power for step in (5.0, 2.0, 1.0) if step * power <= longest * (1 + 1e-9))


def _light_corner(drawn: Any, image: NDArray) -> bool:
    """Whether the lower left of a picture, where the scale bar goes, is light."""
    height, width = image.shape
    corner = np.ma.masked_invalid(image[: max(1, int(0.15 * height)), : max(1, int(0.4 * width))])
    return bool(drawn.to_rgba(corner)[..., :3].mean() > 0.55)


def _scale_bar(
    axes: Axes, width: float, height: float, length: float, pixel_size: float, dark: bool, unit: str
) -> None:
    """A bar of `length` at the lower left; x and y of the axes are pixels, y upwards. dark: for a light ground."""
    bar = length / pixel_size
    x, y, thickness = 0.05 * width, 0.05 * height, max(0.011 * height, 0.4)
    ink, rim = (INK, "white") if dark else ("white", "#111418")
    axes.add_patch(Rectangle((x - 0.5, y), bar, thickness, facecolor=ink, edgecolor=rim, linewidth=0.5))
    text = axes.text(
        x + bar / 2, y + 2.2 * thickness, f"{length:g} {unit}", color=ink, ha="center", va="bottom", fontsize=7.5
    )
    text.set_path_effects([withStroke(linewidth=1.8, foreground=rim)])


# --- surfaces -----------------------------------------------------------------------------------------------


def _surface(figure: SurfaceFigure, arrays: Mapping[str, NDArray]) -> Canvas:
    colour = arrays.get("colour")
    limits = figure.colour_limits
    if colour is not None and limits is None:
        limits = image_limits(np.asarray(colour)[np.asarray(arrays["volume"]) >= figure.level], None)
    palette_name = REPLACED_PALETTES.get(figure.palette, figure.palette)
    picture = render_surface(
        array(arrays, figure, "volume"),
        figure.level,
        figure.pixel_size,
        colour=colour,
        colour_limits=limits,
        palette=palette_name,
    )
    widths = [view.image.shape[1] for view in picture.views]
    heights = [view.image.shape[0] for view in picture.views]
    gap = 0.04 * max(widths)
    pixels = sum(widths) + gap * (len(widths) + 1)
    # One scale for the three views; a tall particle must not make a figure taller than 3.4 inches.
    inch_per_pixel = min(WIDTH / pixels, 3.4 / max(heights))
    key_height = 0.66 if colour is not None else 0.0
    foot, head = 0.36, 0.24
    height = max(heights) * inch_per_pixel + head + foot + key_height
    canvas = Canvas(figsize=(WIDTH, height))
    left = 0.5 * (WIDTH - pixels * inch_per_pixel) + gap * inch_per_pixel
    middle = (key_height + foot + 0.5 * max(heights) * inch_per_pixel) / height
    for view, w, h in zip(picture.views, widths, heights, strict=True):
        size = (w * inch_per_pixel / WIDTH, h * inch_per_pixel / height)
        axes = canvas.add_axes((left / WIDTH, middle - size[1] / 2, *size))
        axes.imshow(view.image, interpolation="antialiased", aspect="auto")
        _bare(axes)
        axes.patch.set_alpha(0)
        canvas.text(
            (left + w * inch_per_pixel / 2) / WIDTH, 1 - 0.02 / height, f"{view.label}  ({view.right} →, {view.up} ↑)",
            ha="center", va="top", fontsize=8,
        )  # fmt: skip
        left += (w + gap) * inch_per_pixel
    if figure.length_unit:
        _bar_below(canvas, picture.angstrom_per_pixel / inch_per_pixel, key_height, height, figure.length_unit)
    if picture.outside > 0:
        note = f"{100 * picture.outside:.2g} % of what lies above the level is outside this frame"
        canvas.text(0.995, (key_height + 0.06) / height, note, ha="right", va="bottom", fontsize=7, color=QUIET)
    if colour is not None and limits is not None:
        key_axes = canvas.add_axes((0.3, 0.46 / height, 0.4, 0.10 / height))
        mappable = ScalarMappable(Normalize(*limits), palette(palette_name))
        _key_style(canvas.colorbar(mappable, cax=key_axes, orientation="horizontal"), figure.colour_label)
        canvas.patches.append(
            Rectangle((0.74, 0.46 / height), 0.018, 0.10 / height, transform=canvas.transFigure, facecolor=UNKNOWN)
        )
        canvas.text(0.765, 0.51 / height, "not determinable", fontsize=7.5, va="center")
    return canvas


def _bar_below(canvas: Canvas, angstrom_per_inch: float, key_height: float, height: float, unit: str) -> None:
    """A scale bar under the views, for all of them."""
    length = round_length(1.3 * angstrom_per_inch)
    width = length / angstrom_per_inch / WIDTH
    y = (key_height + 0.22) / height
    canvas.patches.append(
        Rectangle((0.5 - width / 2, y), width, 0.022 / height, transform=canvas.transFigure, facecolor=INK)
    )
    canvas.text(0.5, y - 0.03 / height, f"{length:g} {unit}", ha="center", va="top", fontsize=7.5)
