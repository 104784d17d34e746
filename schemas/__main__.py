"""Prints the data dictionary of the lake's tables, or writes it: `python -m schemas FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from schemas import TABLES
from schemas.render import data_dictionary


def main(arguments: list[str]) -> None:
    text = data_dictionary(TABLES)
    if not arguments:
        sys.stdout.write(text)
        return
    (file,) = arguments
    Path(file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
