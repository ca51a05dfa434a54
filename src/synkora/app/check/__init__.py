"""`synkora check`: what would go well, and what would not, if the server were started here with these settings."""
