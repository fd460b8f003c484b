"""Tracing: the trace of a call, spans of what is done for it, and its timeline from the logs."""
