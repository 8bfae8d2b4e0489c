"""Figures: the small decisions that make them legible, and that each kind is drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.report import example
from veritem.report.content import figures_of
from veritem.report.figures import draw, frequency_tick, image_limits, palette, round_length, series_colours
from veritem.report.files import MissingData
from veritem.report.illustrations import illustrate
from veritem.results import ImageFigure, Panel, Series


@pytest.mark.parametrize(
    ("longest", "bar"), [(0.7, 0.5), (1.0, 1.0), (4.99, 2.0), (5.0, 5.0), (37.7, 20.0), (99.0, 50.0), (120.0, 100.0)]
)
def test_scale_bar_has_a_round_length_that_fits(longest, bar):
    assert round_length(longest) == pytest.approx(bar)


def test_ticks_of_a_frequency_axis_also_tell_angstrom():
    assert frequency_tick(0.25, 1) == "0.25\n4 Å"
    assert frequency_tick(0.01, 2) == "0.01\n10 Å"
    assert frequency_tick(0.0, 1) == "0\n∞"


def test_image_limits_are_the_1_and_99_percent_quantiles():
    image = np.linspace(0.0, 100.0, 10_001).reshape(1, -1)
    assert image_limits(image, None) == pytest.approx((1.0, 99.0))
    assert image_limits(image, (3.0, 4.0)) == (3.0, 4.0)


@pytest.mark.parametrize("image", [np.full((4, 4), 7.0), np.full((4, 4), np.nan)])
def test_flat_and_empty_images_get_limits_that_can_be_drawn(image):
    low, high = image_limits(image, None)
    assert low < high


def test_rainbows_are_replaced_by_palettes_that_keep_order():
    assert palette("jet").name == "viridis"
    assert palette("no such palette").name == "viridis"
    assert palette("magma").name == "magma"


def test_curves_of_one_role_get_different_colours_and_roles_the_same_one_everywhere():
    one = Series(label="a", x=(0.0,), y=(0.0,))
    colours = series_colours([one, one, one])
    assert len(set(colours)) == 3
    assert series_colours([one])[0] == colours[0]


def test_every_kind_of_figure_is_drawn_and_lost_data_become_a_note(rendered):
    result, folder = rendered
    drawn = illustrate(result, folder)
    assert len(drawn) == len(list(figures_of(result)))
    kinds = {i.figure.kind for i in drawn.values()}
    assert kinds == {"curves", "histogram", "images", "surface", "intervals"}
    for illustration in drawn.values():
        if illustration.figure.key == "lost":
            assert "not-there.npz is missing" in illustration.note
        else:
            assert illustration.note == ""
            start = b"<?xml" if illustration.kind == "svg" else b"\x89PNG"
            assert illustration.data.startswith(start)
            assert 1 < illustration.width < 7


def test_the_same_figure_is_the_same_bytes(rendered):
    result, folder = rendered
    first, second = illustrate(result, folder), illustrate(result, folder)
    assert all(first[name].data == second[name].data for name in first)


def test_figures_can_be_drawn_from_memory():
    image = np.arange(12.0).reshape(3, 4)
    figure = ImageFigure(
        key="k", title="t", caption="c", alt_text="a", panels=(Panel(label="p", image="i"),), pixel_size=1.0,
        arrays={"i": image},
    )  # fmt: skip
    kind, data = draw(figure, figure.arrays)
    assert kind == "png" and len(data) > 1000


def test_an_array_that_a_figure_names_but_nobody_stored_is_named():
    figure = ImageFigure(
        key="k",
        title="The title",
        caption="c",
        alt_text="a",
        panels=(Panel(label="p", image="absent"),),
        pixel_size=1.0,
    )
    with pytest.raises(MissingData, match=r"'absent' of the figure 'The title'"):
        draw(figure, {})


def test_phantom_of_the_example_is_off_no_axis():
    """The example's map must have a surface in every view, or the tests above would prove nothing."""
    assert (example.phantom() > example.LEVEL).sum() > 5000


def picture_of(figure, arrays):
    _, data = draw(figure, arrays)
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_rows_of_an_image_go_up_as_in_pictures_of_surfaces():
    """Red where y is high and x low: the upper left."""
    image = np.full((20, 20), 0.5)
    image[12:18, 2:8] = 1.0
    figure = ImageFigure(
        key="k", title="t", caption="", alt_text="", panels=(Panel(label="", image="i", palette="bwr", limits=(0, 1)),),
        pixel_size=1.0,
    )  # fmt: skip
    picture = picture_of(figure, {"i": image})
    red = (picture[..., 0] > 200) & (picture[..., 2] < 80)
    rows, columns = np.nonzero(red)
    assert rows.mean() < 0.5 * picture.shape[0] and columns.mean() < 0.5 * picture.shape[1]


def test_panels_of_a_box_of_unequal_edges_have_one_scale():
    """Red bars of 10 pixels in images of 40, 30 and 20 columns, the last with a key: as long in each."""
    arrays, panels = {}, []
    for name, shape in (("a", (30, 40)), ("b", (20, 30)), ("c", (40, 20))):
        arrays[name] = np.full(shape, 0.5)
        arrays[name][9:12, 5:15] = 1.0
        panels.append(Panel(label=name, image=name, palette="bwr", limits=(0, 1), show_key=name == "c"))
    figure = ImageFigure(
        key="k", title="t", caption="", alt_text="", panels=tuple(panels), pixel_size=1.0
    )  # fmt: skip
    picture = picture_of(figure, arrays)
    # The key lies in the lowest quarter and holds red too.
    picture = picture[: int(0.75 * picture.shape[0])]
    red = ((picture[..., 0] > 200) & (picture[..., 2] < 80)).any(axis=0)
    edges = np.flatnonzero(np.diff(red.astype(int)))
    lengths = np.diff(edges)[::2]
    assert len(lengths) == 3
    # Panels begin at fractions of a pixel of the picture: one pixel more or less at each end.
    assert np.ptp(lengths) <= 2
