"""The settings, from environment variables and files like `.env.local` in the working folder.

Each module of a group has the settings of one section of docs/configuration.md.
"""

from synkora.app.settings.loading import SettingsError, load_settings, read_settings
from synkora.app.settings.settings import Settings

__all__ = ["Settings", "SettingsError", "load_settings", "read_settings"]
