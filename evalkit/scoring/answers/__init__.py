"""From the text of a reply to the answer that it gives."""
