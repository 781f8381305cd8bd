"""From a reply's text to an answer and from the answer to a score with a reason."""
