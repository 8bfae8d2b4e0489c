"""The table of checks. A code is never reused."""

from __future__ import annotations

from dataclasses import dataclass

from veritem.checks.base import Check
from veritem.checks.level_0.background import Background
from veritem.checks.level_0.centring import Centring
from veritem.checks.level_0.global_b_factor import GlobalBFactor
from veritem.checks.level_0.handedness import Handedness
from veritem.checks.level_0.local_b_factor import LocalBFactor
from veritem.checks.level_0.local_occupancy import LocalOccupancy
from veritem.checks.level_0.local_quality import LocalQuality
from veritem.checks.level_0.mask import Mask
from veritem.checks.level_1.directional_fsc import DirectionalFsc
from veritem.checks.level_1.fsc_significance import FscSignificance
from veritem.checks.level_1.global_resolution import GlobalResolution
from veritem.checks.level_1.local_directional_resolution import LocalDirectionalResolution
from veritem.checks.level_1.local_fsc import LocalFsc
from veritem.checks.level_1.monores import MonoRes
from veritem.checks.level_1.resmap import ResMap
from veritem.checks.level_1.shell_occupancy import ShellOccupancy
from veritem.checks.level_f.half_map_forensics import HalfMapForensics

CHECKS: tuple[type[Check], ...] = (
    Centring,
    Mask,
    Background,
    GlobalBFactor,
    LocalQuality,
    LocalBFactor,
    LocalOccupancy,
    Handedness,
    GlobalResolution,
    FscSignificance,
    LocalFsc,
    ResMap,
    MonoRes,
    LocalDirectionalResolution,
    ShellOccupancy,
    DirectionalFsc,
    HalfMapForensics,
)


@dataclass(frozen=True)
class Level:
    """title: what it looks at. needs: the inputs that reach it."""

    title: str
    needs: tuple[str, ...]


LEVELS: dict[str, Level] = {
    "0": Level("The map", ("density_map",)),
    "1": Level("The half maps", ("half_maps",)),
    "F": Level("What was deposited", ("half_maps",)),
}
