"""A finished run as a page: typed data, verdicts in words, HTML and PDF."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "ReportData": "moorelens.reports.data",
    "RunSummary": "moorelens.reports.summary",
    "decode_report_data": "moorelens.reports.data",
    "decode_summary": "moorelens.reports.summary",
    "encode_report_data": "moorelens.reports.data",
    "encode_summary": "moorelens.reports.summary",
    "render_html": "moorelens.reports.html",
    "render_pdf": "moorelens.reports.pdf",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
