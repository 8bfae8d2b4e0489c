"""Maps written here byte by byte, so that what must come out is known."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import itertools
import lzma
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.submission.written_maps import blob, em, mrc
from veritem.results import InputFile, Problem, Severity
from veritem.submission import read_map
from veritem.submission.map_file import LARGEST_AXIS, MOST_TRAILING

# Whole numbers from 0 to 15, so that every mode holds them exactly; no axis or mirror of it is like another.
EXACT = np.round(blob((33, 35, 38), (12.0, 19.5, 15.2), 5.0) * 0.15).astype(np.float32)


def read(folder: Path, content: bytes, name: str = "map.mrc", **options):
    path = folder / name
    path.write_bytes(content)
    return read_map(path, **options)


def codes(problems: tuple[Problem, ...], severity: Severity | None = None) -> list[str]:
    return [problem.code for problem in problems if severity in (None, problem.severity)]


def only_error(result: tuple[object, InputFile, tuple[Problem, ...]]) -> Problem:
    """The one error of a refused file."""
    density_map, _, problems = result
    assert density_map is None
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    assert len(errors) == 1, errors
    return errors[0]


def test_plain_map_is_read_as_it_is(tmp_path):
    content = mrc(EXACT, voxel=(1.06, 1.06, 1.06), origin=(10.5, -20.25, 3.0))
    density_map, record, problems = read(tmp_path, content)
    assert problems == ()
    assert density_map.data.dtype == np.float32 and density_map.data.flags.c_contiguous
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert density_map.pixel_size == 1.06
    assert density_map.origin == (10.5, -20.25, 3.0)
    assert record.size == len(content) and record.name == "map.mrc" and record.role == "map"
    assert record.sha256 == record.sha256_content == hashlib.sha256(content).hexdigest()
    assert "38 × 35 × 33" in record.description and "values 0 to 15" in record.description


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", [0, 1, 2, 6, 12, 101])
def test_every_mode_and_byte_order(tmp_path, mode, order):
    density_map, _, problems = read(tmp_path, mrc(EXACT[:, :, :37], mode=mode, order=order))
    assert problems == ()
    np.testing.assert_array_equal(density_map.data, EXACT[:, :, :37])


@pytest.mark.parametrize("mode", [0, 1, 2, 12])
def test_negative_values_keep_their_sign(tmp_path, mode):
    density_map, _, _ = read(tmp_path, mrc(-EXACT, mode=mode))
    np.testing.assert_array_equal(density_map.data, -EXACT)


def unsigned_bytes(imod: tuple[int, int], maximum: float) -> bytes:
    content = mrc(EXACT, mode=0, imod=imod, statistics=(0.0, maximum, 1.0, 1.0))
    return content[:1024] + (16 * EXACT).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("imod", "maximum", "signed"),
    [
        ((1146047817, 0), 0.0, False),
        ((1146047817, 1), 240.0, True),
        ((0, 0), 240.0, False),
        ((0, 0), 15.0, True),
    ],
)
def test_sign_of_bytes_follows_flags_then_statistics(tmp_path, imod, maximum, signed):
    density_map, _, problems = read(tmp_path, unsigned_bytes(imod, maximum))
    expected = 16 * EXACT
    np.testing.assert_array_equal(
        density_map.data, np.where(expected > 127, expected - 256, expected) if signed else expected
    )
    assert codes(problems) == ([] if signed else ["IN-27"])


@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_axis_order_lands_at_the_same_place(tmp_path, axes, order):
    content = mrc(EXACT, axes=axes, order=order, start=(-3, 5, 40), voxel=(1.5, 1.5, 1.5))
    density_map, _, problems = read(tmp_path, content)
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert density_map.data.flags.c_contiguous
    assert density_map.origin == (-4.5, 7.5, 60.0)
    assert codes(problems) == ([] if axes == (1, 2, 3) else ["IN-05"])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_compression_is_told_from_the_content(tmp_path, pack):
    content = mrc(EXACT)
    packed = pack(content)
    density_map, record, problems = read(tmp_path, packed, "no_ending_that_helps")
    assert problems == ()
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert record.sha256 == hashlib.sha256(packed).hexdigest()
    assert record.sha256_content == hashlib.sha256(content).hexdigest()
    assert record.size == len(packed)


def test_gzip_of_several_members_is_one_content(tmp_path):
    content = mrc(EXACT)
    packed = gzip.compress(content[:5000]) + gzip.compress(content[5000:])
    density_map, record, problems = read(tmp_path, packed)
    assert problems == ()
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert record.sha256_content == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("machine, order", [(6, "<"), (1, "<"), (3, ">"), (5, ">")])
@pytest.mark.parametrize("code, kind", [(1, "i1"), (2, "i2"), (4, "i4"), (5, "f4"), (9, "f8")])
def test_em_format_needs_a_pixel_size(tmp_path, machine, order, code, kind):
    content = em(EXACT, code, machine, order, kind)
    problem = only_error(read(tmp_path, content, "map.em"))
    assert problem.code == "IN-03" and "--pixel-size" in problem.action
    density_map, record, problems = read(tmp_path, content, "map.em", pixel_size=3.0)
    assert problems == () and density_map.pixel_size == 3.0
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert record.sha256 == hashlib.sha256(content).hexdigest()


def test_small_em_file_shorter_than_an_mrc_header(tmp_path):
    data = EXACT[8:16, 16:24, 12:20]
    content = em(data, 1, 6, "<", "i1")
    assert len(content) == 1024  # 512 bytes of header, 512 voxels
    density_map, _, problems = read(tmp_path, content, pixel_size=3.0)
    np.testing.assert_array_equal(density_map.data, data)
    assert codes(problems) == ["IN-03"]
    assert only_error(read(tmp_path, content[:900], pixel_size=3.0)).code == "IN-23"


# --- header fields -------------------------------------------------------------------------------------------


def test_extended_header_is_skipped(tmp_path):
    density_map, _, problems = read(tmp_path, mrc(EXACT, extended=b"symmetry" * 20))
    assert problems == ()
    np.testing.assert_array_equal(density_map.data, EXACT)


def test_statistics_of_the_header_are_not_believed(tmp_path):
    density_map, record, problems = read(tmp_path, mrc(EXACT, statistics=(-7.0, 1e30, float("nan"), -1.0)))
    assert problems == () and "values 0 to 15" in record.description
    np.testing.assert_array_equal(density_map.data, EXACT)


@pytest.mark.parametrize("word", [b"\0\0\0\0", b"MAP\0", b"xyz "])
def test_missing_map_word_is_tolerated(tmp_path, word):
    density_map, _, problems = read(tmp_path, mrc(EXACT, word=word))
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert codes(problems) == ([] if word.startswith(b"MAP") else ["IN-27"])


def test_wrong_machine_stamp_is_overruled_by_the_fields(tmp_path):
    density_map, _, problems = read(tmp_path, mrc(EXACT, order=">", stamp=b"DA\0\0"))
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert codes(problems) == ["IN-27"] and "machine stamp" in problems[0].found


def test_zero_angles_axes_and_sampling_are_taken_as_meant(tmp_path):
    content = bytearray(mrc(EXACT, angles=(0.0, 0.0, 0.0)))
    content[28:40] = bytes(12)
    content[64:76] = bytes(12)
    density_map, _, problems = read(tmp_path, bytes(content))
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert density_map.pixel_size == 2.0
    assert codes(problems) == ["IN-27"]
    for words in ("angles are zero", "MAPC, MAPR and MAPS are zero", "MX is 0 and taken as 38"):
        assert words in problems[0].found


@pytest.mark.parametrize(
    ("start", "origin", "expected", "warned"),
    [
        ((0, 0, 0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), False),
        ((-16, 2, 3), (0.0, 0.0, 0.0), (-32.0, 4.0, 6.0), False),
        ((0, 0, 0), (7.0, 8.0, 9.0), (7.0, 8.0, 9.0), False),
        ((-16, 2, 3), (-32.0, 4.0, 6.0), (-32.0, 4.0, 6.0), False),
        ((-16, 2, 3), (7.0, 8.0, 9.0), (7.0, 8.0, 9.0), True),
        ((-16, 2, 3), (float("nan"), 0.0, 0.0), (-32.0, 4.0, 6.0), True),
        ((2**30, 0, 0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), True),
    ],
)
def test_origin(tmp_path, start, origin, expected, warned):
    density_map, _, problems = read(tmp_path, mrc(EXACT, start=start, origin=origin))
    assert density_map.origin == expected
    assert codes(problems) == (["IN-06"] if warned else [])
    if warned and start[0] == -16 and origin[0] == 7.0:
        assert "(7, 8, 9)" in problems[0].found and "(-32, 4, 6)" in problems[0].found


@pytest.mark.parametrize("ratio, warned", [(1.0005, False), (0.9995, False), (1.002, True), (0.998, True)])
def test_given_pixel_size_is_used_and_a_difference_is_said(tmp_path, ratio, warned):
    given_size = 2.0 * ratio
    density_map, _, problems = read(tmp_path, mrc(EXACT, start=(10, 0, 0)), pixel_size=given_size)
    assert density_map.pixel_size == given_size
    assert density_map.origin == (10 * given_size, 0.0, 0.0)
    assert codes(problems) == (["IN-07"] if warned else [])
    moved, _, _ = read(tmp_path, mrc(EXACT, origin=(10.0, 0.0, 0.0)), pixel_size=given_size)
    assert moved.origin == (10.0, 0.0, 0.0)


@pytest.mark.parametrize("voxel", [0.0, -1.0, float("nan"), float("inf"), 1e-30, 1e30])
def test_unusable_voxel_size_asks_for_one(tmp_path, voxel):
    content = mrc(EXACT, voxel=(voxel,) * 3, start=(5, 0, 0))
    problem = only_error(read(tmp_path, content))
    assert problem.code == "IN-03" and "--pixel-size" in problem.action
    density_map, _, problems = read(tmp_path, content, pixel_size=1.5)
    assert problems == ()
    assert density_map.pixel_size == 1.5 and density_map.origin == (7.5, 0.0, 0.0)


@pytest.mark.parametrize("voxel, warned", [(1.0, True), (1.0001, False), (0.15, True), (35.0, True), (5.0, False)])
def test_pixel_size_that_looks_unset(tmp_path, voxel, warned):
    _, _, problems = read(tmp_path, mrc(EXACT, voxel=(voxel,) * 3))
    assert codes(problems) == (["IN-26"] if warned else [])


def test_pixel_size_of_one_that_was_given_is_believed(tmp_path):
    _, _, problems = read(tmp_path, mrc(EXACT, voxel=(1.0, 1.0, 1.0)), pixel_size=1.0)
    assert problems == ()


@pytest.mark.parametrize("pixel_size", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_pixel_size_is_refused(tmp_path, pixel_size):
    assert only_error(read(tmp_path, mrc(EXACT), pixel_size=pixel_size)).code == "IN-03"


def test_part_of_a_larger_grid_uses_the_cell_by_the_sampling(tmp_path):
    density_map, _, problems = read(tmp_path, mrc(EXACT, sampling=(100, 100, 100), voxel=(1.3, 1.3, 1.3)))
    assert density_map.pixel_size == pytest.approx(1.3, rel=1e-6)
    assert codes(problems) == ["IN-30"]


def test_sampling_of_one_along_every_axis_is_no_stack(tmp_path):
    density_map, _, problems = read(tmp_path, mrc(EXACT, sampling=(1, 1, 1), voxel=(1.3, 1.3, 1.3)))
    assert density_map.shape == EXACT.shape and density_map.pixel_size == pytest.approx(1.3, rel=1e-6)
    assert codes(problems) == ["IN-30"]


@pytest.mark.parametrize("space_group", [0, 1])
def test_space_groups_of_single_particles_are_silent(tmp_path, space_group):
    assert read(tmp_path, mrc(EXACT, space_group=space_group))[2] == ()


def test_crystal_is_said_and_skewed_cell_refused(tmp_path):
    density_map, _, problems = read(tmp_path, mrc(EXACT, space_group=19))
    assert density_map is not None
    assert codes(problems, Severity.INFORMATION) == ["IN-25"] and "space group 19" in problems[0].found
    problem = only_error(read(tmp_path, mrc(EXACT, angles=(90.0, 94.3, 90.0))))
    assert problem.code == "IN-25" and "94.3°" in problem.found


def test_first_volume_of_a_stack_is_read(tmp_path):
    content = mrc(np.concatenate([EXACT, EXACT[::-1]]), sampling=EXACT.shape[::-1], space_group=401)
    density_map, record, problems = read(tmp_path, content)
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert density_map.pixel_size == 2.0
    assert codes(problems) == ["IN-24"] and "2 volumes" in problems[0].found
    assert record.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (mrc(EXACT[:1], space_group=0), "image.mrc", "an image"),
        (mrc(EXACT, sampling=(38, 35, 1), space_group=0), "stack.mrc", "a stack of 33 images"),
        (mrc(EXACT, space_group=0), "particles.mrcs", "a stack of 33 images"),
        (mrc(EXACT, space_group=1), "particles.mrcs", "a stack of 33 images"),
    ],
)
def test_images_are_refused(tmp_path, content, name, words):
    problem = only_error(read(tmp_path, content, name))
    assert problem.code == "IN-24" and words in problem.found and "not its particles" in problem.action


@pytest.mark.parametrize("size, severity", [(7, "error"), (8, "warning"), (31, "warning"), (32, None)])
def test_small_grids(tmp_path, size, severity):
    density_map, _, problems = read(tmp_path, mrc(blob((size, 40, 40), (3, 20, 20), 4.0)))
    assert [(p.code, p.severity) for p in problems] == ([("IN-03", severity)] if severity else [])
    assert (density_map is None) == (severity == "error")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_absurd_sizes_are_refused_before_anything_is_allocated(tmp_path, pack):
    header = bytearray(mrc(EXACT))
    header[0:12] = np.array([2000, 2000, 2000], "<i4").tobytes()
    tracemalloc.start()
    # 32 GB cannot be in a file of 170 kB, packed or not.
    problem = only_error(read(tmp_path, pack(bytes(header))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert problem.code == "IN-23" and peak < 20e6
    header[0:12] = np.array([LARGEST_AXIS + 1, 35, 33], "<i4").tobytes()
    assert only_error(read(tmp_path, pack(bytes(header)))).code == "IN-03"


def test_packed_bomb_stops_early(tmp_path):
    content = mrc(EXACT) + bytes(MOST_TRAILING + 1000)
    problem = only_error(read(tmp_path, gzip.compress(content, 1)))
    assert problem.code == "IN-23" and "far more" in problem.found


@pytest.mark.parametrize("mode, name", [(4, "complex"), (3, "complex"), (16, "colours")])
def test_modes_that_are_no_density(tmp_path, mode, name):
    content = bytearray(mrc(EXACT))
    content[12:16] = mode.to_bytes(4, "little")
    problem = only_error(read(tmp_path, bytes(content)))
    assert problem.code == "IN-02" and name in problem.found


def test_nonsense_behind_the_map_word_is_a_damaged_header(tmp_path):
    content = bytearray(mrc(EXACT))
    content[12:16] = (77).to_bytes(4, "little")
    problem = only_error(read(tmp_path, bytes(content)))
    assert problem.code == "IN-01" and "mode 77" in problem.found


# --- unequal voxels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("voxel", [(1.5, 2.0, 1.7), (2.0, 1.5, 1.5), (1.5, 1.5, 2.9), (1.52, 1.5, 1.51)])
@pytest.mark.parametrize("shape", [(40, 50, 45), (41, 36, 52)])
def test_anisotropic_voxels_become_cubes_and_a_gaussian_stays(tmp_path, voxel, shape):
    """A Gaussian of 6 Å has no power (e^-20) at the Nyquist frequency of 2.9 Å, and is 1e-5 of its height 4.8 sigma
    from the centre, which is the nearest face: interpolation is exact to that level. Allowed are 1e-3 of the width
    and a hundredth of a voxel, ten times more.
    """
    sigma, centre = 6.0, [0.45 * n * v for n, v in zip(shape, reversed(voxel), strict=True)]
    axes = [
        np.exp(-((np.arange(n) * v - c) ** 2) / (2 * sigma**2))
        for n, v, c in zip(shape, reversed(voxel), centre, strict=True)
    ]
    data = (axes[0][:, None, None] * axes[1][:, None] * axes[2]).astype(np.float32)
    density_map, _, problems = read(tmp_path, mrc(data, voxel=voxel, start=(10, 10, 10)))
    assert codes(problems) == ["IN-04"] and problems[0].severity is Severity.WARNING
    pixel = density_map.pixel_size
    assert pixel == min(voxel)
    assert density_map.origin == pytest.approx([10 * v for v in voxel])
    for new, old, v in zip(density_map.shape, shape, reversed(voxel), strict=True):
        assert (old - 1) * v - pixel < (new - 1) * pixel <= (old - 1) * v + 1e-9
    total = density_map.data.sum(dtype=np.float64)
    for axis, c in enumerate(centre):
        profile = density_map.data.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64)
        place = np.arange(len(profile)) * pixel
        mean = (profile * place).sum() / total
        width = ((profile * (place - mean) ** 2).sum() / total) ** 0.5
        assert mean == pytest.approx(c, abs=0.01 * pixel)
        assert width == pytest.approx(sigma, rel=1e-3)


def test_resampling_keeps_every_fourier_coefficient(tmp_path):
    """A wave with whole periods along an axis comes out as the same wave, up to the highest of the old grid."""
    n, old, new = 40, 2.0, 1.5
    for period in (1, 7, 19):
        wave = np.cos(2 * np.pi * period * np.arange(n) / n + 0.3)
        data = np.broadcast_to(wave[:, None, None], (n, 36, 36)).astype(np.float32)
        density_map, _, _ = read(tmp_path, mrc(data, voxel=(new, new, old)))
        place = np.arange(density_map.shape[0]) * new / old
        expected = np.cos(2 * np.pi * period * place / n + 0.3)
        # float32 sums of 40 products of numbers below one.
        np.testing.assert_allclose(density_map.data[:, 5, 5], expected, atol=40 * 2**-23)


def test_rounding_of_the_cell_is_no_anisotropy(tmp_path):
    density_map, _, problems = read(tmp_path, mrc(EXACT, voxel=(1.5, 1.501, 1.5)))
    assert problems == () and density_map.shape == EXACT.shape
    assert density_map.pixel_size == pytest.approx(1.500333, abs=1e-5)


def test_given_pixel_size_says_that_voxels_are_cubes(tmp_path):
    density_map, _, problems = read(tmp_path, mrc(EXACT, voxel=(1.5, 2.0, 1.5)), pixel_size=1.5)
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert codes(problems) == ["IN-07"]


def test_voxels_of_more_than_a_factor_of_two_are_refused(tmp_path):
    problem = only_error(read(tmp_path, mrc(EXACT, voxel=(1.0, 1.0, 2.1))))
    assert problem.code == "IN-04" and "factor of two" in problem.expected


# --- damage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.006, 0.5, 0.999])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gz", "bz2", "xz"])
def test_cut_files(tmp_path, kept, pack):
    content = pack(mrc(np.random.default_rng(1).normal(size=(33, 35, 38)).astype(np.float32)))
    problem = only_error(read(tmp_path, content[: int(kept * len(content))]))
    assert problem.code in {"IN-22", "IN-23", "IN-01"}
    assert problem.code != "IN-01" or kept == 0.001, "a header that is whole is recognised"
    assert "again" in problem.action or "map itself" in problem.action


def test_compressed_content_that_ends_early_with_a_whole_container(tmp_path):
    problem = only_error(read(tmp_path, gzip.compress(mrc(EXACT)[:-10])))
    assert problem.code == "IN-23" and "cut short" in problem.found


def test_flipped_bits_in_a_packed_file_are_noticed(tmp_path):
    packed = bytearray(gzip.compress(mrc(EXACT)))
    packed[len(packed) // 2] ^= 0x10
    assert only_error(read(tmp_path, bytes(packed))).code == "IN-23"


def test_bytes_after_the_last_voxel_are_a_warning(tmp_path):
    content = mrc(EXACT) + b"footer"
    density_map, record, problems = read(tmp_path, content)
    np.testing.assert_array_equal(density_map.data, EXACT)
    assert codes(problems, Severity.WARNING) == ["IN-23"] and "6 bytes" in problems[0].found
    assert record.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("mode", [2, 12])
def test_voxels_that_are_not_numbers_are_counted(tmp_path, mode):
    data = EXACT.copy()
    data[3, 4, 5:9] = np.nan
    data[30, 1, 1:3] = [np.inf, -np.inf]
    problem = only_error(read(tmp_path, mrc(data, mode=mode)))
    assert problem.code == "IN-02"
    assert f"4 NaN and 2 infinite voxels of {data.size}" in problem.found


def test_constant_map(tmp_path):
    problem = only_error(read(tmp_path, mrc(np.full((32, 32, 32), 0.25, np.float32))))
    assert problem.code == "IN-02" and "0.25" in problem.found


def test_all_errors_of_one_file_at_once(tmp_path):
    data = EXACT.copy()
    data[0, 0, 0] = np.nan
    content = mrc(data, voxel=(0.0, 0.0, 0.0), angles=(90.0, 90.0, 120.0), origin=(float("inf"), 0.0, 0.0))
    density_map, _, problems = read(tmp_path, content)
    assert density_map is None
    assert sorted(codes(problems, Severity.ERROR)) == ["IN-02", "IN-03", "IN-25"]
    assert codes(problems, Severity.WARNING) == ["IN-06"]


# --- not a map -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"HEADER    LYASE\nATOM      1  N   MET A   1      27.3  24.4  2.6\n", "atomic model (PDB)"),
        (b"data_1ABC\n_entry.id 1ABC\nloop_\n_atom_site.id\n", "atomic model (mmCIF)"),
        (b"data_\n\nloop_\n_rlnMicrographName #1\n", "STAR or CIF table"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(2000), "HDF5"),
        (b"PK\x03\x04" + bytes(2000), "ZIP"),
        (b"hello", "text"),
        (bytes(4096), "binary data"),
        (bytes(range(256)) * 16, "binary data"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_other_files_are_named(tmp_path, content, what, pack):
    problem = only_error(read(tmp_path, pack(content)))
    assert problem.code == "IN-01" and what in problem.found and "MRC2014" in problem.expected


def test_missing_file_suggests_near_names(tmp_path):
    (tmp_path / "emd_1234.map.gz").write_bytes(b"x")
    problem = only_error(read_map(tmp_path / "EMD-1234.map.gz"))
    assert problem.code == "IN-22" and "Did you mean emd_1234.map.gz?" in problem.action
    problem = only_error(read_map(tmp_path / "no" / "such" / "map.mrc"))
    assert f"{tmp_path} does" in problem.action


@pytest.mark.parametrize("path", ["", "\0", "~nobody_of_this_name/map.mrc", "a" * 5000, "/dev/null"])
def test_impossible_paths(path):
    assert only_error(read_map(path)).code == "IN-22"


def test_folder_pipe_and_empty_file(tmp_path):
    assert "is a folder" in only_error(read_map(tmp_path)).found
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in only_error(read_map(tmp_path / "pipe")).found
    assert "empty" in only_error(read(tmp_path, b"")).found


def test_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "map.mrc").write_bytes(mrc(EXACT))

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # Tests may run as a user who may read everything.
    problem = only_error(read_map(tmp_path / "map.mrc"))
    assert problem.code == "IN-22" and "may not be read" in problem.found and "permissions" in problem.action


def test_file_name_of_any_bytes(tmp_path):
    path = os.fsencode(tmp_path) + b"/m\xff\n.mrc"
    Path(os.fsdecode(path)).write_bytes(mrc(EXACT, space_group=19))
    density_map, record, problems = read_map(os.fsdecode(path))
    assert density_map is not None and codes(problems) == ["IN-25"]
    record.model_dump_json()
    problems[0].model_dump_json()


def test_the_input_is_left_alone(tmp_path):
    path = tmp_path / "map.mrc"
    path.write_bytes(mrc(EXACT, axes=(3, 1, 2)))
    path.chmod(0o444)
    os.utime(path, ns=(10**18, 10**18))
    before = path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode
    density_map, _, _ = read_map(path)
    density_map.data[:] = 0
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.mrc"]


@pytest.mark.parametrize(
    ("options", "pack", "copies"),
    [
        ({}, bytes, 1),
        ({}, gzip.compress, 1),
        ({"axes": (3, 2, 1)}, bytes, 2),
        ({"voxel": (2.0, 2.2, 2.1)}, bytes, 2.35),
    ],
)
def test_memory(tmp_path, options, pack, copies):
    """One copy of the map; two where it is transposed; where it is resampled, the old beside the new (5-16 % larger).

    16 MB besides are the reading buffers (8 MiB and a few of 1 MiB) and the matrices.
    """
    data = np.random.default_rng(2).normal(size=(200, 200, 200)).astype(np.float32)
    path = tmp_path / "map"
    path.write_bytes(pack(mrc(data, **options)))
    tracemalloc.start()
    density_map, _, _ = read_map(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert density_map is not None
    assert peak < copies * data.nbytes + 16e6


# --- nothing but problems ------------------------------------------------------------------------------------

SMALL = mrc(blob((9, 10, 11), (4, 5, 5), 2.0), extended=bytes(80), start=(1, 2, 3), origin=(4.0, 5.0, 6.0))
fuzz = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check_anything(result: tuple) -> None:
    density_map, record, problems = result
    assert isinstance(record, InputFile)
    record.model_dump_json()
    for problem in problems:
        problem.model_dump_json()
    if density_map is None:
        assert codes(problems, Severity.ERROR)
    else:
        assert not codes(problems, Severity.ERROR)
        assert np.isfinite(density_map.data).all() and density_map.data.min() < density_map.data.max()
        assert density_map.pixel_size > 0 and all(np.isfinite(density_map.origin))
        assert min(density_map.shape) >= 8


@fuzz
@given(st.binary(max_size=4000), st.sampled_from([b"", b"\x1f\x8b\x08\0", b"BZh9", b"\xfd7zXZ\0", b"\x06\0\0\x05"]))
def test_random_bytes_raise_nothing(tmp_path, content, start):
    check_anything(read(tmp_path, start + content))


@fuzz
@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 27), st.integers(48, 55), st.integers(0, 255)),
            st.one_of(
                st.integers(-3, 20).map(lambda number: number.to_bytes(4, "little", signed=True)),
                st.integers(-(2**31), 2**31 - 1).map(lambda number: number.to_bytes(4, "little", signed=True)),
                st.floats(width=32).map(lambda number: np.float32(number).tobytes()),
                st.binary(min_size=4, max_size=4),
            ),
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
    st.sampled_from([None, 1.7]),
)
def test_random_header_words_raise_nothing(tmp_path, words, packed, pixel_size):
    content = bytearray(SMALL)
    for word, replacement in words:
        content[4 * word : 4 * word + 4] = replacement
    stored = gzip.compress(bytes(content), 1) if packed else bytes(content)
    check_anything(read(tmp_path, stored, pixel_size=pixel_size))


@fuzz
@given(st.data())
def test_random_damage_of_packed_files_raises_nothing(tmp_path, data):
    pack = data.draw(st.sampled_from([gzip.compress, bz2.compress, lzma.compress]))
    content = bytearray(pack(SMALL))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    check_anything(read(tmp_path, bytes(content[: data.draw(st.integers(1, len(content)))])))
