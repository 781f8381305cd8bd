"""Planning, scheduling and storing what is asked of one endpoint."""
