"""A figure as a file, or inside HTML: the same bytes from the same data, whole or not there."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefield.errors import InvalidInput
from sparsefield.pictures.plotting import house_style
from sparsefield.train.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".svg", ".png", ".pdf")
# what would hold the date or the version, by format
_METADATA: dict[str, dict[str, Any]] = {
    ".svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
    ".png": {"Software": None},
    ".pdf": dict.fromkeys(("Creator", "Producer", "CreationDate")),
}


def picture_path(path: Path) -> Path:
    """``path`` if it names a picture.

    Raises
    ------
    InvalidInput
        another ending than svg, png or pdf.
    """
    if path.suffix not in PICTURES:
        raise InvalidInput(f"{path}: a picture ends in {', '.join(PICTURES)}; choose one of them")
    return path


def save_figure(figure: Figure, path: Path) -> Path:
    """Write the figure; its ending (svg, png at 200 dpi, pdf) chooses the format.

    Raises
    ------
    InvalidInput
        another ending, or a folder that cannot be written.
    """
    content = _content(figure, picture_path(path).suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{path.parent}: not a folder ({error.strerror}); give another"
        ) from None
    write_bytes(path, content)
    return path


def svg_bytes(figure: Figure) -> bytes:
    """The figure as the content of an SVG file."""
    return _content(figure, ".svg")


def svg_element(figure: Figure, *, name: str, description: str) -> str:
    """The figure as an SVG element for HTML, its ids made unique by ``name``."""
    text = svg_bytes(figure).decode()
    element = text[text.index("<svg") :]
    for pattern in (r'(\bid=")', r'(href="#)', r"(url\(#)"):
        element = re.sub(pattern, rf"\g<1>{name}-", element)
    label = html.escape(description, quote=True)
    return element.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


@house_style
def _content(figure: Figure, kind: str) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format=kind[1:], dpi=200, metadata=_METADATA[kind])
    return _compact(sink.getvalue()) if kind == ".svg" else sink.getvalue()


def _compact(svg: bytes) -> bytes:
    """Outlines to a hundredth of a point, no blanks at line ends: half the size, the same look."""

    def rounded(outline: re.Match[bytes]) -> bytes:
        return re.sub(rb"-?\d+\.\d{3,}", lambda x: b"%.5g" % float(x[0]), outline[0])

    shorter = re.sub(rb' d="[^"]*"', rounded, svg)
    return re.sub(rb"[ \t]+$", b"", shorter, flags=re.MULTILINE)
