"""Starting servers and stopping them whatever happens."""
