"""What is told before suites are asked, and beside them: their files, what can be compared, its costs, the servers."""
