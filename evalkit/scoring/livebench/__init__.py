"""Graders for LiveBench, one module a task or family, dispatched per question."""
