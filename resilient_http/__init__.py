"""Calls between services that survive a bad day: httpx clients that hold."""
