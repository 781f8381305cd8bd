"""Agreement of evalkit's multimodal scorers with official judgments on published model outputs, a module a data set."""
