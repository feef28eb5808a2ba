"""The tables of `paddlecnn benchmark` in docs/results.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from paddlecnn.reporting.result_files import Growth, ResultFile, Speed, Transfer
from paddlecnn.text_tables import compact_table, markdown_table

SPEED_HEAD = """## Speed
Medians measured by `paddlecnn benchmark`, with the range over rounds; [performance.md](performance.md) explains the
method and what limits the speeds. Different files are from different runs: compare speeds only within a table.
"""
NAMES = {
    "bare step": "the bare step",
    "installed": "Paddle as installed, 1 thread",  # its default, without the variables that runtime.py sets
    "paddle": "Paddle's engine",
    "model_fit": "paddle.Model.fit",
    "onednn_float32": "engine oneDNN, float32",
    "onednn_bfloat16": "engine oneDNN, bfloat16",
    "predictor_float32": "paddle.inference, float32",
    "predictor_bfloat16": "paddle.inference, bfloat16",
    "torch eager": "PyTorch eager",
    "torch channels_last": "PyTorch channels_last",
    "torch bfloat16": "PyTorch bf16 autocast",
}


def speed_section(files: list[ResultFile]) -> Iterator[str]:
    """The tables of `paddlecnn benchmark`, file by file."""
    measured = [(file, [one for one in file.results if isinstance(one, Speed | Growth | Transfer)]) for file in files]
    for number, (file, results) in enumerate((file, results) for file, results in measured if results):
        if number == 0:
            yield SPEED_HEAD
        yield f"### {file.name}\n{file.machine.place}; [the file](results/{file.name}.json).\n"
        for kind, parts in groupby(results, type):
            yield from TABLES[kind](list(parts))


def speed_tables(results: Sequence[Speed]) -> Iterator[str]:
    """Contenders by workload: the median, its ratio to the reference, and the range."""
    contenders = dict.fromkeys(name for one in results for name in one.contenders)
    rows = [[NAMES.get(name, name), *(speed_cell(one.contenders.get(name)) for one in results)] for name in contenders]
    references = {row["ratio_to"] for one in results for row in one.contenders.values() if "ratio_to" in row}
    reference = " and ".join(NAMES.get(name, name) for name in sorted(references))
    what = results[0].what
    unit = "seconds" if what == "start" else "images/s"
    yield f"`benchmark {what}`, {unit}{f'; in brackets the ratio to {reference}' if reference else ''}:\n"
    yield markdown_table(["", *(one.workload for one in results)], rows)


def speed_cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if "error" in row:
        return str(row["error"])
    ratio = f" ({row['ratio']:.2f}x)" if "ratio" in row else ""
    return f"{digits(row['median'])}{ratio}<br>{digits(row['range'][0])} to {digits(row['range'][1])}"


def digits(value: float) -> str:
    """Three significant digits, or all digits of the whole number from 100."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def growth_tables(results: Sequence[Growth]) -> Iterator[str]:
    """The speed of each contender by the quantity that grows."""
    for one in results:
        rows = [
            [NAMES.get(name, name), *("not measured" if speed is None else digits(speed) for speed in speeds)]
            for name, speeds in one.speeds.items()
        ]
        yield markdown_table([f"{one.unit} by {one.grows}", *map(str, one.values)], rows)


def transfer_tables(results: Sequence[Transfer]) -> Iterator[str]:
    """Training on cached features against training that runs the frozen layers in every epoch, by engine."""
    yield "`benchmark transfer`, images/s with and without the cache, and the two losses of the first epoch:\n"
    yield compact_table(
        {
            "engine": f"{one.engine}, {one.precision}",
            "with the cache": digits(one.cached),
            "without": digits(one.uncached),
            "ratio": f"{one.ratio:.1f}",
            "ratio with the cache of the fastest engine": f"{one.ratio_of_fastest:.1f}" if one.ratio_of_fastest else "",
            "losses": f"{one.cached_loss:.5f}, {one.uncached_loss:.5f}",
            "peak memory except mapped files, MiB": f"{one.peak_anonymous_mib:,.0f}" if one.peak_anonymous_mib else "",
        }
        for one in results
    )


TABLES: dict[type, Any] = {Speed: speed_tables, Growth: growth_tables, Transfer: transfer_tables}
