"""The task layer: lm-eval tasks and their data sets, turned into items with prompts and digests."""
