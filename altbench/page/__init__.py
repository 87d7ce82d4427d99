"""One HTML page of a run: it needs no network, no other file and no server."""

from altbench.page.write import PAGE, write_page, write_page_of_run

__all__ = ["PAGE", "write_page", "write_page_of_run"]
