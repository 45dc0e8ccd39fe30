"""`rnnfast inspect-weights`: the recurrent layers of a file of any library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rnnfast.cli.errors import CommandError
from rnnfast.exchange import describe, found_in

_WIDTH = 200  # columns of a table that goes to a file


def inspect_weights(
    file: Annotated[
        Path,
        typer.Argument(
            help="A file of .h5, .keras, .safetensors, .pt, .npz, .mlmodel, .onnx, .param of ncnn, "
            ".traineddata, .pb of TensorFlow 1, or a text file of DyNet."
        ),
    ],
) -> None:
    """List the recurrent layers of a file of any library, with the line of Python that reads each.

    The library that wrote the file is not needed, and no code in it is run. A question mark in a
    line stands for a fact that the file does not tell: the error of the line says what the choices
    are.
    """
    try:
        found = describe(found_in(file), str(file))
    except (ValueError, ImportError) as error:
        raise CommandError(str(error).removeprefix("source: ")) from error
    if not found:
        raise CommandError(f"{file}: has no recurrent layers by the names and shapes of its arrays")
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    table = Table()
    for heading in ("name", "library", "layer", "cell", "I", "H", "layers", "direction", "said"):
        table.add_column(heading)
    for one in found:
        sizes = map(str, (one.input_size, one.hidden_size, one.num_layers))
        said = "; ".join(filter(None, [one.facts, *one.notes]))
        table.add_row(one.name, one.source, one.layers, one.cell, *sizes, one.direction, said)
    console.print(table)
    for one in found:
        typer.echo(one.line)
