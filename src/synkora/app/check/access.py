"""Who may join a project."""

from collections.abc import Iterator

from synkora.app.check.finding import Finding, risky, well
from synkora.app.settings import Settings


def check_access(settings: Settings) -> Iterator[Finding]:
    """Whether anybody is asked who may join."""
    if settings.project_access != "open":
        whom = "the web app" if settings.project_access == "http" else "the web app's database"
        yield well("access", f"{whom} says who may join a project")
    elif settings.environment == "production":
        yield risky(
            "access",
            "PROJECT_ACCESS is open: everyone signed in may join every project, and edit there",
            "Set PROJECT_ACCESS=postgres with DATABASE_URL, or PROJECT_ACCESS=http with APP_URL",
        )
    else:
        yield well("access", "PROJECT_ACCESS is open, which will do for development")
