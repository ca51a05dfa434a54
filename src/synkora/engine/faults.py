"""What a log says of an error that nobody expected."""

import traceback


def fault(error: BaseException) -> dict[str, str]:
    """Fields for a log's entry: the error's type and traceback, without the values of variables.

    structlog's default renderer shows variables where it is given the error itself, and a token may be among them.
    """
    return {"errorType": type(error).__name__, "exception": "".join(traceback.format_exception(error)).rstrip("\n")}
