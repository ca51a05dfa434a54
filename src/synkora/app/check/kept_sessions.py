"""Sessions that the web app keeps in its database, of which a cookie has nothing but the key."""

from typing import Final

NO_DATABASE: Final = "it keeps its sessions in its database, and without DATABASE_URL nobody can sign in here"
SET_DATABASE: Final = 'Set DATABASE_URL to the app\'s own; or have the app make tokens: session: { strategy: "jwt" }'
