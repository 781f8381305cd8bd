"""Other people's files as sides of a comparison: lm-eval's output folders and plain score tables."""
