"""What acts: sends, reads, waits, gives up and closes. What to do is decided elsewhere.

Sync and async differ here and nowhere else. Everything stands here twice, once for each
colour, and nothing twice that decides.
"""
