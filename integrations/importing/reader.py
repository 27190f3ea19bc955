"""Reads a file of either kind."""

from django.utils.translation import gettext as _

from .csv_file import read_csv
from .table import LARGEST, Table, UnreadableError

ZIP, OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"  # the first bytes of such files


def read(content: bytes) -> Table:
    """Read a CSV or an Excel file. If it can't be read, the table has no rows, and a problem that says why."""
    try:
        if len(content) > LARGEST:
            most = {"most": LARGEST // 1024 // 1024}
            raise UnreadableError(_("The file is larger than %(most)s MB.") % most, _("Split it."))
        if content.startswith(OLD_EXCEL):
            raise UnreadableError(
                _("This Excel file is of an old format, or has a password."), _("Save it as “Excel workbook (.xlsx)”.")
            )
        if not content.startswith(ZIP):
            return read_csv(content)
        from .excel_file import read_excel  # only now, so that other processes don't load openpyxl

        return read_excel(content)
    except UnreadableError as error:
        return Table(problems=[error.problem])
