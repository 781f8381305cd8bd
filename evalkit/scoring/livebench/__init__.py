"""Graders for LiveBench, one module a task or family, dispatched per question.

`dispatch.score` is the scorer, `rows` turns raw rows into its documents and knows which rows a release has.
"""
