"""0.h: the hand of the map."""

from __future__ import annotations

from typing import ClassVar

from veritem.checks.base import Check
from veritem.results import Reference


class Handedness(Check):
    """Is the map mirrored?

    Projections do not tell a particle from its mirror image, so a reconstruction may come out with the
    wrong hand. Proteins do tell: their α-helices are right-handed, and at 5 Å or better the density of a
    helix shows which way it winds.

    Helices will be found first, by a detector that takes no side: it answers the same for a box and for
    its mirror image. Each helix will then vote once, by how much better it fits the right-handed form
    than the left-handed one; the vote of a mirrored box is exactly the opposite by construction, so that
    the answer cannot lean to either hand. Windows along one helix, and symmetry-related helices, are one
    observation and not many.

    Six independent helices are needed. The map is called right-handed, or mirrored, when the votes differ
    from zero with p below 0.001, by a t-test over helices and, from twelve helices on, by flipping their
    signs at random. Anything else is "undetermined" and no warning.

    No network is installed yet, and the check says so instead of answering.

    Misleads when the map holds no helices (all-β proteins, and nucleic acid alone), when its resolution
    is worse than about 5 Å, where the 5.4 Å pitch of a helix is lost, and when density was modified by a
    network that had learnt to draw right-handed helices wherever it saw a rod.
    """

    code = "0.h"
    title = "Handedness"
    level = "0"
    needs: ClassVar[tuple[str, ...]] = ("density_map", "reported_resolution")
    unavailable = "no network installed"
    references = (
        Reference(
            text="García Condado J, Muñoz-Barrutia A, Sorzano COS. Automatic determination of the "
            "handedness of single-particle maps of macromolecules solved by CryoEM. "
            "Journal of Structural Biology 214 (2022) 107915.",
            doi="10.1016/j.jsb.2022.107915",
        ),
    )
