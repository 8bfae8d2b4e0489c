"""The ray-caster against what geometry says."""

from __future__ import annotations

import numpy as np
import pytest

from veritem.report.palette import UNKNOWN_COLOUR, colour_table
from veritem.report.raycast import SUPERSAMPLING, VIEWS, NoSurface, render_surface


def ball(n: int, radius: float, centre: tuple[float, float, float] | None = None) -> np.ndarray:
    """Radius minus distance from the centre (z, y, x): its level 0 is a sphere, its gradient has length 1."""
    z, y, x = np.mgrid[:n, :n, :n].astype(np.float32)
    c = centre or ((n - 1) / 2,) * 3
    return radius - np.sqrt((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2)


RADIUS = 20.0


@pytest.fixture(scope="module")
def sphere_picture():
    return render_surface(ball(51, RADIUS), 0.0, 1.0, largest_side=300)


def sample_places(view, picture):
    """Coordinates, in voxels from the sphere's centre, of the supersampled rays: to the right and up."""
    step = picture.angstrom_per_pixel / SUPERSAMPLING
    height, width = view.depth.shape
    right = (np.arange(width) + 0.5) * step
    # Rows run downwards; the last one is the first ray.
    up = (np.arange(height)[::-1] + 0.5) * step
    # The crop is symmetric about the sphere and one voxel of padding lies around it: its middle is the centre.
    extent = 2 * np.ceil(RADIUS + 2) + 2
    return np.meshgrid(right - extent / 2, up - extent / 2), step


def test_silhouette_of_a_sphere_has_the_area_of_a_disc(sphere_picture):
    """Linear interpolation moves the surface by at most 1/(4R) (half a squared voxel times the curvature in two
    directions over 4); counting samples errs by at most half a sample along the rim."""
    for view in sphere_picture.views:
        step = sphere_picture.angstrom_per_pixel / SUPERSAMPLING
        area = np.isfinite(view.depth).sum() * step**2
        rim = 2 * np.pi * RADIUS
        assert abs(area - np.pi * RADIUS**2) < rim * (1 / (4 * RADIUS) + step / 2)


def test_alpha_of_the_picture_covers_the_silhouette(sphere_picture):
    for view in sphere_picture.views:
        step = sphere_picture.angstrom_per_pixel / SUPERSAMPLING
        from_alpha = view.image[..., 3].sum() / 255 * sphere_picture.angstrom_per_pixel**2
        # Alpha is an average of the samples, rounded to 1/255 in the pixels of the rim.
        assert from_alpha == pytest.approx(np.isfinite(view.depth).sum() * step**2, rel=1e-3)


def test_normals_of_a_sphere_point_outwards(sphere_picture):
    """The interpolated field errs by at most 1/(4R) = 0.0125, so each component of a gradient taken over two voxels
    errs by as much, and the direction by at most sqrt(3) of it."""
    for view in sphere_picture.views:
        (right, up), _ = sample_places(view, sphere_picture)
        # Rays that only graze meet the surface at a place that depends steeply on the error of the field.
        facing = np.hypot(right, up) < 0.9 * RADIUS
        assert np.isfinite(view.depth[facing]).all()
        expected = np.stack([right, up, np.sqrt(np.maximum(RADIUS**2 - right**2 - up**2, 0))], -1) / RADIUS
        error = np.linalg.norm(view.normal - expected, axis=-1)[facing]
        assert error.max() < 2 * np.sqrt(3) / (4 * RADIUS)  # twice: the place of the hit errs as the field does


def test_depth_of_a_sphere(sphere_picture):
    """The ray hits where the sphere is, within the shift 1/(4R) of the surface over the cosine of the angle there."""
    for view in sphere_picture.views:
        (right, up), _ = sample_places(view, sphere_picture)
        facing = np.hypot(right, up) < 0.8 * RADIUS
        cosine = np.sqrt(1 - 0.8**2)
        middle = np.ceil(RADIUS + 2) + 1
        expected = middle - np.sqrt(np.maximum(RADIUS**2 - right**2 - up**2, 0))
        assert np.abs(view.depth - expected)[facing].max() < 1 / (4 * RADIUS) / cosine + 1e-4


def test_every_view_is_right_handed():
    """A mirrored picture would show the wrong hand: right × up must point to the viewer."""
    unit = {0: np.array([0, 0, 1]), 1: np.array([0, 1, 0]), 2: np.array([1, 0, 0])}  # array axis → (x, y, z)
    for label, right, up, axis_right, axis_up, axis_depth, sign in VIEWS:
        assert label == f"along {'zyx'[axis_depth]}"
        assert (right, up) == ("zyx"[axis_right], "zyx"[axis_up])
        towards_viewer = sign * unit[axis_depth]
        assert np.array_equal(np.cross(unit[axis_right], unit[axis_up]), towards_viewer)


def test_pictures_show_what_lies_on_the_positive_side_of_an_axis_right_up_and_in_front():
    """Balls at +x, +y and +z of a central one: each must be where the view's label says."""
    volume = np.maximum.reduce(
        [
            ball(64, 8.0, (32, 32, 32)),
            ball(64, 4.0, (32, 32, 52)),  # +x
            ball(64, 5.5, (32, 50, 32)),  # +y
            ball(64, 7.0, (50, 32, 32)),  # +z
        ]
    )
    along_z, along_y, along_x = render_surface(volume, 0.0, 1.0, largest_side=200).views

    def mass_side(view, axis):
        """Whether the silhouette is longer to the right (axis 1) or up (axis 0) of the central ball."""
        hit = np.isfinite(view.depth)
        extent = np.flatnonzero(hit.any(axis=1 - axis))
        widest = int(hit.sum(axis=1 - axis).argmax())
        before, after = widest - extent[0], extent[-1] - widest
        return after > before if axis == 1 else before > after

    assert mass_side(along_z, 1) and mass_side(along_z, 0)
    assert mass_side(along_y, 1) and mass_side(along_y, 0)
    assert mass_side(along_x, 1) and mass_side(along_x, 0)
    # From +z, the ball at +z hides the central one: the nearest hit is at the middle of the picture.
    row, column = np.unravel_index(np.argmin(along_z.depth), along_z.depth.shape)
    height, width = along_z.depth.shape
    assert abs(column / width - 12 / 36) < 0.05  # x from 24 to 56 with margins: the centre at (32-22)/(58-22)
    assert abs(1 - row / height - 12 / 35.5) < 0.06


def test_surface_takes_the_colour_of_the_second_volume_and_grey_where_it_is_unknown():
    volume = ball(40, 14.0)
    colour = np.full(volume.shape, 3.0, np.float32)
    colour[:, :, :20] = np.nan
    picture = render_surface(volume, 0.0, 1.0, colour=colour, colour_limits=(2.0, 4.0), largest_side=120)
    image = picture.views[0].image.astype(float)
    height, width = image.shape[:2]
    left = image[height // 2, width // 4, :3]
    right = image[height // 2, 3 * width // 4, :3]
    # Light dims a colour but keeps the ratio of its channels, up to the small white shine and fade (0.1 and 0.05).
    expected = colour_table("viridis")[128]
    assert np.abs(right / right.sum() - expected / expected.sum()).max() < 0.04
    grey = np.array(UNKNOWN_COLOUR)
    assert np.abs(left / left.sum() - grey / grey.sum()).max() < 0.02


def test_particle_cut_by_the_box_is_closed_with_a_flat_face():
    volume = ball(31, 22.0, (15, 15, 0))
    view = render_surface(volume, 0.0, 1.0, largest_side=100).views[2]  # looking along x from +x
    other = render_surface(volume[:, :, ::-1], 0.0, 1.0, largest_side=100).views[2]
    flat = other.normal[40:60, 40:60]
    assert np.isfinite(view.depth[40:60, 40:60]).all()
    assert np.allclose(flat, (0, 0, 1), atol=0.05)


def test_dust_far_out_does_not_make_the_particle_small_and_is_owned_up_to():
    """One voxel in a corner, beside a ball: the frame is the ball's, and its share of the voxels is told."""
    volume = ball(64, 12.0)
    clean = render_surface(volume, 0.0, 1.0, largest_side=120)
    volume[1, 1, 1] = 5.0
    dusty = render_surface(volume, 0.0, 1.0, largest_side=120)
    assert clean.outside == 0.0
    assert dusty.angstrom_per_pixel == clean.angstrom_per_pixel
    assert dusty.outside == pytest.approx(1 / np.count_nonzero(volume >= 0))


def test_large_volumes_are_reduced_and_keep_their_size_in_angstrom():
    volume = ball(201, 70.0)
    picture = render_surface(volume, 0.0, 0.5, largest_side=200)
    area = picture.views[0].image[..., 3].sum() / 255 * picture.angstrom_per_pixel**2
    # Averaging blocks of 2 voxels (1 Å) blurs the edge by less than half a block.
    assert area == pytest.approx(np.pi * 35.0**2, rel=2 * 0.5 / 35)


def test_pictures_repeat_to_the_bit():
    volume = ball(30, 10.0)
    first, second = (render_surface(volume, 0.0, 1.0, largest_side=90) for _ in range(2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first.views, second.views, strict=True))


@pytest.mark.parametrize("level", [1e9, -1e9])
def test_level_without_a_surface_is_named(level):
    with pytest.raises(NoSurface, match=r"voxel reaches the level"):
        render_surface(ball(16, 5.0), level, 1.0)


def test_unequal_boxes():
    volume = ball(48, 10.0)[:40, 4:, :]
    views = render_surface(volume, 0.0, 1.0, largest_side=100).views
    areas = [np.isfinite(v.depth).mean() * v.depth.size for v in views]
    # A ball casts the same shadow in each direction, to half a sample along the rim.
    assert max(areas) - min(areas) < 0.02 * max(areas)
