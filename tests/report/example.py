"""A made-up validation with everything a report can hold: every outcome, every figure, long words, odd letters."""

# Long texts are what is tested, so they stand as they are.
# ruff: noqa: E501

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from veritem.results import (
    CheckResult,
    Column,
    Comparison,
    CriterionResult,
    CurveFigure,
    DerivedMap,
    HistogramFigure,
    ImageFigure,
    InputFile,
    IntervalFigure,
    IntervalRow,
    LevelSummary,
    Marker,
    Outcome,
    Panel,
    Problem,
    Provenance,
    Quantity,
    Reference,
    Scene,
    Series,
    Severity,
    SurfaceFigure,
    Table,
    ValidationResult,
)

SHAPE = (88, 104, 96)
PIXEL_SIZE = 1.31
LEVEL = 0.31
HOSTILE = '<script>alert("x")</script> & #import "x" $a$ `b` \\u{41} */ "; open http'


@cache
def phantom(shape: tuple[int, int, int] = SHAPE, seed: int = 7) -> NDArray[np.float32]:
    """A particle of two-fold symmetry: coiled chains of density, off centre, in faint noise."""
    rng = np.random.default_rng(seed)
    volume = np.zeros(shape, np.float32)
    centre = np.array(shape) // 2
    for chain in range(9):
        turn = 2 * np.pi * chain / 9
        start = centre + np.array([rng.uniform(-14, 14), 13 * np.cos(turn), 13 * np.sin(turn)])
        direction = rng.normal(size=3) * (0.5, 1.0, 1.0)
        direction /= np.linalg.norm(direction)
        side = np.cross(direction, [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        other = np.cross(direction, side)
        for t in np.linspace(-17, 17, 500):
            angle = 2 * np.pi * t / 4.1
            point = start + direction * t + 1.8 * (side * np.cos(angle) + other * np.sin(angle))
            for candidate in (point, 2 * centre - point * (-1, 1, 1) - (2 * centre[0], 0, 0)):
                index = np.round(candidate).astype(int)
                if ((index >= 0) & (index < np.array(shape))).all():
                    volume[tuple(index)] += 1.0
    density = gaussian_filter(volume, 1.1)
    density /= np.percentile(density[density > 0.02 * density.max()], 97)
    noise = gaussian_filter(rng.normal(size=shape), 0.8).astype(np.float32)
    return (density + 0.08 * noise).astype(np.float32)


def local_values(shape: tuple[int, int, int], low: float, high: float, known: NDArray | None) -> NDArray[np.float32]:
    """Smooth values from low to high, outwards from the centre; NaN where `known` is False."""
    z, y, x = (np.arange(n, dtype=np.float32) - n // 2 for n in shape)
    radius = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
    bumps = 3 * np.sin(x / 7)[None, None, :] * np.cos(y / 9)[None, :, None]
    values = low + (high - low) * np.clip((radius + bumps) / 36, 0, 1)
    return values.astype(np.float32) if known is None else np.where(known, values, np.nan).astype(np.float32)


def example_result(
    folder: Path, title: str = "Apoferritin-like phantom, dataset 14 (β₂ subunit), 2.9 Å"
) -> ValidationResult:
    """Write the arrays into `folder`/data and return the result that names them."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "maps").mkdir(exist_ok=True)
    density = phantom()
    inside = gaussian_filter(density, 2.0) > 0.12
    files: dict[str, dict[str, NDArray]] = {}

    overview = (
        SurfaceFigure(
            key="surface",
            title="The map at its contour level",
            caption=f"Surface at {LEVEL} from three directions at right angles.",
            alt_text="Three shaded views of the map's surface: a compact particle of coiled rods.",
            data_file="data/overview.npz",
            level=LEVEL,
            pixel_size=PIXEL_SIZE,
        ),
        ImageFigure(
            key="slices",
            title="Slices of largest variance",
            caption="One slice through each axis, where the grey values vary most. The line is the contour level: it "
            "should follow the particle and leave the background empty.",
            alt_text="Three grey slices through the map with the contour level drawn as a line.",
            data_file="data/overview.npz",
            panels=tuple(
                Panel(label=f"{n} = {i} ({o} shown)", image=n, outline=f"{n}_above")
                for n, i, o in (("z", 44, "x and y"), ("y", 52, "x and z"), ("x", 48, "y and z"))
            ),
            pixel_size=PIXEL_SIZE,
        ),
        ImageFigure(
            key="projections",
            title="Projections along the three axes",
            caption="Sums of the whole map along each axis, the background included.",
            alt_text="Three grey projections of the map.",
            data_file="data/overview.npz",
            panels=tuple(Panel(label=f"along {n}", image=f"p{n}") for n in "zyx"),
            pixel_size=PIXEL_SIZE,
        ),
    )
    seen: dict[str, NDArray] = {"surface/volume": density}
    for axis, name in enumerate("zyx"):
        image = density.take(SHAPE[axis] // 2, axis=axis)
        seen |= {f"slices/{name}": image, f"slices/{name}_above": image >= LEVEL}
        seen[f"projections/p{name}"] = density.sum(axis=axis)
    files["overview"] = seen

    checks = (
        _centring(),
        _mask(density, inside, files),
        _background(density, inside, files),
        _guinier(),
        _local_b(density, inside, files),
        _occupancy(density, inside, files),
        _inconclusive(),
        _failed(),
        CheckResult(
            code="0.h",
            title="Handedness",
            level="0",
            question="Is the map mirrored?",
            outcome=Outcome.NOT_APPLICABLE,
            reason="needs the reported resolution, which was not given",
        ),
        CheckResult(
            code="1.a",
            title="Global resolution from half maps",
            level="1",
            question="Does the reported resolution agree with the half maps?",
            outcome=Outcome.NOT_APPLICABLE,
            reason="needs half map 1 and half map 2, which was not given",
        ),
    )
    colourings = tuple(m for check in checks for m in check.maps if m.colours_map)
    files["scene"] = {"map": density, **{m.key: _colour(m.key, inside) for m in colourings}}
    for name, arrays in files.items():
        np.savez_compressed(folder / "data" / f"{name}.npz", **arrays)
    return ValidationResult(
        title=title,
        inputs=(
            InputFile(
                role="map",
                name="emd_apoferritin_like_phantom_with_a_rather_long_file_name_sharpened_b-92_final.map.gz",
                size=13_402_117,
                sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                sha256_content="60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
                description="96 × 104 × 88 voxels of 1.310 Å, mode 2 (float32), origin 0, 0, 0 Å, values −0.41 to 2.05",
            ),
        ),
        parameters={
            "reported_resolution": 2.9,
            "symmetry": "C2",
            "molecular_weight_kda": None,
            "seed": 7,
            "contour_level": {
                "value": LEVEL,
                "source": "estimated",
                "method": "the level that leaves 1 in 10⁵ voxels of noise above it, from the corners of the box",
            },
        },
        problems=(
            Problem(
                code="IN-07",
                severity=Severity.WARNING,
                field="pixel_size",
                found="The header gives 1.310 Å, the option --pixel-size 1.305 Å.",
                expected="Both should agree to 0.1 %.",
                action="The option was used. Correct the header if the option is right.",
            ),
            Problem(
                code="IN-12",
                severity=Severity.INFORMATION,
                field="map",
                found="The statistics in the header (mean 0) are not those of the data (mean 0.021).",
                expected="They should agree.",
                action="Nothing: they were computed anew and are not used.",
            ),
        ),
        levels=(
            LevelSummary(level="0", title="The map", reached=True),
            LevelSummary(level="1", title="Resolution, from half maps", reached=False, missing=("the two half maps",)),
            LevelSummary(
                level="A",
                title="The atomic model against the map",
                reached=False,
                missing=("an atomic model (mmCIF or PDB)",),
            ),
        ),
        overview=overview,
        comparisons=(_comparison(),),
        facts={
            "box": Quantity(label="Box (x, y, z)", value="96 × 104 × 88", unit="voxels"),
            "pixel_size": Quantity(label="Pixel size", value=PIXEL_SIZE, unit="Å", digits=4),
            "nyquist": Quantity(label="Finest resolution the grid can hold", value=2 * PIXEL_SIZE, unit="Å"),
            "contour_level": Quantity(label="Contour level", value=LEVEL, digits=3, note="estimated from the noise"),
            "enclosed_volume": Quantity(label="Volume above the contour level", value=141_532.0, unit="Å³"),
            "enclosed_mass": Quantity(
                label="Protein mass that fills that volume", value=117.0, unit="kDa", note="at 1.21 Å³ per Da"
            ),
        },
        checks=checks,
        scene=Scene(
            data_file="data/scene.npz",
            pixel_size=PIXEL_SIZE,
            origin=(12.0, -4.0, 0.0),
            level=LEVEL,
            colourings=colourings,
        ),
        provenance=Provenance(
            veritem_version="0.1.0",
            code_sha256="b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c",
            python="3.11.7",
            platform="Linux-6.1.0-x86_64-with-glibc2.36",
            packages={
                "numpy": "2.4.6",
                "scipy": "1.17.1",
                "numba": "0.68.1",
                "gemmi": "0.7.5",
                "mrcfile": "1.5.4",
            },
            device="cpu",
            threads=2,
            command="veritem validate --map emd_apoferritin_like.map.gz --resolution 2.9 --pixel-size 1.305 -o report/",
            seed=7,
            started=datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC),
            seconds=41.3,
            peak_memory_mb=912.0,
        ),
    )


def _comparison() -> Comparison:
    rows = (
        ("1.a FSC 0.143, corrected", 2.93, 2.88, 3.01),
        ("1.b FSC significant up to", 2.71, None, None),
        ("1.c Median of the local resolution by FSC", 3.4, 3.2, 3.7),
        ("1.e Median of the local resolution by the monogenic signal", 4.1, 3.9, 4.4),
    )
    figure = IntervalFigure(
        key="estimates",
        title="Every estimate of the resolution",
        caption="One row for each estimate; lines are 95 % intervals.",
        alt_text="Four estimates between 2.7 and 4.1 Å.",
        rows=tuple(IntervalRow(label=name, value=v, low=low, high=high) for name, v, low, high in rows),
        x_label="resolution (Å)",
        markers=(Marker(axis="x", value=2.9, label="reported 2.9 Å", role="reported"),),
    )
    table = Table(
        key="agreement",
        title="Agreement of the maps of local resolution",
        columns=(Column(label="first"), Column(label="second"), Column(label="rank correlation")),
        rows=(("1.c Local FSC", "1.e MonoRes", 0.71), ("1.c Local FSC", "1.d ResMap", None)),
        caption="Shown, not judged.",
    )
    return Comparison(
        key="resolution",
        title="Estimates of the resolution",
        text="Each method asks a question of its own.\n\nA rank correlation near 1 says that they agree.",
        figures=(figure,),
        tables=(table,),
    )


def _colour(key: str, inside: NDArray) -> NDArray[np.float32]:
    return {
        "local_b": lambda: local_values(SHAPE, -140.0, -40.0, inside),
        "occupancy": lambda: local_values(SHAPE, 1.05, 0.45, inside),
    }[key]()


def _centring() -> CheckResult:
    return CheckResult(
        code="0.a",
        title="Centring and free space",
        level="0",
        question="Is the particle in the middle of the box, with enough room around it?",
        outcome=Outcome.WARNING,
        summary="The centre of mass lies 6.4 % of the box off the centre along x; on the tightest side 14.2 Å are free.",
        quantities={
            "offset_x": Quantity(
                label="Offset of the centre of mass along x",
                value=6.4,
                unit="%",
                digits=2,
                interval=(6.3, 6.5),
                confidence=0.95,
            ),
            "offset_y": Quantity(label="Offset along y", value=0.3, unit="%", digits=2),
            "offset_z": Quantity(label="Offset along z", value=-1.1, unit="%", digits=2),
            "free_space": Quantity(
                label="Free space on the tightest side",
                value=14.2,
                unit="Å",
                note="between the surface and the box's edge",
            ),
            "symmetric": Quantity(label="Offset explained by the symmetry axis", value=False),
        },
        criteria=(
            CriterionResult(
                quantity="offset_x",
                text="The centre of mass is within 5 % of the box's centre on each axis",
                observed="6.4 % (95 % interval 6.3 to 6.5)",
                limit="≤ 5 %",
                outcome=Outcome.WARNING,
                because="Particles were extracted about this centre; a shift of more than a twentieth of the box loses "
                "signal at the edge by the delocalisation that defocus causes.",
                warning="The centre of mass is 6.4 % of the box away from its centre (limit 5 %). The particle stands "
                "off to the side of x.",
                causes=(
                    "the particles were extracted before they were re-centred",
                    "a part of the particle is missing from the map or lies below the contour level",
                ),
                advice="Shift the map to its centre of mass and extract the particles again from the shifted coordinates.",
            ),
            CriterionResult(
                quantity="free_space",
                text="At least 20 Å are free on every side",
                observed="14.2 Å",
                limit="≥ 20 Å",
                outcome=Outcome.WARNING,
                because="The contrast transfer function spreads each particle's signal by about λ·Δz·s; 20 Å is the "
                "least that keeps 5 Å detail at 1 µm defocus.",
                warning="Only 14.2 Å are free between the particle and the edge of the box (at least 20 Å are needed).",
                causes=("the box is too small for the particle",),
                advice="Extract the particles in a box of 128 voxels or more.",
            ),
        ),
        tables=(
            Table(
                key="sides",
                title="Free space on each side",
                columns=(
                    Column(label="Axis"),
                    Column(label="Before", unit="Å"),
                    Column(label="After", unit="Å"),
                    Column(label="Touches the edge"),
                ),
                rows=(("x", 14.2, 38.9, False), ("y", 31.7, 30.2, False), ("z", 26.2, None, False)),
                caption="Before and after: from the edge of the box to the surface, in the direction of the axis.",
            ),
        ),
        method="The map is cut at the contour level and the grey values above it are weighed. The offset of the "
        "centre of mass is given as a share of the box on each axis.\n\nFree space is the distance from the outermost "
        "voxel of the largest component to the box's edge.",
        misleads="Misleads when the map was cropped on purpose, or when the particle is a filament that leaves the box.",
        references=(
            Reference(
                text="Sorzano COS et al. Image processing in cryo-electron microscopy of single particles: the power of "
                "combining methods. Methods in Molecular Biology 2305 (2021) 257.",
                doi="10.1007/978-1-0716-1406-8_13",
            ),
            Reference(text="An old book without a DOI, London, 1974."),
        ),
        parameters={"contour_level": "0.31", "density_map": "9f86d081"},
        seed=7,
        seconds=0.41,
        peak_memory_mb=212.0,
        started=datetime(2026, 3, 14, 9, 26, 55, tzinfo=UTC),
        fingerprint="0a" * 32,
        false_alarm_rate=0.02,
    )


def _mask(density: NDArray, inside: NDArray, files: dict) -> CheckResult:
    centre = tuple(n // 2 for n in SHAPE)
    files["0.b"] = {
        "mask/hard": (density[centre[0]] > LEVEL).astype(np.float32),
        "mask/soft": gaussian_filter(inside[centre[0]].astype(np.float32), 1.5),
        "mask/line": inside[centre[0]],
        "surface/volume": gaussian_filter(inside.astype(np.float32), 1.5),
    }
    levels = np.linspace(0.05, 1.2, 60)
    mass = [float((density > level).sum() * PIXEL_SIZE**3 / 1210) for level in levels]
    return CheckResult(
        code="0.b",
        title="Mask analysis",
        level="0",
        question="Does the contour level enclose one connected particle?",
        outcome=Outcome.PASS,
        summary="97.8 % of the enclosed volume is in one piece.",
        quantities={
            "largest": Quantity(label="Share of the largest piece", value=97.8, unit="%"),
            "pieces": Quantity(label="Number of pieces", value=14),
            "overlap": Quantity(
                label="Overlap of raw and constructed mask",
                value=0.83,
                unit="",
                interval=(0.81, 0.85),
                confidence=0.95,
            ),
            "diameter": Quantity(label="Longest diameter", value=None, unit="Å", note="the particle reaches the edge"),
        },
        criteria=(
            CriterionResult(
                quantity="largest",
                text="At least 85 % of the volume is in the largest piece",
                observed="97.8 %",
                limit="≥ 85 %",
                outcome=Outcome.PASS,
                because="A particle is one body; dust means a contour level in the noise.",
            ),
        ),
        figures=(
            ImageFigure(
                key="mask",
                title="The mask, central slice along z",
                caption="Left, what lies above the contour level; right, the soft mask built from it, with its half-height line.",
                alt_text="Two slices: a speckled hard mask and a smooth soft one with its outline.",
                data_file="data/0.b.npz",
                panels=(
                    Panel(label="above the contour level", image="hard"),
                    Panel(
                        label="soft mask",
                        image="soft",
                        outline="line",
                        limits=(0.0, 1.0),
                        palette="cividis",
                        show_key=True,
                    ),
                ),
                pixel_size=PIXEL_SIZE,
                value_label="mask value",
                columns=2,
            ),
            CurveFigure(
                key="mass",
                title="Enclosed mass against contour level",
                caption="A sound level lies where the curve is not steep: a small change of it should change little.",
                alt_text="A curve that falls from 600 to 20 kDa as the level rises.",
                series=(Series(label="enclosed mass", x=tuple(levels.tolist()), y=tuple(mass)),),
                x_label="contour level",
                y_label="enclosed mass (kDa)",
                y_scale="log",
                markers=(
                    Marker(axis="x", value=LEVEL, label="contour level", role="reported"),
                    Marker(axis="x", value=0.18, end=0.42, label="stable range", role="note"),
                    Marker(axis="y", value=117.0, label="expected 117 kDa", role="limit"),
                ),
            ),
            SurfaceFigure(
                key="surface",
                title="The soft mask's surface",
                caption="Half-height surface of the soft mask.",
                alt_text="Three views of a smooth closed surface.",
                data_file="data/0.b.npz",
                level=0.5,
                pixel_size=PIXEL_SIZE,
            ),
        ),
        tables=(
            Table(
                key="pieces",
                title="The largest pieces",
                columns=(
                    Column(label="Piece"),
                    Column(label="Voxels"),
                    Column(label="Volume", unit="Å³"),
                    Column(label="Share", unit="%"),
                ),
                rows=tuple(
                    (i + 1, int(60000 / 4.3**i), 60000 / 4.3**i * PIXEL_SIZE**3, 97.8 / 4.3**i) for i in range(6)
                ),
            ),
        ),
        maps=(
            DerivedMap(
                key="soft_mask",
                label="soft mask",
                file="maps/0.b_soft_mask.mrc",
                description="1 inside, 0 outside, a cosine edge of 6 Å between.",
            ),
        ),
        method="Components are counted with faces, edges and corners joined.",
        misleads="Misleads when the particle has flexible parts that fall below the contour level.",
        references=(Reference(text="A paper.", doi="10.1000/example"),),
        seconds=1.94,
        peak_memory_mb=388.0,
        false_alarm_rate=0.03,
    )


def _background(density: NDArray, inside: NDArray, files: dict) -> CheckResult:
    outside = density[~inside]
    counts, edges = np.histogram(outside, bins=81, range=(-0.45, 0.45))
    centres = 0.5 * (edges[1:] + edges[:-1])
    sigma = float(outside.std())
    normal = outside.size * (edges[1] - edges[0]) / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * (centres / sigma) ** 2)
    files["0.c"] = {
        "sigma/map": gaussian_filter(np.abs(density[44]), 5.0),
        "sigma/outside": ~inside[44],
    }
    return CheckResult(
        code="0.c",
        title="Background analysis",
        level="0",
        question="Is the background nothing but noise?",
        outcome=Outcome.WARNING,
        summary="The background's mean is 0.031 σ above zero; 0.42 % of it lies beyond 5 σ, where noise of this spectrum puts 0.001 %.",
        quantities={
            "mean": Quantity(
                label="Mean of the background",
                value=0.031,
                unit="σ",
                interval=(0.012, 0.049),
                confidence=0.95,
                digits=2,
            ),
            "beyond": Quantity(
                label="Share beyond 5 σ",
                value=0.42,
                unit="%",
                interval=(0.31, 0.55),
                confidence=0.95,
                digits=2,
            ),
            "voxels": Quantity(label="Independent voxels in the background", value=48_211),
            "p": Quantity(
                label="p of a mean this far from zero",
                value=0.00031,
                digits=2,
                note="from 2 000 simulated noise maps",
            ),
        },
        criteria=(
            CriterionResult(
                quantity="mean",
                text="The mean of the background does not differ from zero",
                observed="0.031 σ (95 % interval 0.012 to 0.049)",
                limit="≤ 0.05 σ",
                outcome=Outcome.PASS,
                because="A background that is not zero adds to every projection.",
            ),
            CriterionResult(
                quantity="beyond",
                text="At most 0.1 % of the background lies beyond 5 σ",
                observed="0.42 % (95 % interval 0.31 to 0.55)",
                limit="≤ 0.1 %",
                outcome=Outcome.WARNING,
                because="Noise with this spectrum puts 0.001 % there; measured on 2 000 simulated maps.",
                warning="0.42 % of the background lies beyond 5 σ (limit 0.1 %), four hundred times more than noise of the "
                "same spectrum would put there.",
                causes=(
                    "density of neighbouring particles or of the carrier lies in the box",
                    "a mask with a hard edge was applied",
                ),
                advice="Look at the map of the local standard deviation below; re-extract without neighbours if they are seen.",
            ),
        ),
        figures=(
            HistogramFigure(
                key="histogram",
                title="Grey values of the background",
                caption="Grey values outside the mask, against noise of the same variance (line). Tails above the line are "
                "structure in what should be empty.",
                alt_text="A bell-shaped histogram with a heavier right tail than the normal curve drawn over it.",
                edges=tuple(edges.tolist()),
                counts=tuple(float(c) for c in counts),
                expected=(
                    Series(
                        label="noise of the same variance",
                        x=tuple(centres.tolist()),
                        y=tuple(normal.tolist()),
                        role="expected",
                    ),
                ),
                x_label="grey value",
                y_scale="log",
                markers=(
                    Marker(axis="x", value=5 * sigma, label="5 σ", role="limit"),
                    Marker(axis="x", value=-5 * sigma, label="−5 σ", role="limit"),
                    Marker(axis="x", value=0.0, label="zero", role="note"),
                ),
            ),
            ImageFigure(
                key="sigma",
                title="Local standard deviation of the background",
                caption="Where the background is restless. An even picture is what noise looks like.",
                alt_text="A map of local standard deviation, brightest next to the particle.",
                data_file="data/0.c.npz",
                panels=(Panel(label="z = 44", image="map", outline="outside", palette="magma", show_key=True),),
                pixel_size=PIXEL_SIZE,
                value_label="standard deviation",
                columns=1,
            ),
        ),
        method="Every statistic is compared with maps of noise simulated with the spectrum of the background.",
        misleads="Misleads when the map was masked: then nothing is left to measure, and the check says inconclusive.",
        caveats=(
            "Only 12 % of the box is far enough from the particle, so the interval is wide.",
            "The background was partly masked: 3 of 8 corners are exactly zero and were left out.",
        ),
        references=(Reference(text="Another paper.", doi="10.1016/j.jsb.2020.107447"),),
        seconds=8.2,
        peak_memory_mb=640.0,
    )


def _guinier() -> CheckResult:
    s2 = np.linspace(0.004, 0.1225, 90)
    log_f = 9.0 - 92.0 / 4 * -s2 * -1 + 0.6 * np.exp(-((s2 - 0.012) ** 2) / 2e-5) + 0.12 * np.sin(s2 * 300)
    fit = 9.0 - 92.0 / 4 * s2
    frequency = np.linspace(0.005, 0.38, 76)
    fsc = 1 / (1 + np.exp((frequency - 0.33) * 60))
    return CheckResult(
        code="0.d",
        title="Global B-factor",
        level="0",
        question="Is the map over-sharpened or too blurred?",
        outcome=Outcome.WARNING,
        summary="The Guinier B-factor is −92 Å², within what sharpened maps have.",
        quantities={
            "b_factor": Quantity(
                label="B-factor (Guinier)", value=-92.0, unit="Å²", interval=(-101.0, -83.0), confidence=0.95
            ),
            "range": Quantity(label="Range of the fit", value="15.0 to 2.9", unit="Å"),
        },
        criteria=(
            CriterionResult(
                quantity="b_factor",
                text="The B-factor lies between −300 and 0 Å²",
                observed="−92 Å² (95 % interval −101 to −83)",
                limit="≥ −300 and ≤ 0 Å²",
                outcome=Outcome.PASS,
                because="Below, noise is amplified; above, the map is blurrier than its resolution.",
            ),
            CriterionResult(
                quantity="b_factor",
                text="The Guinier plot is straight beyond 10 Å",
                observed="curvature 0.4",
                limit="≤ 0.2",
                outcome=Outcome.WARNING,
                because="One B-factor describes the fall only if the plot is straight.",
                warning="The Guinier plot bends beyond 10 Å, so one B-factor does not describe this map.",
                causes=("local sharpening or a density-modifying network was applied",),
                advice="Hand in the map before it was modified.",
            ),
        ),
        figures=(
            CurveFigure(
                key="guinier",
                title="Guinier plot",
                caption="Logarithm of the mean amplitude against squared frequency. The slope of the line, times 4, is the B-factor.",
                alt_text="A falling curve with a straight fitted line from 10 to 2.9 Å.",
                series=(
                    Series(
                        label="map",
                        x=tuple(s2.tolist()),
                        y=tuple(log_f.tolist()),
                        low=tuple((log_f - 0.15).tolist()),
                        high=tuple((log_f + 0.15).tolist()),
                    ),
                    Series(label="fit", x=tuple(s2.tolist()), y=tuple(fit.tolist()), style="dashed", role="model"),
                ),
                x_label="frequency² (1/Å²)",
                y_label="ln |F|",
                x_scale="inverse_square",
                markers=(
                    Marker(axis="x", value=1 / 2.9**2, label="reported 2.9 Å", role="reported"),
                    Marker(axis="x", value=0.01, end=0.119, label="range of the fit", role="note"),
                ),
            ),
            CurveFigure(
                key="fsc",
                title="A correlation curve",
                caption="Correlation by shell; a curve that falls to zero before Nyquist and stays there is sound.",
                alt_text="A sigmoid that falls through 0.143 at 2.8 Å.",
                series=(
                    Series(
                        label="masked",
                        x=tuple(frequency.tolist()),
                        y=tuple(fsc.tolist()),
                        low=tuple((fsc - 0.03).tolist()),
                        high=tuple((fsc + 0.03).tolist()),
                        role="data",
                    ),
                    Series(
                        label="corrected",
                        x=tuple(frequency.tolist()),
                        y=tuple((fsc * 0.96).tolist()),
                        role="corrected",
                    ),
                    Series(
                        label="expected",
                        x=tuple(frequency.tolist()),
                        y=tuple((fsc**1.3).tolist()),
                        style="dashed",
                        role="expected",
                    ),
                    Series(
                        label="phase-randomised",
                        x=tuple(frequency[::3].tolist()),
                        y=tuple((0.02 * np.cos(frequency * 60))[::3].tolist()),
                        style="points",
                        role="other",
                    ),
                    Series(
                        label="previous version",
                        x=tuple(frequency.tolist()),
                        y=tuple((fsc * 0.9).tolist()),
                        style="step",
                        role="other",
                    ),
                ),
                x_label="frequency (1/Å)",
                y_label="Fourier shell correlation",
                x_scale="inverse",
                markers=(
                    Marker(axis="y", value=0.143, label="0.143", role="limit"),
                    Marker(axis="x", value=1 / 2.9, label="reported 2.9 Å", role="reported"),
                    Marker(axis="x", value=1 / 2.78, label="measured 2.78 Å", role="note"),
                ),
            ),
        ),
        method="A straight line is fitted to ln |F| over s² by weighted least squares; the interval comes from a bootstrap over shells.",
        misleads="Misleads when the map was sharpened locally.",
        references=(
            Reference(
                text="Rosenthal PB, Henderson R. Journal of Molecular Biology 333 (2003) 721.",
                doi="10.1016/j.jmb.2003.07.013",
            ),
        ),
        seconds=0.66,
        peak_memory_mb=301.0,
        false_alarm_rate=0.025,
    )


def _local_b(density: NDArray, inside: NDArray, files: dict) -> CheckResult:
    values = _colour("local_b", inside)
    finite = values[np.isfinite(values)]
    counts, edges = np.histogram(finite, bins=60)
    files["0.f"] = {
        "surface/volume": density,
        "surface/colour": values,
        "slices/z": values[44],
        "slices/line": inside[44],
    }
    return CheckResult(
        code="0.f",
        title="Local B-factor",
        level="0",
        question="Does the fall of the amplitudes differ from place to place more than it should?",
        outcome=Outcome.PASS,
        summary="Local B-factors run from −134 to −44 Å² (5 to 95 %); the median is −78 Å².",
        quantities={
            "median": Quantity(
                label="Median local B-factor",
                value=-78.3,
                unit="Å²",
                interval=(-80.1, -76.4),
                confidence=0.95,
            ),
            "low": Quantity(label="5 % quantile", value=-134.0, unit="Å²"),
            "high": Quantity(label="95 % quantile", value=-44.0, unit="Å²"),
        },
        criteria=(
            CriterionResult(
                quantity="median",
                text="The median lies between −300 and 0 Å²",
                observed="−78.3 Å²",
                limit="≥ −300 and ≤ 0 Å²",
                outcome=Outcome.PASS,
                because="As for the global B-factor.",
            ),
        ),
        figures=(
            SurfaceFigure(
                key="surface",
                title="The map coloured by its local B-factor",
                caption="Grey where it cannot be determined. Flexible parts have larger values.",
                alt_text="Three views of the surface, dark at the core and bright at the rim.",
                data_file="data/0.f.npz",
                level=LEVEL,
                pixel_size=PIXEL_SIZE,
                colour_label="local B-factor (Å²)",
                colour_limits=(-140.0, -40.0),
                palette="viridis",
            ),
            HistogramFigure(
                key="histogram",
                title="Local B-factors",
                caption="Of the voxels inside the mask.",
                alt_text="A one-peaked histogram.",
                edges=tuple(edges.tolist()),
                counts=tuple(float(c) for c in counts),
                x_label="local B-factor (Å²)",
                markers=(
                    Marker(axis="x", value=-92.0, label="global", role="reported"),
                    Marker(axis="x", value=-78.3, label="median", role="note"),
                ),
            ),
            ImageFigure(
                key="slices",
                title="Slice of the local B-factor",
                caption="Central slice along z.",
                alt_text="A coloured slice.",
                data_file="data/0.f.npz",
                panels=(
                    Panel(
                        label="z = 44",
                        image="z",
                        outline="line",
                        palette="viridis",
                        limits=(-140.0, -40.0),
                        show_key=True,
                    ),
                ),
                pixel_size=PIXEL_SIZE,
                value_label="Å²",
                columns=1,
            ),
        ),
        maps=(
            DerivedMap(
                key="local_b",
                label="local B-factor",
                file="maps/0.f_local_b.mrc",
                unit="Å²",
                colours_map=True,
                description="Local B-factor inside the mask, 0 outside.",
                colour_limits=(-140.0, -40.0),
            ),
        ),
        method="Amplitudes are read through a bank of band filters and a line is fitted at each voxel.",
        misleads="Misleads when the map was filtered by its local resolution.",
        references=(
            Reference(text="Kaur S et al. Nature Communications 12 (2021) 1240.", doi="10.1038/s41467-021-21509-5"),
        ),
        seconds=17.4,
        peak_memory_mb=912.0,
    )


def _occupancy(density: NDArray, inside: NDArray, files: dict) -> CheckResult:
    values = _colour("occupancy", inside)
    files["0.g"] = {"surface/volume": density, "surface/colour": values}
    return CheckResult(
        code="0.g",
        title="Local occupancy",
        level="0",
        question="Is every part of the particle present in every image?",
        outcome=Outcome.PASS,
        summary="93 % of the particle has an occupancy above 0.5.",
        quantities={
            "above": Quantity(label="Share above 0.5", value=93.0, unit="%", interval=(91.0, 95.0), confidence=0.95)
        },
        criteria=(
            CriterionResult(
                quantity="above",
                text="At least 80 % of the particle has an occupancy above 0.5",
                observed="93 %",
                limit="≥ 80 %",
                outcome=Outcome.PASS,
                because="Below, much of what is drawn is not there in most images.",
            ),
        ),
        figures=(
            SurfaceFigure(
                key="surface",
                title="The map coloured by its local occupancy",
                caption="Grey where it cannot be determined.",
                alt_text="Three views of the coloured surface.",
                data_file="data/0.g.npz",
                level=LEVEL,
                pixel_size=PIXEL_SIZE,
                colour_label="occupancy",
                colour_limits=(0.4, 1.1),
                palette="cividis",
            ),
        ),
        maps=(
            DerivedMap(
                key="occupancy",
                label="local occupancy",
                file="maps/0.g_occupancy.mrc",
                colours_map=True,
                description="Local occupancy inside the mask.",
                colour_limits=(0.4, 1.1),
                palette="cividis",
            ),
        ),
        method="As the local B-factor.",
        misleads="Misleads when domains differ in composition, as RNA and protein do.",
        references=(
            Reference(text="Kaur S et al. Nature Communications 12 (2021) 1240.", doi="10.1038/s41467-021-21509-5"),
        ),
        seconds=9.9,
        peak_memory_mb=905.0,
    )


def _inconclusive() -> CheckResult:
    return CheckResult(
        code="0.e",
        title="Local quality",
        level="0",
        question="Where does the map look as its resolution says it should?",
        outcome=Outcome.INCONCLUSIVE,
        reason="“Half of the particle is at the reported resolution or better” is undecided: 3.1 Å (95 % interval 2.7 to 3.4), limit ≤ 2.9 Å.",
        summary="The median local resolution is 3.1 Å, with an interval that holds the reported 2.9 Å.",
        quantities={
            "median": Quantity(
                label="Median local resolution", value=3.1, unit="Å", interval=(2.7, 3.4), confidence=0.95
            )
        },
        criteria=(
            CriterionResult(
                quantity="median",
                text="Half of the particle is at the reported resolution or better",
                observed="3.1 Å (95 % interval 2.7 to 3.4)",
                limit="≤ 2.9 Å",
                outcome=Outcome.INCONCLUSIVE,
                because="The reported resolution is a mean over the particle.",
            ),
        ),
        figures=(
            ImageFigure(
                key="lost",
                title="A figure whose data were lost",
                caption="Its file is not there.",
                alt_text="Nothing.",
                data_file="data/not-there.npz",
                panels=(Panel(label="lost", image="x"),),
                pixel_size=1.0,
            ),
        ),
        method="A network trained on maps of known local resolution.",
        misleads="Misleads when the map was sharpened by another method than those it was trained on.",
        references=(Reference(text="Ramírez-Aportela E et al. IUCrJ 6 (2019) 1054.", doi="10.1107/S2052252519011692"),),
        seconds=3.2,
        peak_memory_mb=700.0,
    )


def _failed() -> CheckResult:
    return CheckResult(
        code="0.i",
        title="Symmetry",
        level="0",
        question="Is the symmetry that was imposed there?",
        outcome=Outcome.FAILED,
        reason="The check itself failed; this says nothing about the map.",
        error="MemoryError: Unable to allocate 7.63 GiB for an array with shape (1024, 1000, 1000) and data type float64 (in rotations.py, line 211)",
        method="The map is rotated about the axis and correlated with itself.",
        misleads="Misleads when the symmetry is pseudo.",
        references=(Reference(text="A paper.", doi="10.1000/example"),),
        seconds=0.2,
        peak_memory_mb=120.0,
    )
