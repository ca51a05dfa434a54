"""Log fields of unexpected errors."""

import traceback


def fault(error: BaseException) -> dict[str, str]:
    """Return the log fields of an error: its type and traceback, without the values of variables.

    structlog's default renderer prints local variables of an exception, and these may contain tokens.
    """
    return {"errorType": type(error).__name__, "exception": "".join(traceback.format_exception(error)).rstrip("\n")}
