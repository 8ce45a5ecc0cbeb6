"""What an ASGI service owes its callers: wrap(app), and errors leave as problems."""
