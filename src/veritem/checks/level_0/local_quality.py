"""0.e: the resolution that each place of the map looks like, by a trained network."""

from __future__ import annotations

from typing import ClassVar

from veritem.checks.base import Check
from veritem.results import Reference


class LocalQuality(Check):
    """Does the map look, place by place, like a map of the reported resolution?

    A network trained on simulated maps will see a small cube around each voxel (15 Å on a side, the map
    sampled at 1 Å and scaled to a local mean of zero and a local deviation of one) and answer with a
    resolution and with how sure it is. Appearance is evidence that needs no half maps: side chains, the
    pitch of helices and the separation of strands show, or do not.

    The resolution it learns is not the cut-off of a filter but the one at which the signal of the
    simulated map falls below its error within 8 Å, so that blur alone does not count and noise does. The
    training maps carry coloured noise, B-factors from sharpened to blurred, partial occupancy and masks
    as deposited maps do, and no protein of the training set is related to one of the test set.

    The reported resolution will be compared with the best tenth of the map: a reported value finer than
    that tenth, by more than twice the network's measured error, is a warning. Outside the trained range
    of 2 to 13 Å the answer is "finer than 2 Å" or "coarser than 13 Å", never a clamped number.

    No network is installed yet, and the check says so instead of answering.

    Misleads when the map was altered by a network itself (density modification by deep learning makes
    noise look like protein), when it is sharpened far beyond its signal, and where it holds what the
    training set did not: lipid, glycan, DNA at an unusual contrast. Appearance is not proof: two
    independent half maps are.
    """

    code = "0.e"
    title = "Local quality by appearance"
    level = "0"
    needs: ClassVar[tuple[str, ...]] = ("density_map", "reported_resolution")
    unavailable = "no network installed"
    references = (
        Reference(
            text="Ramírez-Aportela E, Mota J, Conesa P, Carazo JM, Sorzano COS. DeepRes: a new deep-"
            "learning- and aspect-based local resolution method for electron-microscopy maps. "
            "IUCrJ 6 (2019) 1054–1063.",
            doi="10.1107/S2052252519011692",
        ),
    )
