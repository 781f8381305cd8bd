"""A run folder as a side; what it derives from its journals is made anew where that is absent or damaged."""

from dataclasses import replace
from pathlib import Path

from evalkit.compare.columns import Side
from evalkit.errors import EvalkitError, RunError
from evalkit.model import Reason
from evalkit.parts import Part
from evalkit.run import journal, manifest
from evalkit.run.parquet import AGAIN
from evalkit.run.read import LostError, stored_side


def read_run(folder: Path, plan: str | None = None, part: Part | None = None) -> Side:
    """As `stored_side`; scores and items that are damaged, or not of these journals, are made again, which is said.

    Raises `RunError`: where the folder is no run, or that cannot be done here.
    """
    try:
        return stored_side(folder, plan, part)
    except RunError as error:
        if isinstance(error, LostError) or not journal.files(folder):
            raise
        session = manifest.latest(folder, plan)
        from evalkit.run.execute import remake  # loads the task layer

        try:
            damaged = remake(folder, session)
        except EvalkitError as cannot:
            raise RunError(f"{error} (here it cannot be made: {cannot})") from cannot
        made = stored_side(folder, session.plan, part)
        why = "; ".join((str(error).removesuffix(f": {AGAIN}"), *damaged))
        note = Reason("note.made_anew", {"name": session.name, "why": why})
        return replace(made, notes=(note, *made.notes))
