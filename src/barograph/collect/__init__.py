"""In the training loop: the run, what it records, and one thin adapter per framework."""
