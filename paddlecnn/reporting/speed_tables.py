"""The tables of `paddlecnn benchmark` in docs/results.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from paddlecnn.reporting.result_files import Growth, ResultFile, Speed, Transfer
from paddlecnn.text_tables import markdown_table

SPEED_HEAD = """## Speed
Measured by `paddlecnn benchmark`; how, and what limits it: [performance.md](performance.md).
"""


def speed_section(files: list[ResultFile]) -> Iterator[str]:
    """The tables of `paddlecnn benchmark`, file by file."""
    measured = [(file, [one for one in file.results if type(one) in TABLES]) for file in files]
    for number, (file, results) in enumerate((file, results) for file, results in measured if results):
        if number == 0:
            yield SPEED_HEAD
        yield f"{file.machine.place}, [{file.name}.json](results/{file.name}.json):\n"
        yield from (TABLES[type(one)](one) for one in results)


def speed_table(result: Speed) -> str:
    """One workload of a benchmark, by contender."""
    unit = "s" if result.what == "start" else "images/s"
    rows = []
    for name, row in result.contenders.items():
        if "error" in row:
            rows.append([name, row["error"], "", ""])
        else:
            spread = "{:,.1f} to {:,.1f}".format(*row["range"])
            rows.append([name, f"{row['median']:,.1f}", spread, f"{row['ratio']:.2f}" if "ratio" in row else ""])
    reference = next((row["ratio_to"] for row in result.contenders.values() if "ratio_to" in row), "the first")
    return markdown_table([f"{result.what}, {result.workload}", unit, "range", f"times {reference}"], rows)


def growth_table(result: Growth) -> str:
    """The speed of each contender by what grows."""
    rows = [
        [name, *("not measured" if speed is None else f"{speed:,.1f}" for speed in speeds)]
        for name, speeds in result.speeds.items()
    ]
    return markdown_table([f"train, {result.unit} by {result.grows}", *map(str, result.values)], rows)


def transfer_table(result: Transfer) -> str:
    """Training on cached features beside training that runs the frozen layers in every epoch, by one engine."""
    fastest, memory = (
        f"{value:,.{digits}f}" if value else "not measured"
        for value, digits in ((result.ratio_of_fastest, 1), (result.peak_anonymous_mib, 0))
    )
    rows = [
        ["images/s", f"{result.cached:,.1f}", f"{result.uncached:,.2f}", f"{result.ratio:,.1f}"],
        ["cached by the fastest engine", "", "", fastest],
        ["memory without mapped files, MiB", memory, "", ""],
        ["loss of the first epoch", f"{result.cached_loss:.5f}", f"{result.uncached_loss:.5f}", ""],
    ]
    return markdown_table([f"transfer, {result.engine} in {result.precision}", "cached", "uncached", "times"], rows)


TABLES: dict[type, Callable[[Any], str]] = {Speed: speed_table, Growth: growth_table, Transfer: transfer_table}
