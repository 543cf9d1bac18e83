"""Records → one HTML page that needs nothing beside it, and its figures and tables as files.

OUT/report.html     the page
OUT/figures/        every figure as PNG and SVG
OUT/tables/         every table as CSV; rows.csv holds everything
"""

from pdebench_mano.report.page import check_folder, write_report

__all__ = ["check_folder", "write_report"]
