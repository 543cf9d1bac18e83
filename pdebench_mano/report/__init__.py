"""Records → one HTML page that needs nothing beside it, and its figures and tables as files.

OUT/report.html     the page
OUT/figures/        every figure as PNG and SVG
OUT/tables/         every table as CSV; rows.csv holds everything
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdebench_mano.report.page import check_folder, write_report

__all__ = ["check_folder", "write_report"]


def __getattr__(name: str) -> Any:
    """Import the page on first use: tables in a terminal start without matplotlib."""
    if name in __all__:
        from pdebench_mano.report import page

        return getattr(page, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
