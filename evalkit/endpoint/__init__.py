"""The one seam to a server: ask, launch, examine."""
