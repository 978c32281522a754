"""What is there and what is to be done for some tables, before anything runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from deeplab.ablations.jobs import SweepRequest, Training, Use
from deeplab.ablations.run_index import Find, Run
from deeplab.ablations.sweep import done, wanted
from deeplab.checkpoints.hub import NotDownloadedError
from deeplab.checkpoints.initialization import find_init_source
from deeplab.config.schema.classification_data import ShapeClassesConfig
from deeplab.config.schema.data import ShapesConfig
from deeplab.utils.disk_space import format_size


def print_plan(
    request: SweepRequest, found: Sequence[Training], find: Find, stale: Find, *, probe: bool
) -> None:
    """Print the rows and which training each stands for, the trainings and how far they are, and
    what is left takes.

    Args:
        request: the tables.
        found: their distinct trainings.
        find: which run a training is.
        stale: the same, but also those on images that have changed since.
        probe: whether to measure how fast this machine is.
    """
    print(f"Preset {request.preset_name}: {request.preset.title}")
    names = {training.key: f"R{number}" for number, training in enumerate(found, 1)}
    for table in request.tables:
        _print_table(request, table, found, names)
    _print_trainings(found, find, stale, names)
    _print_data(found)
    waiting = [t for t in found if t.missing and _supply(t) in request.preset.external_weights]
    never = [t for t in found if t.missing and t not in waiting]
    todo = [t for t in found if t not in never and not done(t, find(t))]
    there = len(found) - len(todo) - len(never)
    print(
        f"\n{len(found)} distinct trainings: {there} done, {len(todo)} to run"
        + (f" ({len(waiting)} of them wait for weights that can be had)" if waiting else "")
        + (f", {len(never)} want weights that nobody here has" if never else "")
    )
    for line in wanted(found):
        print(f"  {line}")
    if todo and probe:
        _print_budget(todo, find, names)


def _print_table(
    request: SweepRequest, name: str, found: Sequence[Training], names: Mapping[str, str]
) -> None:
    table = request.tables[name]
    print(f"\n{table.title} ({table.setting})")
    texts = [[_cell(cell) for cell in row.cells] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(table.columns, *texts, strict=True)]
    print("  row  " + _line(table.columns, widths) + "  strategy      run")
    for number, (row, cells) in enumerate(zip(table.rows, texts, strict=True), 1):
        mine = [(t, use) for t in found for use in t.uses if (use.table, use.row) == (name, number)]
        strategy = mine[0][1].strategy if mine else ""
        run = " ".join(names[training.key] for training, _ in mine)
        run = run or ("cited" if row.cited else f"not run: {row.unavailable}")
        print(f"  {number:>3}  {_line(cells, widths)}  {strategy:<12}  {run}")


def _print_trainings(
    found: Sequence[Training], find: Find, stale: Find, names: Mapping[str, str]
) -> None:
    print("\nTrainings, each of which is run once:")
    for training in found:
        after = f" after {names[training.start.key]}" if training.start else ""
        print(f"  {names[training.key]:<4} {' '.join(training.overrides)}{after}")
        print(f"       starts from {_origin(training)}")
        print(
            f"       {_state(training, find(training), stale(training))}; {_scored(training.uses)}"
        )


def _origin(training: Training) -> str:
    """What it starts from, and whether that is here."""
    if training.missing and not training.start:
        return f"external_weights.{_supply(training)}"
    try:
        find_init_source(training.config, download=False)
    except NotDownloadedError:
        return f"{training.origin}, to be downloaded"
    return training.origin


def _supply(training: Training) -> str:
    """The name of the weights that it wants supplied."""
    return (training.missing or "").partition(":")[0]


def _state(training: Training, run: Run | None, stale: Run | None) -> str:
    if training.missing:
        return f"wants external_weights.{_supply(training)}"
    if run is None and stale:
        return f"stale, the images have changed since: {stale.folder.path}"
    if run is None:
        return "not run yet"
    if done(training, run):
        return f"done: {run.folder.path}"
    if run.folder.finished:
        return f"trained, not evaluated in all ways: {run.folder.path}"
    steps = f"at step {run.step} of {training.config.stage.max_steps}"
    if run.state == "failed":
        return f"failed {steps} ({run.failure.strip().splitlines()[-1]}): {run.folder.path}"
    return (
        f"{'in progress' if run.state == 'running' else 'interrupted'} {steps}: {run.folder.path}"
    )


def _scored(uses: Sequence[Use]) -> str:
    """The rows of each table that a training is for."""
    rows: dict[str, list[int]] = {}
    for use in uses:
        rows.setdefault(use.table, []).append(use.row)
    return (
        "; ".join(
            f"{table} row{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
            for table, numbers in rows.items()
        )
        or "others start from it"
    )


def _print_data(found: Sequence[Training]) -> None:
    roots = {
        t.config.data.root: t.config.data.name
        for t in found
        if not isinstance(t.config.data, ShapesConfig | ShapeClassesConfig)
    }
    for root, name in roots.items():
        if not Path(root).expanduser().is_dir():
            how = f"python src/prepare.py data={name}"
            if name == "imagenet":
                how = "its makers want a login; data_roots.imagenet=FOLDER says where yours is"
            print(f"\ndata={name} is not at {root}: {how}")


def _print_budget(todo: Sequence[Training], find: Find, names: Mapping[str, str]) -> None:
    from deeplab.ablations.estimate import budget, measured_rates

    backbones = {_backbone(t): t.config for t in todo}
    print("\nMeasuring training steps here ...", flush=True)
    rates = measured_rates(backbones)
    hours, disk = 0.0, 0
    for training in todo:
        needed = budget(training, find(training))
        mine = needed.multiply_adds / rates[_backbone(training)] / 3600
        print(f"  {names[training.key]:<4} {_hours(mine):>10}  {format_size(needed.disk):>7}")
        hours, disk = hours + mine, disk + needed.disk
    speed = ", ".join(f"{rate / 1e9:,.0f}" for rate in rates.values())
    print(f"Together {_hours(hours)} on one device like this one, {format_size(disk)} of disk")
    print(
        f"  (counted multiply-adds at the measured {speed} G a second; reading images is not in it)"
    )


def _backbone(training: Training) -> str:
    """Classification and segmentation do not run alike on the same backbone."""
    config = training.config
    return config.stage.task + config.backbone.model_dump_json()


def _hours(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def _cell(cell: object) -> str:
    return {True: "x", False: ""}[cell] if isinstance(cell, bool) else str(cell)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
