"""What the client costs, beside plain httpx and beside its peers. See README.md."""
