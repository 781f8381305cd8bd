"""Looking at endpoints: the doctor, the fidelity probe, the search for guilty operators."""
