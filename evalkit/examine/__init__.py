"""What is told before suites are asked, and beside them: what can be compared, what it costs, the doctor, the probe."""
