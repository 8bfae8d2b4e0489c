"""The sound and the faulty map on each check's page: simulated with a known fault, validated, drawn.

Called by generate.py. A check is run again only when its recipe or the package's code has changed.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent / "checks"
STORED = FOLDER / "exhibits.json"
FIGURES = FOLDER / "figures"

BOX, PIXEL_SIZE, RESOLUTION, SEED = 128, 1.4, 3.1, 7
PAIR_BOX, PAIR_PIXEL_SIZE, PAIR_RESOLUTION = 96, 1.25, 3.6
LARGEST_FIGURE = 150_000  # bytes
PICTURE_WIDTHS = (1000, 860, 740, 620)  # px
PICTURE_COLOURS = 64


@dataclass(frozen=True, eq=False)
class Specimen:
    """A map with the options it is validated with, and how it was made, in words. half_maps: two, where there are."""

    density_map: Any
    options: dict[str, Any]
    made: str
    half_maps: tuple[Any, ...] = ()


@cache
def _protein() -> Any:
    from veritem.simulation.models import ideal_protein

    return ideal_protein(residues=250, subunits=4, seed=SEED)


def _simulate(resolution: float = RESOLUTION, **changes: Any) -> Any:
    from veritem.simulation.half_maps import simulate_map

    return simulate_map(_protein(), BOX, PIXEL_SIZE, resolution=resolution, seed=SEED, **changes)


@cache
def _sound() -> Any:
    return _simulate()


def _options(simulated: Any) -> dict[str, Any]:
    return {"contour_level": float(f"{simulated.truth.contour_level:.5g}"), "resolution": RESOLUTION}


def sound() -> Specimen:
    simulated = _sound()
    return Specimen(
        simulated.density_map,
        _options(simulated),
        f"A made-up protein of four subunits, {simulated.truth.molecular_weight / 1000:.0f} kDa, in the middle of "
        f"{BOX}³ voxels of {PIXEL_SIZE} Å, with solvent and with noise that ends its resolution at {RESOLUTION} Å.",
    )


def off_centre() -> Specimen:
    simulated = _simulate(centre=(0.0, 0.0, 28.0))
    return Specimen(simulated.density_map, _options(simulated), "The same protein, 28 Å off the middle along x.")


def low_contour_level() -> Specimen:
    simulated = _sound()
    level = float(f"{1.8 * simulated.truth.noise_sigma:.5g}")
    return Specimen(
        simulated.density_map,
        _options(simulated) | {"contour_level": level},
        "The same map, looked at 1.8 standard deviations of its noise above the background.",
    )


def halo() -> Specimen:
    from veritem.simulation.defects import dark_halo

    simulated = dark_halo(_sound(), 0.3, np.random.default_rng(SEED))
    return Specimen(
        simulated.density_map,
        _options(simulated),
        "The same map with a dark halo around the protein, 4 to 25 Å away from it and as deep as 30 % of the density "
        "inside the protein. (The check compares with the mean inside its mask, which holds the surface and is lower.)",
    )


def oversharpened() -> Specimen:
    simulated = _simulate(sharpen=270.0)
    return Specimen(
        simulated.density_map, _options(simulated), "The same map, sharpened by 180 Å² more than the sound one."
    )


def blurred() -> Specimen:
    """As coarse as such a blur leaves it: at a finer resolution its noise would have to vanish."""
    simulated = _simulate(resolution=4.5, b_factor=340.0, sharpen=0.0)
    return Specimen(
        simulated.density_map,
        _options(simulated) | {"resolution": 4.5},
        "The same protein at 4.5 Å, blurred by a B-factor of 340 Å² in the images, and not sharpened.",
    )


def missing_subunit() -> Specimen:
    model = _protein()
    simulated = _simulate(occupancy=np.where(model.chains == 0, 0.3, 1.0))
    options = _options(simulated)
    level = float(f"{0.65 * options['contour_level']:.5g}")
    return Specimen(
        simulated.density_map,
        options | {"contour_level": level},
        "The same protein with one of its four subunits present in 30 % of the images, looked at a level low enough "
        "to see it.",
    )


# --- pairs of half maps ------------------------------------------------------------------------------------


def _simulate_pair(resolution: float = PAIR_RESOLUTION, **changes: Any) -> Any:
    """As `_simulate`, with the decay that a pair of this resolution usually has, half of it undone in the map."""
    from veritem.simulation.half_maps import simulate_map

    decay = 8.0 * resolution**2
    usual = {"b_factor": decay, "sharpen": 0.5 * decay, "seed": SEED} | changes
    return simulate_map(_protein(), PAIR_BOX, PAIR_PIXEL_SIZE, resolution=resolution, **usual)


@cache
def _sound_pair() -> Any:
    return _simulate_pair()


def _pair(simulated: Any, made: str, resolution: float = PAIR_RESOLUTION) -> Specimen:
    options = _options(simulated) | {"resolution": resolution}
    return Specimen(simulated.density_map, options, made, (simulated.half_1, simulated.half_2))


def sound_pair() -> Specimen:
    simulated = _sound_pair()
    return _pair(
        simulated,
        f"Two half maps of a made-up protein of four subunits, {simulated.truth.molecular_weight / 1000:.0f} kDa, in "
        f"{PAIR_BOX}³ voxels of {PAIR_PIXEL_SIZE} Å, each with noise of its own, and their mean, sharpened. The FSC "
        f"inside a tight mask falls to 0.143 at {PAIR_RESOLUTION} Å.",
    )


def overstated() -> Specimen:
    return _pair(
        _simulate_pair(4.6),
        f"The same protein at 4.6 Å, with a reported resolution of {PAIR_RESOLUTION} Å.",
    )


def strange_half() -> Specimen:
    from veritem.simulation.half_map_defects import other_half

    simulated = other_half(_sound_pair(), 1.0, np.random.default_rng(SEED))
    return _pair(simulated, "The same, with the half map of another protein in place of the second.")


def missing_views() -> Specimen:
    from veritem.simulation.anisotropy import MissingCone

    return _pair(
        _simulate_pair(degrade=MissingCone(35.0)),
        "The same, with no signal in the directions within 35° of z: no image looks across it.",
    )


def crowded_views() -> Specimen:
    from veritem.simulation.anisotropy import Anisotropy

    return _pair(
        _simulate_pair(anisotropy=Anisotropy(-0.9)),
        "The same, seen from top and bottom (along z) far more often than from the side.",
    )


def shared_particles() -> Specimen:
    from veritem.simulation.half_map_defects import shared_noise

    simulated = shared_noise(_sound_pair(), 0.6, np.random.default_rng(SEED))
    return _pair(simulated, "The same, with 60 % of the particles in both halves, so that they share that noise.")


FAULTS: dict[str, Callable[[], Specimen]] = {
    "0.a": off_centre,
    "0.b": low_contour_level,
    "0.c": halo,
    "0.d": oversharpened,
    "0.f": blurred,
    "0.g": missing_subunit,
    "1.a": overstated,
    "1.b": strange_half,
    "1.c": overstated,
    "1.d": overstated,
    "1.e": overstated,
    "1.f": crowded_views,
    "1.g": missing_views,
    "1.h": missing_views,
    "F.a": shared_particles,
}


def sound_for(code: str) -> Specimen:
    """The sound map that a check's page shows: with half maps for the checks that look at them."""
    return sound() if code.startswith("0.") else sound_pair()


def stored() -> dict[str, Any]:
    """What the last runs left: {code: {"sound": record, "faulty": record}}."""
    return json.loads(STORED.read_text()) if STORED.is_file() else {}


def refresh(codes: tuple[str, ...], again: bool = False) -> list[str]:
    """Run the exhibits whose code or recipe changed; returns what was run."""
    known, ran = stored(), []
    for code in codes:
        if code not in FAULTS:
            continue
        fingerprint = _fingerprint()
        record = known.get(code, {})
        if not again and record.get("fingerprint") == fingerprint and all(f.is_file() for f in _files(record)):
            continue
        for old in FIGURES.glob(f"{code}-*"):
            old.unlink()
        known[code] = {
            "fingerprint": fingerprint,
            "sound": exhibit(code, "sound", sound_for(code)),
            "faulty": exhibit(code, "faulty", FAULTS[code]()),
        }
        ran.append(code)
        STORED.parent.mkdir(parents=True, exist_ok=True)
        ordered = {key: known[key] for key in sorted(known)}
        STORED.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")
    return ran


def exhibit(code: str, kind: str, specimen: Specimen, draw: bool = True) -> dict[str, Any]:
    """Validate a specimen with one check and keep what its page shows; figures go to checks/figures/."""
    from veritem import api
    from veritem.submission.map_writer import write_map

    with tempfile.TemporaryDirectory() as folder:
        names = ("map", "half_map_1", "half_map_2")
        paths: dict[str, Any] = {}
        for name, density_map in zip(names, (specimen.density_map, *specimen.half_maps), strict=False):
            paths[name] = Path(folder) / f"{name}.mrc"
            write_map(paths[name], density_map.data, density_map.pixel_size, density_map.origin, "simulated")
        result = api.validate(**paths, include=(code,), seed=0, **specimen.options)
    check = result.check(code)
    return {
        "made": specimen.made,
        "options": specimen.options,
        "half_maps": len(specimen.half_maps),
        "outcome": check.outcome.value,
        "summary": check.summary,
        "reason": check.reason,
        "error": check.error,
        "caveats": list(check.caveats),
        "quantities": [[q.label, q.text(), q.note] for q in check.quantities.values()],
        "criteria": [c.model_dump(mode="json") for c in check.criteria],
        "figures": [_draw(code, kind, figure) for figure in check.figures] if draw else [],
    }


def _draw(code: str, kind: str, figure: Any) -> dict[str, str]:
    from veritem.report.figures import draw

    suffix, content = draw(figure, figure.arrays)
    content = _small_picture(content) if suffix == "png" else _trimmed(content)
    if len(content) > LARGEST_FIGURE:
        raise ValueError(
            f"The figure '{figure.key}' of {code} takes {len(content):,} bytes; a page's figures take at most "
            f"{LARGEST_FIGURE:,}. Draw fewer points, or show it at a lower resolution."
        )
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / f"{code}-{kind}-{figure.key}.{suffix}"
    path.write_bytes(content)
    return {"file": path.name, "title": figure.title, "caption": figure.caption, "alt_text": figure.alt_text}


def _small_picture(content: bytes) -> bytes:
    """A picture for the web: no wider than a page's column, few colours, and narrower where noise compresses badly."""
    from PIL import Image

    picture = Image.open(io.BytesIO(content)).convert("RGB")
    for width in PICTURE_WIDTHS:
        size = (width, round(picture.height * width / picture.width))
        smaller = picture.resize(size, Image.Resampling.LANCZOS) if width < picture.width else picture
        stream = io.BytesIO()
        smaller.quantize(PICTURE_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            stream, "PNG", optimize=True
        )
        if stream.tell() <= LARGEST_FIGURE:
            break
    return stream.getvalue()


def _trimmed(content: bytes) -> bytes:
    """An SVG without blanks at the ends of its lines, so that version control shows no noise."""
    return b"\n".join(line.rstrip() for line in content.splitlines()) + b"\n"


def _files(record: dict[str, Any]) -> list[Path]:
    return [FIGURES / figure["file"] for kind in ("sound", "faulty") for figure in record[kind]["figures"]]


@cache
def _fingerprint() -> str:
    """Of the package's science and of this file."""
    from veritem.run.execute import code_sha256

    recipe = inspect.getsource(inspect.getmodule(_fingerprint))  # type: ignore[arg-type]
    return hashlib.sha256((code_sha256() + recipe).encode()).hexdigest()
