"""Two services, an outage, and what the client does about it: `python -m demo`.

    demo  ->  shop  ->  payments
          (1)       (2)

Shop and payments are uvicorn processes of their own. Every order goes both ways, (1)
and (2), twice: with `resilient_http`, and with plain `httpx` beside it. Payments plays
the script of an outage; which orders it hurts is fixed by their number, so that both
ways meet the same trouble, and every run the same orders.
"""
