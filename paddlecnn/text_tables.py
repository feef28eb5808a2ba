"""Tables, as text with aligned columns and in Markdown, and numbers with what they count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def text_table(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows of cells as aligned columns: the first `left` columns flush left, the others flush right."""
    from tabulate import tabulate  # slow to import, and many commands print no table

    alignment = ["left" if column < left else "right" for column in range(len(rows[0]))]
    table = tabulate(rows, tablefmt="plain", colalign=alignment, disable_numparse=True)
    return "\n".join(line.rstrip() for line in table.splitlines())


def counted(number: int, noun: str) -> str:
    """A number with what it counts: 1 image, 2,000 images."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def compact_table(rows: Iterable[Mapping[str, str]]) -> str:
    """A Markdown table of rows by column name. A column without text is left out; one whose cells are all equal becomes
    a sentence above the table."""
    cells = list(rows)
    if not cells:
        return ""
    columns = {name: {row[name] for row in cells} for name in cells[0]}
    same = {
        name: found.pop() for name, found in columns.items() if len(found) == 1 and (len(cells) > 1 or found == {""})
    }
    header = [name for name in columns if name not in same]
    said = ", ".join(f"{name} = {cell}" for name, cell in same.items() if cell)
    table = markdown_table(header, [[row[name] for name in header] for row in cells])
    return f"In all rows: {said}.\n\n{table}" if said else table
