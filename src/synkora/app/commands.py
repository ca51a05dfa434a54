"""The `synkora` command: its subcommands, options and help."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from synkora import __version__
from synkora.app.settings import Settings, SettingsError, load_settings
from synkora.app.settings.variables import describe
from synkora.app.workers.count import worker_count
from synkora.app.workers.seat import Seat

SchemaForm = Literal["asyncapi", "json-schema", "openapi", "typescript"]
_LONGEST_ID = 200  # the server's limit
_THIRTY_DAYS = 30 * 24 * 3600


def _settings_help() -> Iterator[str]:
    yield (
        "[bold]Settings[/] are variables of the environment, or lines NAME=value of files in the working folder, which "
        "are read as Next.js reads them. The environment wins over .env.local, and .env.local over .env."
    )
    for variable in describe():
        note = "required" if variable.default is None else variable.default
        aside = f" ({note})" if note else ""
        yield f"[bold cyan]{variable.name}[/]{aside}: {variable.description}"


app = typer.Typer(
    help="The WebSocket server that the pages of Synkora, the project-management web app, collaborate through."
    "\n\n"
    "First steps: put the web app's NEXTAUTH_SECRET into a file .env.local here, or into the environment; "
    "start the server with [bold]synkora serve[/]; give the web app NEXT_PUBLIC_WEBSOCKET_URL=http://localhost:3001 "
    "and ENABLE_INTEGRATED_WEBSOCKET=false. "
    "http://localhost:3001/health tells whether the server runs."
    "\n\n"
    "[bold]synkora serve --help[/] lists the settings. Without a command, synkora serves.",
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line, and exit with its status."""
    _open_standard_streams()
    app(prog_name="synkora")


def _open_standard_streams() -> None:
    """Replace a closed standard stream by /dev/null: otherwise a socket would get its number, and its output."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))  # opens the lowest free number


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"synkora {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _command(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        serve()


@app.command(epilog="\n\n".join(_settings_help()))
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, whatever WS_HOST says.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on, whatever WS_PORT says; 0 takes a free one.")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|auto", help="Processes that share the port, whatever WS_WORKERS says."),
    ] = None,
) -> None:
    """Start the server; SIGINT (Ctrl-C) or SIGTERM stops it."""
    settings = _settings(host=host, port=port, workers=workers)
    # Imported late, so that --help and wrong settings are answered at once.
    seat = Seat.take()
    if seat is None and (count := worker_count(settings.workers)) > 1:
        from synkora.app.workers.parent import run_workers

        raise typer.Exit(run_workers(settings, count))
    from synkora.app.server import run

    run(settings, seat)


@app.command()
def check(
    host: Annotated[str | None, typer.Option(help="Address to listen on, whatever WS_HOST says.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on, whatever WS_PORT says.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for what is risky, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check the settings and everything that the server needs, and print what is right, risky or wrong, with advice.

    Exits with 1 if something is wrong. Nothing is changed, and no secret is shown.
    """
    import uvloop

    from synkora.app.check.examination import examine
    from synkora.app.check.finding import FindingStatus, worst
    from synkora.app.check.rendering import as_json, print_findings, standard_output

    findings = uvloop.run(examine(host=host, port=port))
    console = standard_output()
    if json:
        typer.echo(as_json(findings))
    else:
        print_findings(findings, console)
    failing = (FindingStatus.WRONG, FindingStatus.RISKY) if strict else (FindingStatus.WRONG,)
    if worst(findings) in failing:
        raise typer.Exit(1)


@app.command()
def token(
    id_: Annotated[str, typer.Option("--id", help="The user's id.")],
    name: Annotated[str, typer.Option(help="The name that others see.")],
    email: Annotated[str | None, typer.Option(help="The user's e-mail address.")] = None,
    picture: Annotated[str | None, typer.Option(help="URL of the user's picture.")] = None,
    expires_in: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="How long it is valid.")] = _THIRTY_DAYS,
) -> None:
    """Print a token to try the server with, signed with NEXTAUTH_SECRET.

    A client passes it as io(url, {auth: {token}}). Its holder is that user: keep it secret.
    """
    if not id_.strip() or len(id_) > _LONGEST_ID:
        raise typer.BadParameter(f"it has to be 1 to {_LONGEST_ID} characters long", param_hint="--id")
    settings = _settings()
    from synkora.identity.tokens import sign

    given = {"id": id_, "name": name, "email": email, "picture": picture}
    claims: dict[str, object] = {claim: value for claim, value in given.items() if value is not None}
    typer.echo(sign(claims, settings.secret.get_secret_value(), expires_in=expires_in))


@app.command()
def schema(
    form: Annotated[SchemaForm | None, typer.Argument(help="What to print it as.", show_default="asyncapi")] = None,
    format_: Annotated[SchemaForm | None, typer.Option("--format", help="The same, as an option.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", dir_okay=False, help="File to write, instead of standard output.")
    ] = None,
) -> None:
    """Print what clients and server say to each other: every event with its payload, as this version serves it.

    asyncapi is an AsyncAPI 3.0 document in JSON, json-schema a JSON Schema (2020-12).
    typescript is declarations for socket.io-client. openapi describes the HTTP API (OpenAPI 3.1).
    """
    if form and format_ and form != format_:
        raise typer.BadParameter(f"it is {format_}, and the argument {form}", param_hint="--format")
    from synkora.app.schema.forms import FORMS

    text = FORMS[form or format_ or "asyncapi"]()
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        typer.echo(f"{output} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(1) from None


def _settings(*, host: str | None = None, port: int | None = None, workers: str | None = None) -> Settings:
    """Load the settings, or print what is wrong with them on stderr and exit with 1."""
    try:
        return load_settings(host=host, port=port, workers=workers)
    except SettingsError as error:
        for line in error.lines:
            typer.echo(line, err=True)
        raise typer.Exit(1) from None
