"""The service: saved imputers behind HTTP."""
